from __future__ import annotations

from typing import Any

from core.api.objects import Object
from core.engine.plan import StoryPlan, parse_story
from core.engine.ports import STREAM
from core.engine.run.adopted_plan import Begun, bare_plan, plan_to_end
from core.story.kinds import StepKind

WORK = {"ref": {"name": "e"}}
FAN = {"name": "fan", "type": "parallel", "with": {"steps": [{"name": "x", **WORK}]}}


def plan_of(*steps: Any, **spec: Any) -> StoryPlan:
    plan = parse_story({"metadata": {"name": "s", "namespace": "n"}, "spec": {"steps": list(steps), **spec}})
    assert isinstance(plan, StoryPlan)
    return plan


def kinds(plan: StoryPlan, *names: str) -> dict[str, StepKind]:
    return {name: step.kind for name in names if (step := plan.find(name))}


def test_what_has_begun_is_what_is_recorded_and_what_was_made() -> None:
    step_run = {"metadata": {}, "spec": {"stepId": "b"}}
    child = {"metadata": {"labels": {"bubustack.io/parent-step": "c"}}, "spec": {}}
    nameless: Object = {"metadata": {}, "spec": {}}

    begun = Begun.of(["d", "c"], [step_run, nameless], [child])

    assert begun == Begun(("d", "c", "b"), frozenset({"b"}), frozenset({"c"}))


def test_a_bare_plan_tells_by_what_was_made_what_a_step_is() -> None:
    begun = Begun(("ask", "fan", "fan/inner/0", "fan/call"), frozenset({"fan/inner/0"}), frozenset({"fan/call"}))
    plan = bare_plan(begun)

    assert kinds(plan, "ask", "fan", "fan/inner", "fan/inner/0", "fan/call") == {
        "ask": StepKind.UNKNOWN,
        "fan": StepKind.PARALLEL,
        "fan/inner": StepKind.PARALLEL,
        "fan/inner/0": StepKind.ENGRAM,
        "fan/call": StepKind.EXECUTE_STORY,
    }
    assert plan.order == ("ask", "fan")


def test_a_bare_plan_knows_names_only() -> None:
    plan = bare_plan(Begun(("a", "b"), frozenset({"a"})))

    assert kinds(plan, "a", "b") == {"a": StepKind.ENGRAM, "b": StepKind.UNKNOWN}


def test_a_run_with_streams_stays_realtime_whatever_became_of_its_story() -> None:
    stream = {"metadata": {}, "spec": {"stepId": "work", "executor": STREAM}}
    begun = Begun.of(["work"], [stream], [])

    assert begun.has_streams
    assert bare_plan(begun).is_realtime
    assert plan_to_end(plan_of({"name": "work", **WORK}), begun).is_realtime
    assert not bare_plan(Begun(("work",))).is_realtime


def test_what_the_story_does_not_have_or_has_as_something_else_is_astray() -> None:
    plan = plan_of(
        {"name": "work", **WORK},
        {"name": "nap", "type": "sleep"},
        {"name": "call", "type": "executeStory", "with": {"storyRef": {"name": "t"}}},
        FAN,
    )
    names = ("work", "nap", "call", "fan", "fan/x", "fan/y", "gone")

    assert Begun(names).astray(plan) == ("fan/y", "gone")
    assert Begun(names, frozenset({"work", "nap", "fan/x"}), frozenset({"call"})).astray(plan) == (
        "nap",
        "fan/y",
        "gone",
    )
    assert Begun(("work", "call"), frozenset({"call"}), frozenset({"work"})).astray(plan) == ("work", "call")


def test_a_plan_that_fits_stays_as_it_is() -> None:
    plan = plan_of({"name": "work", **WORK}, FAN)

    assert plan_to_end(plan, Begun(("work", "fan", "fan/x"), frozenset({"work", "fan/x"}))) is plan


def test_what_is_to_end_is_what_has_begun_and_whatever_the_story_has() -> None:
    plan = plan_of(
        {"name": "late", "needs": ["changed"], **WORK},
        {"name": "changed", "type": "sleep"},
        FAN,
        compensations=[{"name": "undo", **WORK}],
    )
    begun = Begun(("changed", "gone", "fan", "fan/x", "fan/y"), frozenset({"changed", "fan/x", "fan/y"}))

    whole = plan_to_end(plan, begun)

    assert whole.main.order == ("late", "changed", "fan", "gone")
    assert whole.main.graph.needs["late"] == ("changed",)
    assert whole.compensations is plan.compensations
    assert kinds(whole, "late", "changed", "fan", "fan/x", "fan/y", "gone", "undo") == {
        "late": StepKind.ENGRAM,
        "changed": StepKind.ENGRAM,
        "fan": StepKind.PARALLEL,
        "fan/x": StepKind.ENGRAM,
        "fan/y": StepKind.ENGRAM,
        "gone": StepKind.UNKNOWN,
        "undo": StepKind.ENGRAM,
    }
