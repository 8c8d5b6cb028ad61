"""Plans that several runs share: thousands of runs of one Story need it parsed, and in memory, only once."""

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
        key = _key_of(story)
        plan = self._known(key)
        if plan is None:
            parsed = await evaluator.analyse(parse_story, story, asker=asker)
            plan = self._known(key)  # another run may have needed it meanwhile
            if plan is None:
                plan = parsed
                self._remember(key, plan, story)
        return plan

    def with_shared_spec(self, story: Object) -> Object:
        """The Story, with the spec that the plan of its generation refers to, if there is one already.

        Each read of a large Story parses it anew, and a spec takes up to thirty times the size of its text. Without
        this, each live run of a Story would have a copy of its own.
        """
        plan = self._known(_key_of(story))
        return {**story, "spec": plan.spec} if isinstance(plan, StoryPlan) else story

    def _known(self, key: _Key | None) -> StoryPlan | Refusal | None:
        return None if key is None else self._recent.get(key) or self._in_use.get(key)

    def _remember(self, key: _Key | None, plan: StoryPlan | Refusal, story: Object) -> None:
        if key is None:
            return
        self._recent.put(key, plan, len(orjson.dumps(story.get("spec"))))
        if isinstance(plan, StoryPlan):
            self._in_use[key] = plan


def _key_of(story: Object) -> _Key | None:
    """None: it is not a version of a stored object, so nothing tells it from others."""
    metadata = story["metadata"]
    uid, generation = str(metadata.get("uid") or ""), int(metadata.get("generation") or 0)
    return (uid, generation) if uid and generation else None
