"""A Story is parsed once for its runs, and what is kept of Stories that nobody runs is bounded."""

from __future__ import annotations

import gc
from typing import Any

from core.api.objects import Object
from core.engine.plan import Refusal, StoryPlan
from core.engine.plan_cache import PlanCache
from core.evaluation.evaluator import Evaluator

LARGE_BYTES = 300_000


def story(number: int, *, generation: int = 1, filling: str = "", **step: Any) -> Object:
    return {
        "metadata": {"name": f"kept-{number}", "namespace": "team", "uid": f"uid-{number}", "generation": generation},
        "spec": {"steps": [{"name": "a", "type": "condition", "with": {"text": filling}, **step}]},
    }


async def test_a_story_is_parsed_once_for_each_generation() -> None:
    plans, evaluator = PlanCache(), Evaluator()
    first = await plans.plan_of(story(1), evaluator)
    assert isinstance(first, StoryPlan)
    assert await plans.plan_of(story(1), evaluator) is first
    assert await plans.plan_of(story(1, generation=2), evaluator) is not first
    refused = await plans.plan_of(story(2, needs=["missing"]), evaluator)
    assert isinstance(refused, Refusal)
    assert await plans.plan_of(story(2, needs=["missing"]), evaluator) is refused


async def test_many_large_stories_are_not_kept_but_for_live_runs() -> None:
    plans, evaluator = PlanCache(), Evaluator()
    of_a_live_run = await plans.plan_of(story(0, filling="x" * LARGE_BYTES), evaluator)
    for number in range(1, 21):
        await plans.plan_of(story(number, filling="x" * LARGE_BYTES), evaluator)
    gc.collect()
    held = [each for each in gc.get_objects() if isinstance(each, StoryPlan) and each.name.startswith("kept-")]
    assert len(held) <= 2_097_152 // LARGE_BYTES + 1
    assert await plans.plan_of(story(0, filling="x" * LARGE_BYTES), evaluator) is of_a_live_run


async def test_a_story_without_a_spec_is_refused_as_any_other() -> None:
    without = {"metadata": {"name": "kept-0", "namespace": "team", "uid": "uid-0", "generation": 1}}
    refused = await PlanCache().plan_of(without, Evaluator())
    assert isinstance(refused, Refusal)
    assert "no spec" in refused.message
