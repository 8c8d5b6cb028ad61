"""From a pinned Story to the routes of its run. (hub/story_routes.py)"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.api.objects import NamespacedName, Object
from core.story.kinds import StepKind
from hub.settings import Ordering
from hub.story_routes import BoundSettings, StoryProblemError, delivery_of, needs_of, routes_of, streaming_steps
from tests.unit.hub.cluster_samples import engram_step, primitive_step, realtime_story

RUN = NamespacedName("team", "run-1")


def routes(story: Object, **settings: Object) -> Any:
    return routes_of(RUN, story, {}, {step: BoundSettings(settings.get(step, {})) for step in streaming_steps(story)})


def test_packets_follow_the_needs_of_the_steps_with_an_engram() -> None:
    found = routes(realtime_story(engram_step("a"), engram_step("b", "a"), engram_step("c", "a", "b")))
    assert found.story == "voice"
    assert found.sources == {"a": (), "b": ("a",), "c": ("a", "b")}
    assert found.targets["a"] == ("b", "c")


def test_packets_go_through_the_steps_without_a_container() -> None:
    story = realtime_story(
        engram_step("a"),
        engram_step("b"),
        primitive_step("gate", "a", "b"),
        primitive_step("wait", "gate", "b", type_="sleep"),
        engram_step("c", "wait"),
    )
    assert streaming_steps(story) == ("a", "b", "c")
    found = routes(story)
    assert found.sources == {"a": (), "b": (), "gate": ("a", "b"), "wait": ("gate", "b"), "c": ("wait",)}
    assert (found.steps["wait"].kind, found.steps["c"].kind) == (StepKind.SLEEP, StepKind.ENGRAM)


def test_a_step_without_needs_gets_the_packets_of_those_before_it_and_joins_nothing() -> None:
    story = realtime_story(
        engram_step("a", needs=None),
        engram_step("b", needs=None),
        engram_step("clock"),
        primitive_step("pace", type_="sleep") | {"needs": None, "with": {"duration": "1s"}},
        engram_step("c", needs=None),
        engram_step("d", "a", "b"),
    )
    found = routes(story, c={"fanIn": {}})

    assert found.sources["b"] == ("a",)
    assert found.sources["pace"] == ("a", "b", "clock")
    assert found.sources["c"] == ("pace",)
    assert needs_of(story)["c"] == ("a", "b", "clock")
    both = routes(
        realtime_story(engram_step("a"), engram_step("b", "a"), engram_step("c", needs=None)), c={"fanIn": {}}
    )
    assert (both.sources["c"], both.steps["c"].join) == (("a", "b"), None)
    assert found.steps["d"].join is not None


def test_what_is_evaluated_for_each_packet_comes_from_the_story() -> None:
    steps = [
        engram_step("a") | {"with": {"speed": 3}},
        primitive_step("late", "a", type_="sleep") | {"if": "packet.n > 1", "with": {"duration": "{{ inputs.wait }}"}},
        engram_step("b", "late") | {"if": "packet.n > 2", "runtime": {"n": "{{ packet.n }}"}, "with": {"mode": "x"}},
    ]
    found = routes_of(RUN, realtime_story(*steps), {"wait": "1s"}, {"a": BoundSettings(), "b": BoundSettings()})

    assert found.inputs == {"wait": "1s"}
    assert found.steps["a"].takes_as_it_is
    late, b = found.steps["late"], found.steps["b"]
    assert (late.condition, late.parameters) == ("packet.n > 1", {"duration": "{{ inputs.wait }}"})
    assert (b.condition, b.runtime, b.parameters) == ("packet.n > 2", {"n": "{{ packet.n }}"}, None)


def test_messages_are_checked_against_the_schemas_of_the_binding() -> None:
    bound = {"a": BoundSettings(output_schema={"required": ["t"]}), "b": BoundSettings(input_schema={"required": []})}
    found = routes_of(RUN, realtime_story(engram_step("a"), primitive_step("p", "a"), engram_step("b", "p")), {}, bound)

    assert [(step.input_schema, step.output_schema) for step in found.steps.values()] == [
        (None, {"required": ["t"]}),
        (None, None),
        ({"required": []}, None),
    ]


@pytest.mark.parametrize("word", ["wait", "gate", "dance", None])
def test_a_step_that_cannot_be_in_a_stream_is_named(word: Any) -> None:
    with pytest.raises(StoryProblemError, match=r"step odd: type: .* is not possible in a stream; use one of"):
        routes(realtime_story(engram_step("a"), primitive_step("odd", "a") | {"type": word}))


@given(st.data())
def test_a_contracted_need_is_a_step_that_is_reached_by_primitives_only(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 7))
    is_engram = [data.draw(st.booleans()) for _ in range(count - 1)] + [True]
    needs = [data.draw(st.lists(st.integers(0, number - 1), unique=True)) if number else [] for number in range(count)]
    steps = [
        (engram_step if is_engram[number] else primitive_step)(f"s{number}", *(f"s{need}" for need in needs[number]))
        for number in range(count)
    ]

    def reached(number: int) -> set[int]:
        found: set[int] = set()
        for need in needs[number]:
            found |= {need} if is_engram[need] else reached(need)
        return found

    found = needs_of(realtime_story(*steps))
    assert {name: set(sources) for name, sources in found.items()} == {
        f"s{number}": {f"s{source}" for source in reached(number)} for number in range(count) if is_engram[number]
    }


def test_a_step_is_served_as_its_binding_says() -> None:
    settings = {"delivery": {"semantics": "at_least_once"}, "backpressure": {"buffer": {"maxMessages": 7}}}
    found = routes(realtime_story(engram_step("a"), engram_step("b", "a")), b={**settings, "env": {"OTHER": "1"}})
    delivery = found.steps["b"].delivery
    assert (delivery.at_least_once, delivery.ordering, delivery.max_messages) == (True, Ordering.PER_STREAM, 7)
    assert not found.steps["a"].delivery.at_least_once


@pytest.mark.parametrize(("env", "window"), [({}, 64), ({"BUBU_GRPC_CHANNEL_BUFFER_SIZE": "16"}, 16)])
def test_no_more_is_in_flight_than_the_container_can_acknowledge(env: Object, window: int) -> None:
    assert delivery_of({"env": env}).window_messages == window
    assert delivery_of({"env": {"BUBU_GRPC_CHANNEL_BUFFER_SIZE": "many"}}).window_messages == 64


def test_all_problems_are_told_at_once() -> None:
    story = realtime_story(engram_step("a"), engram_step("b", "a"), engram_step("c", "b"))
    with pytest.raises(StoryProblemError) as found:
        routes(
            story,
            a={"delivery": {"replay": {"mode": "durable"}}},
            b={"backpressure": {"buffer": {"maxMessages": "many"}}},
        )
    assert "step a: delivery.replay.mode: durable is not supported" in str(found.value)
    assert "step b: backpressure.buffer.maxMessages: " in str(found.value)


@pytest.mark.parametrize(
    ("story", "problem"),
    [
        ({"metadata": {}, "spec": {}}, "spec.steps of the Story must be a list"),
        ({"metadata": {}, "spec": {"steps": [7]}}, "spec.steps of the Story must be a list"),
        (realtime_story({"ref": {"name": "a"}}), r"spec.steps\[0\].name must be"),
        (realtime_story(engram_step("a"), engram_step("a")), r"spec.steps\[1\].name must be"),
        (realtime_story(primitive_step("a")), "no step with ref"),
        (realtime_story(engram_step("a", "x"), engram_step("b", "y")), "step a: needs names x.*step b: needs names y"),
        (realtime_story(engram_step("a", "b"), engram_step("b", "a")), "dependency cycle: a → b → a"),
        (realtime_story(engram_step("a", "p"), primitive_step("p", "a")), "dependency cycle"),
    ],
)
def test_a_story_that_cannot_be_served_is_refused_by_name(story: Object, problem: str) -> None:
    with pytest.raises(StoryProblemError, match=problem):
        routes(story)


def test_a_chain_of_primitives_may_be_long() -> None:
    chain = [primitive_step(f"p{number}", f"p{number - 1}" if number else "a") for number in range(5_000)]
    assert needs_of(realtime_story(engram_step("a"), *chain, engram_step("z", "p4999")))["z"] == ("a",)
