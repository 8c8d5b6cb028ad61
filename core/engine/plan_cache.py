"""Plans that several runs share: thousands of runs of one Story need it parsed only once."""

from __future__ import annotations

from typing import Final

from core.api.objects import Object
from core.engine.plan import Refusal, StoryPlan, parse_story
from core.evaluation.asker import NOBODY, Asker
from core.evaluation.evaluator import Evaluator

_KEPT: Final = 512


class PlanCache:
    """The plans that were used last, by UID and generation of their Story."""

    def __init__(self) -> None:
        self._plans: dict[tuple[str, int], StoryPlan | Refusal] = {}

    async def plan_of(self, story: Object, evaluator: Evaluator, asker: Asker = NOBODY) -> StoryPlan | Refusal:
        """The plan of ``story``, which is parsed once for each of its generations."""
        metadata = story["metadata"]
        key = (str(metadata.get("uid") or ""), int(metadata.get("generation") or 0))
        if not all(key):
            return await evaluator.analyse(parse_story, story, asker=asker)
        plan = self._plans.pop(key, None)
        if plan is None:
            plan = await evaluator.analyse(parse_story, story, asker=asker)
        self._plans[key] = plan
        if len(self._plans) > _KEPT:
            del self._plans[next(iter(self._plans))]
        return plan
