"""Plans that several runs share: thousands of runs of one Story need it parsed only once."""

from __future__ import annotations

from typing import Final
from weakref import WeakValueDictionary

import orjson

from core.api.objects import Object
from core.caches.recently_used import RecentlyUsed
from core.engine.plan import Refusal, StoryPlan, parse_story
from core.evaluation.asker import NOBODY, Asker
from core.evaluation.evaluator import Evaluator

_KEPT_BYTES: Final = 2 << 20
"""Of the texts of the Stories that were used last: several hundred usual ones. A plan takes up to thirty times that."""

_Key = tuple[str, int]


class PlanCache:
    """The plans that were used last, and those of live runs, by UID and generation of their Story."""

    def __init__(self) -> None:
        self._recent: RecentlyUsed[_Key, StoryPlan | Refusal] = RecentlyUsed(_KEPT_BYTES)
        self._in_use: WeakValueDictionary[_Key, StoryPlan] = WeakValueDictionary()

    async def plan_of(self, story: Object, evaluator: Evaluator, asker: Asker = NOBODY) -> StoryPlan | Refusal:
        """The plan of ``story``, which is parsed once for each of its generations."""
        metadata = story["metadata"]
        key = (str(metadata.get("uid") or ""), int(metadata.get("generation") or 0))
        if not all(key):
            return await evaluator.analyse(parse_story, story, asker=asker)
        plan = self._recent.get(key) or self._in_use.get(key)
        if plan is None:
            plan = await evaluator.analyse(parse_story, story, asker=asker)
            self._recent.put(key, plan, len(orjson.dumps(story.get("spec"))))
            if isinstance(plan, StoryPlan):
                self._in_use[key] = plan
        return plan
