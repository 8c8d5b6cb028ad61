from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core.api.phases import Reason
from core.engine.plan import Refusal, StoryPlan, parse_story
from core.story.kinds import StepKind


def story(*steps: Any, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s", "namespace": "n"}, "spec": {"steps": list(steps), **spec}}


def plan_of(*steps: Any, **spec: Any) -> StoryPlan:
    plan = parse_story(story(*steps, **spec))
    assert isinstance(plan, StoryPlan)
    return plan


def step(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "ref": {"name": "e"}} | {key.removesuffix("_"): value for key, value in more.items()}


@pytest.mark.parametrize(
    "reference",
    [
        "{{ steps.a.output.n }}",
        '{{ steps["a"].output.n }}',
        '{{ (index .steps "a").output.n }}',
        "{{ if steps.a.output.n }}x{{ end }}",
    ],
)
def test_every_spelling_of_a_reference_in_with_is_a_dependency(reference: str) -> None:
    assert plan_of(step("a"), step("b", with_={"deep": [{"x": reference}]})).graph.needs["b"] == ("a",)


def test_prose_that_looks_like_a_reference_is_none() -> None:
    assert plan_of(step("a", with_={"note": "see steps.v1.json"})).graph.needs["a"] == ()


def test_an_if_depends_on_the_steps_it_reads_whatever_the_step_is() -> None:
    plan = plan_of(step("a-b"), {"name": "c", "type": "condition", "if": "{{ steps.a_b.output.ok }}"})

    assert plan.graph.needs["c"] == ("a-b",)


def test_a_step_chosen_at_run_time_is_no_edge_but_is_noted() -> None:
    plan = plan_of(step("a"), step("b", with_={"x": "{{ (index .steps inputs.which).output.n }}"}))

    assert (plan.graph.needs["b"], plan.steps["b"].looks_anywhere, plan.steps["a"].looks_anywhere) == ((), True, False)


def test_policy_is_read_and_invalid_durations_count_as_absent() -> None:
    policy = {
        "timeouts": {"story": "1h30m", "gracefulShutdownTimeout": "soon"},
        "retries": {"continueOnStepFailure": True},
    }
    plan = plan_of(step("a", allowFailure=True), policy=policy)

    assert (plan.story_timeout, plan.graceful_shutdown) == (timedelta(hours=1.5), None)
    assert (plan.rules.allowed, plan.rules.continue_on_failure) == (frozenset({"a"}), True)


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ({"ref": {"name": "e"}, "type": "sleep"}, StepKind.ENGRAM),
        ({"type": "sleep"}, StepKind.SLEEP),
        ({"type": "engram"}, StepKind.UNKNOWN),
        ({"type": "dance"}, StepKind.UNKNOWN),
        ({}, StepKind.UNKNOWN),
    ],
)
def test_ref_wins_over_type_and_the_rest_is_unknown(declared: dict[str, Any], kind: StepKind) -> None:
    assert plan_of({"name": "x", **declared}).steps["x"].kind is kind


@pytest.mark.parametrize(
    ("damaged", "text"),
    [
        ({"metadata": {}}, "no spec"),
        (story("not a step"), "spec.steps[0].name is missing"),
        (story({"type": "sleep"}), "spec.steps[0].name is missing"),
        (story(step("a"), step("a")), "spec.steps[1].name 'a' is already taken"),
    ],
)
def test_a_damaged_story_is_refused_and_never_a_crash(damaged: dict[str, Any], text: str) -> None:
    refusal = parse_story(damaged)

    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.INVALID_CONFIGURATION
    assert text in refusal.message


@pytest.mark.parametrize("value", [None, 7, "x", [], {"with": 3}])
@pytest.mark.parametrize(
    "field", ["policy", "output", "inputsSchema", "compensations", "needs", "with", "if", "requires"]
)
def test_odd_values_in_any_field_are_survived(field: str, value: Any) -> None:
    odd_step = step("a") | {field: value}
    for candidate in (story(step("a"), **{field: value}), story(odd_step)):
        assert isinstance(parse_story(candidate), StoryPlan | Refusal)


def test_cleanup_steps_may_need_what_came_before_and_nothing_that_comes_later() -> None:
    plan = plan_of(
        step("a-b"),
        compensations=[step("undo", needs=["a-b"])],
        **{"finally": [step("clean", needs=["undo"], with_={"x": "{{ steps.a_b.output.n }}"})]},
    )
    assert (plan.order, plan.compensations.graph.needs, plan.finally_.graph.needs) == (
        ("a-b", "undo", "clean"),
        {"undo": ()},
        {"clean": ()},
    )

    refusal = parse_story(story(step("a", needs=["clean"]), **{"finally": [step("clean")]}))
    assert isinstance(refusal, Refusal)
    assert "a->clean" in refusal.message


def test_compensations_undo_in_reverse_order_unless_their_needs_say_otherwise() -> None:
    main = [step("a"), step("b", needs=["a"]), step("c", needs=["b"])]
    undo = [step("undo-a", needs=["a"]), step("undo-b", with_={"x": "{{ steps.b.output.n }}"}), step("undo-c")]

    needs = plan_of(*main, compensations=undo).compensations.graph.needs
    assert needs == {"undo-a": ("undo-b",), "undo-b": (), "undo-c": ()}

    undo[1] = step("undo-b", needs=["b", "undo-a"])
    needs = plan_of(*main, compensations=undo).compensations.graph.needs
    assert needs == {"undo-a": (), "undo-b": ("undo-a",), "undo-c": ()}


def test_a_parallel_step_needs_what_its_branches_read() -> None:
    fan = {
        "name": "fan",
        "type": "parallel",
        "with": {
            "steps": [
                step("x", with_={"n": "{{ steps.a.output.n }}"}),
                {"name": "y", "type": "condition", "if": "{{ steps.b.output.ok }}"},
                {"name": "z", "type": "wait", "with": {"until": "{{ steps.c.output.ok }}"}},
            ]
        },
    }
    plan = plan_of(step("a"), step("b"), step("c"), fan, step("d", with_={"n": "{{ steps.x.output.n }}"}))

    assert plan.graph.needs["fan"] == ("a", "b")
    assert plan.graph.needs["d"] == ("fan",)
    assert [branch.name for branch in plan.steps["fan"].branches] == ["fan/x", "fan/y", "fan/z"]


def test_an_item_is_found_by_its_number_with_everything_inside_it() -> None:
    inner = {"name": "inner", "type": "parallel", "with": {"steps": [step("x")]}}
    each = {"name": "each", "type": "parallel", "with": {"forEach": "{{ inputs.items }}", "steps": [inner]}}
    plan = plan_of(each)

    found = plan.find("each/3/x")
    assert found is not None
    assert (found.name, found.step_id, found.item) == ("each/3/x", "x", {"item": None, "itemIndex": 3})
    item = plan.find("each/3")
    assert item is not None
    assert item.step_id == "inner-3"
    assert plan.find("each/x") is None
    assert plan.find("nobody") is None
