"""Who gets packets from whom, and which of them are joined. (core/story/streams.py)"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.graph.cycles import find_cycle
from core.story.step import Step
from core.story.story import read_story
from core.story.streams import (
    StreamNeighbours,
    certain_followers,
    joined_by_default,
    neighbours_of,
    packet_needs,
    stream_graph,
)


def steps_of(*declared: dict[str, Any]) -> tuple[Step, ...]:
    return read_story({"spec": {"pattern": "realtime", "steps": list(declared)}}).groups["steps"]


STEPS = steps_of(
    {"name": "listen", "ref": {"name": "x"}},
    {"name": "pace", "type": "sleep", "needs": ["listen"]},
    {"name": "split", "type": "parallel", "needs": ["pace"]},
    {"name": "say", "ref": {"name": "x"}, "needs": ["split", "listen"]},
    {"name": "log", "ref": {"name": "x"}, "needs": ["say", "pace"]},
    {"name": "alone", "type": "stop", "needs": []},
    {"name": "late", "ref": {"name": "x"}, "needs": ["alone"]},
)


def test_packets_pass_through_steps_without_a_container() -> None:
    assert neighbours_of("listen", STEPS) == StreamNeighbours((), ("say", "log"))
    assert neighbours_of("say", STEPS) == StreamNeighbours(("listen",), ("log",))
    assert neighbours_of("log", STEPS) == StreamNeighbours(("listen", "say"), ())


def test_a_step_behind_steps_without_a_source_is_a_source() -> None:
    assert neighbours_of("late", STEPS).upstream == ()


def test_circles_and_unknown_needs_end() -> None:
    circle = steps_of(
        {"name": "a", "ref": {"name": "x"}, "needs": ["b", "gone"]},
        {"name": "b", "type": "sleep", "needs": ["c"]},
        {"name": "c", "type": "sleep", "needs": ["b"]},
    )
    assert neighbours_of("a", circle) == StreamNeighbours((), ())


def step(name: str, *needs: str, **fields: Any) -> dict[str, Any]:
    """A step with a container; ``needs=None``: its place in the list counts."""
    return {"name": name, "ref": {"name": "x"}, "needs": list(needs), **fields}


def line(name: str, **fields: Any) -> dict[str, Any]:
    return step(name, **{"needs": None, **fields})


def passing(name: str, *needs: str, type_: str = "sleep", **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, "needs": list(needs), **fields}


# Steps without needs.


def test_a_step_without_needs_gets_the_packets_of_all_before_it_and_one_with_none_is_a_source() -> None:
    assert packet_needs(steps_of(line("ear"), line("mind"), step("clock"), line("mouth"), step("log", "ear"))) == {
        "ear": (),
        "mind": ("ear",),
        "clock": (),
        "mouth": ("ear", "mind", "clock"),
        "log": ("ear",),
    }


def test_absent_and_null_needs_are_the_same() -> None:
    absent = {"name": "b", "ref": {"name": "x"}}
    assert (
        packet_needs(steps_of(step("a"), absent))
        == packet_needs(steps_of(step("a"), line("b")))
        == {"a": (), "b": ("a",)}
    )


def test_what_passes_through_a_step_without_a_container_comes_once() -> None:
    steps = steps_of(
        line("a"), line("pace", ref=None, type="sleep"), line("b"), line("cut", ref=None, type="stop"), line("c")
    )
    assert packet_needs(steps) == {
        "a": (),
        "pace": ("a",),
        "b": ("pace",),
        "cut": ("pace", "b"),
        "c": ("cut",),
    }
    assert neighbours_of("c", steps) == StreamNeighbours(("a", "b"), ())


def test_a_step_without_a_container_that_has_needs_is_a_branch() -> None:
    steps = [line("a"), passing("loud", "a", type_="condition"), step("answer", "loud"), line("log")]
    assert packet_needs(steps_of(*steps))["log"] == ("a", "answer")


def test_a_step_without_needs_gets_nothing_from_those_that_need_it() -> None:
    steps = [line("x"), step("early", "late"), line("between"), line("late")]
    assert packet_needs(steps_of(*steps)) == {"x": (), "early": ("late",), "between": ("x", "early"), "late": ("x",)}
    assert packet_needs(steps_of(step("early", "late"), line("late"))) == {"early": ("late",), "late": ()}


def test_steps_that_name_different_transports_are_apart() -> None:
    steps = [line("a", transport="voice"), line("b", transport="film"), line("c", transport="voice"), line("d")]
    assert packet_needs(steps_of(*steps)) == {"a": (), "b": (), "c": ("a",), "d": ("a", "b", "c")}


_STEPS = st.lists(
    st.tuples(st.booleans(), st.none() | st.lists(st.integers(0, 7), max_size=3), st.sampled_from(["", "t", "u"])),
    max_size=8,
)


@given(_STEPS)
def test_a_place_in_the_list_makes_no_circle_and_no_packet_comes_twice(drawn: list[Any]) -> None:
    steps = []
    for number, (has_container, needs, transport) in enumerate(drawn):
        named = None if needs is None else [f"s{need}" for need in dict.fromkeys(needs) if need < number]
        steps.append(
            {
                "name": f"s{number}",
                "ref": {"name": "x"} if has_container else None,
                "needs": named,
                "transport": transport,
            }
        )
    graph = stream_graph(steps_of(*steps))

    assert find_cycle(graph) is None
    for each in steps:
        if each["needs"] is not None:
            assert graph.needs[each["name"]] == tuple(each["needs"])
            continue
        for need in graph.needs[each["name"]]:
            if not next(other for other in steps if other["name"] == need)["ref"]:
                assert not set(graph.needs[need]) & set(graph.needs[each["name"]])


# Joins where nothing is said.


def joined(
    steps: list[dict[str, Any]], conditional: Set[str] = frozenset(), reads: Set[str] | None = frozenset()
) -> Any:
    return joined_by_default(stream_graph(steps_of(*steps)), steps[-1]["name"], conditional, lambda: reads)


BRANCHES = [step("ear"), step("words", "ear"), passing("pace", "ear"), step("mood", "pace")]


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([*BRANCHES, step("x", "words", "mood")], (("words", "mood"),)),
        ([*BRANCHES, step("x", "mood", "ear", "pace")], (("mood", "ear", "pace"),)),
        ([*BRANCHES, step("x", "words")], ()),
        ([step("a"), step("b"), step("x", "a", "b")], ()),
        ([*BRANCHES, step("eye"), step("x", "words", "eye", "mood")], (("words", "mood"),)),
        ([*BRANCHES, step("eye"), step("face", "eye"), step("x", "words", "eye", "mood", "face")], None),
        ([*BRANCHES, step("eye"), step("both", "mood", "eye"), step("x", "words", "both")], ()),
        ([step("a"), step("b"), step("m", "a", "b"), step("l", "m"), step("x", "m", "l")], (("m", "l"),)),
    ],
)
def test_needs_with_the_same_sources_are_joined(steps: list[dict[str, Any]], found: Any) -> None:
    assert joined(steps) == (found if found is not None else (("words", "mood"), ("eye", "face")))


def test_branches_that_get_some_of_the_packets_are_joined_only_if_the_step_reads_several() -> None:
    steps = [*BRANCHES, step("x", "words", "mood")]
    both = (("words", "mood"),)
    assert joined(steps, {"ear", "x"}) == both  # before the branches part, and behind them, nothing is missing
    for conditional in ({"words"}, {"pace"}):
        assert joined(steps, conditional) == ()
        assert joined(steps, conditional, {"words", "ear"}) == ()
        assert joined(steps, conditional, {"words", "mood"}) == both
        assert joined(steps, conditional, {"words", "pace"}) == both
        assert joined(steps, conditional, None) == both
    assert joined([*BRANCHES, step("x", "ear", "words")], {"words"}, {"ear"}) == ()


def test_the_engrams_that_get_each_packet_are_counted_and_those_that_perhaps_do_not() -> None:
    engram: dict[str, Any] = {"ref": {"name": "x"}}
    steps: list[dict[str, Any]] = [
        {"name": "a", **engram, "needs": []},
        {"name": "plain", **engram, "needs": ["a"]},
        {"name": "picky", **engram, "needs": ["a"], "if": "packet.x"},
        {"name": "slow", "type": "sleep", "needs": ["a"]},
        {"name": "late", **engram, "needs": ["slow"]},
        {"name": "gate", "type": "condition", "needs": ["a"], "if": "packet.x"},
        {"name": "behind", **engram, "needs": ["gate"]},
        {"name": "both", **engram, "needs": ["a", "plain"]},
        {"name": "line", **engram},
    ]
    by_name = {step.name: step for step in steps_of(*steps)}
    assert certain_followers(stream_graph(steps_of(*steps)), "a", by_name) == ("plain", "late", "line")
    assert certain_followers(stream_graph(steps_of(*steps)), "line", by_name) == ()
