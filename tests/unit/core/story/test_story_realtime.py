"""What a Story with ``pattern: realtime`` asks for, and what it is refused for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core.api.phases import Reason
from core.engine.plan import Refusal, StoryPlan, parse_story
from core.story.kinds import StepKind
from core.story.realtime import drain_timeout, story_of_step, why_not_static
from fuzz.engine.canonical import engram, primitive


def story(*steps: Any, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "s", "namespace": "n"},
        "spec": {"pattern": "realtime", "steps": list(steps), **spec},
    }


def plan_of(*steps: Any, **spec: Any) -> StoryPlan:
    plan = parse_story(story(*steps, **spec))
    assert isinstance(plan, StoryPlan), plan
    return plan


def refusal_of(*steps: Any, **spec: Any) -> str:
    refusal = parse_story(story(*steps, **spec))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.INVALID_CONFIGURATION
    return refusal.message


def test_the_plan_has_the_steps_that_serve_streams_and_the_clean_up() -> None:
    plan = plan_of(
        engram("ear"),
        primitive("loud", "condition", "ear", if_="{{ packet.loud }}"),
        engram("mind", "loud"),
        compensations=[engram("undo")],
        **{"finally": [engram("sweep", if_="{{ inputs.yes }}")]},
    )

    assert plan.is_realtime
    assert plan.order == ("ear", "mind", "undo", "sweep")
    assert (plan.main.order, plan.per_packet) == (("ear", "mind"), ("loud",))
    assert plan.graph.needs == {"ear": (), "mind": ("ear",)}
    assert [name for name, step in plan.steps.items() if step.serves_stream] == ["ear", "mind"]
    assert {step.kind for step in plan.steps.values()} == {StepKind.ENGRAM}
    assert (plan.rules.started_suffices, plan.finally_.rules.started_suffices) == (True, False)
    assert plan.steps["sweep"].condition == "{{ inputs.yes }}"


def test_what_is_evaluated_for_each_packet_is_no_dependency() -> None:
    plan = plan_of(
        engram("a", if_="{{ steps.b.output.n }}"),
        engram("b", "a", runtime={"x": "{{ steps.c.n }}"}),
        engram("c", needs=[]),
    )

    assert plan.graph.needs == {"a": (), "b": ("a",), "c": ()}
    assert (plan.steps["a"].condition, plan.steps["a"].looks_anywhere) == ("", False)


def test_a_step_without_needs_starts_after_those_whose_packets_it_gets() -> None:
    plan = plan_of(
        engram("ear"), primitive("pace", "sleep"), engram("mind"), engram("clock", needs=[]), engram("mouth", "mind")
    )

    assert plan.graph.needs == {"ear": (), "mind": ("ear",), "clock": (), "mouth": ("mind",)}


def test_a_template_that_chooses_a_step_for_each_packet_waits_for_nothing() -> None:
    plan = plan_of(engram("a", if_="{{ (index .steps packet.which).output.n }}"))

    assert not plan.steps["a"].looks_anywhere


def test_clean_up_steps_may_need_primitives_and_their_branches() -> None:
    fan = primitive("fan", "parallel", "a", with_={"steps": [engram("left")]})
    plan = plan_of(engram("a"), fan, **{"finally": [engram("sweep", "fan", with_={"x": "{{ steps.left.output.n }}"})]})

    assert plan.finally_.graph.needs == {"sweep": ()}
    assert plan.branch_owners == {}


def test_all_problems_are_told_at_once() -> None:
    message = refusal_of(
        engram("a", with_={"n": "{{ steps.b.output.n }}"}),
        {"name": "script", "run": "true"},
        primitive("ask", "gate"),
        primitive("fan", "parallel", with_={"steps": [primitive("w", "wait")]}),
        primitive("x", "dance"),
        engram("b", "ghost"),
    )

    assert message.split("; ")[0].startswith("spec.steps[0] (a): with is evaluated once, before any packet")
    for told in (
        "move what reads steps into runtime",
        "spec.steps[1] (script): a script cannot serve a stream",
        "spec.steps[2] (ask): gate is not possible in a realtime Story",
        "spec.steps[3].with.steps[0] (w): wait is not possible in a realtime Story",
        "spec.steps[4] (x): type 'dance' is unknown",
        "b->ghost",
    ):
        assert told in message


def test_a_story_without_a_stream_is_refused() -> None:
    assert "no step has a ref" in refusal_of(primitive("nap", "sleep", with_={"duration": "1s"}))


@pytest.mark.parametrize("field", ["if_", "runtime"])
def test_a_name_that_no_step_has_is_refused_wherever_it_is_read(field: str) -> None:
    text = "{{ steps.ghost.n }}"

    more: dict[str, Any] = {field: text if field == "if_" else {"x": text}}

    assert "a->ghost" in refusal_of(engram("a", **more))


def test_a_circle_through_a_primitive_is_refused() -> None:
    message = refusal_of(engram("a", "p"), primitive("p", "condition", "b"), engram("b", "a"))

    assert "a -> p -> b -> a" in message


def test_scripts_waits_and_gates_are_allowed_among_clean_up_steps() -> None:
    plan = plan_of(engram("a"), **{"finally": [primitive("ask", "gate"), {"name": "script", "run": "true"}]})

    assert plan.finally_.order == ("ask", "script")


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [([], None), ([0], None), ([None, 3], timedelta(seconds=3)), ([5, 30, 7], timedelta(seconds=30)), (["x"], None)],
)
def test_the_longest_time_to_drain_counts(seconds: list[Any], wanted: timedelta | None) -> None:
    transports = [{"name": "t", "streaming": {"lifecycle": {"drainTimeoutSeconds": each}}} for each in seconds]
    plan = plan_of(engram("a"), transports=transports)

    assert plan.drain_timeout == wanted


@pytest.mark.parametrize("damaged", [None, "x", [None], [{"streaming": 3}], [{"streaming": {"lifecycle": []}}]])
def test_damaged_transports_set_no_time(damaged: Any) -> None:
    assert drain_timeout({"transports": damaged}) is None


@pytest.mark.parametrize(
    "value",
    [{"x": "{{ steps.a.n }}"}, {"x": ["{{ index .steps inputs.which }}"]}, {"x": "{{ len .steps }}"}],
)
def test_static_input_reads_no_steps(value: Any) -> None:
    assert "runtime" in str(why_not_static(value))
    assert why_not_static({"x": "{{ inputs.n }}", "y": "steps.a", "z": 3}) is None


def test_the_story_of_a_packet_is_one_step_with_the_inputs_of_the_run_as_they_are() -> None:
    work = engram("work", "ear", with_={"x": 1}, if_="packet.n > 1", runtime={"n": "{{ packet.n }}"}, transport="t")
    work["execution"] = {"timeout": "5s", "retry": {"maxRetries": 2}}
    whole = story(
        engram("ear"),
        work,
        policy={"concurrency": 3},
        concurrency={"mode": "serial"},
        streamingStrategy="PerStory",
        inputsSchema={"required": ["room"]},
        **{"finally": [engram("sweep")]},
    )
    whole["metadata"]["generation"] = 4
    made = story_of_step(whole, "work", {"n": 2, "a-b": "{{ inputs.n }}", 'q"': 1})

    assert made is not None
    assert made["metadata"] == {"name": "s", "namespace": "n"}
    assert made["spec"] == {
        "pattern": "batch",
        "policy": {"concurrency": 3},
        "steps": [
            {
                "name": "work",
                "ref": work["ref"],
                "execution": work["execution"],
                "with": {"n": '{{ inputs["n"] }}', "a-b": '{{ inputs["a-b"] }}', 'q"': '{{ inputs["q\\""] }}'},
            }
        ],
        "output": {"output": '{{ steps["work"].output }}'},
    }
    plan = parse_story(made)
    assert isinstance(plan, StoryPlan)
    assert (plan.order, plan.is_realtime, plan.steps["work"].serves_stream) == (("work",), False, False)


def test_only_a_main_step_with_an_engram_of_a_realtime_story_can_be_run_alone() -> None:
    whole = story(engram("ear"), primitive("p", "condition", "ear"), **{"finally": [engram("sweep")]})
    batch = {**whole, "spec": {**whole["spec"], "pattern": "batch"}}
    assert [story_of_step(whole, name, {}) is None for name in ("ear", "p", "sweep", "gone")] == [
        False,
        True,
        True,
        True,
    ]
    assert story_of_step(batch, "ear", {}) is None
