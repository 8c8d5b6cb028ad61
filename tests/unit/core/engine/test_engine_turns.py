"""Which run of a Story may begin."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.engine.turns import Begin, CancelFirst, WaitFor, turn_of

Object = dict[str, Any]


def story(mode: str | None = "serial", scope: str = "storyrun", **spec: Any) -> Object:
    concurrency = {} if mode is None else {"concurrency": {"mode": mode, "scope": scope}}
    return {"metadata": {"namespace": "team", "name": "report"}, "spec": {**concurrency, **spec}}


def run(
    name: str,
    created: int = 0,
    *,
    begun: bool = False,
    parent: str = "",
    inputs: Any = None,
    correlation: Any = None,
    canceled: bool = False,
) -> Object:
    owners = [{"kind": "StoryRun", "name": parent, "uid": f"uid-{parent}", "controller": True}] if parent else []
    return {
        "metadata": {
            "namespace": "team",
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": f"2026-01-02T03:04:{created:02}Z",
            "ownerReferences": owners,
            "annotations": {"bubustack.io/correlation-id": correlation},
        },
        "spec": {"storyRef": {"name": "report"}, "inputs": inputs, "cancelRequested": canceled or None},
        "status": {"startedAt": "2026-01-02T03:05:00Z"} if begun else {},
    }


def waits_for(turn: Any) -> tuple[str, ...]:
    assert isinstance(turn, WaitFor), turn
    return turn.runs


@pytest.mark.parametrize(
    "free",
    [story(None), story("parallel"), story("serial", pattern="realtime"), story("cancelPrevious", pattern="realtime")],
    ids=["unsaid", "parallel", "packets, serial", "packets, cancelPrevious"],
)
def test_runs_begin_at_once_unless_the_story_says_otherwise(free: Object) -> None:
    assert turn_of(run("b", 2), [run("a", 1, begun=True), run("b", 2), run("c", 3)], free) == Begin()


def test_one_run_at_a_time_in_order_of_creation_then_name() -> None:
    live = [run("d", 2), run("b", 1), run("a", 2), run("c", 0, begun=True)]
    turns = {one["metadata"]["name"]: turn_of(one, live, story()) for one in live}
    assert turns["c"] == Begin()
    assert turns["b"] == WaitFor(("c",), 1, "Waiting for StoryRun c to end; 1st in line", "uid-c")
    assert turns["a"] == WaitFor(("c", "b"), 2, "Waiting for StoryRun c to end; 2nd in line", "uid-b")
    assert turns["d"] == WaitFor(("c", "b", "a"), 3, "Waiting for StoryRun c to end; 3rd in line", "uid-a")


def test_with_nobody_at_work_the_oldest_begins() -> None:
    live = [run("a", 2), run("b", 1)]
    assert turn_of(live[1], live, story()) == Begin()
    assert waits_for(turn_of(live[0], live, story())) == ("b",)


def test_a_run_that_has_begun_goes_on_and_is_waited_for_by_older_ones() -> None:
    live = [run("old", 1), run("new", 9, begun=True)]
    assert turn_of(live[1], live, story()) == Begin()
    assert turn_of(live[1], live, story("cancelPrevious")) == Begin()
    assert waits_for(turn_of(live[0], live, story())) == ("new",)


def test_a_run_counts_as_begun_before_that_is_stored() -> None:
    """Both are of the same second, and the later one comes first by name."""
    live = [run("b", 1), run("a", 1)]
    assert turn_of(live[1], live, story()) == Begin()
    assert waits_for(turn_of(live[1], live, story(), begun={"uid-b"})) == ("b",)
    assert turn_of(live[0], live, story(), begun={"uid-b"}) == Begin()


def test_a_run_that_is_not_listed_yet_stands_where_it_belongs() -> None:
    assert waits_for(turn_of(run("b", 2), [run("a", 1)], story())) == ("a",)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ({"inputs": {"participant": "ann"}}, {"inputs": {"participant": " ann "}}, True),
        ({"inputs": {"participant": "ann"}}, {"inputs": {"participant": "bob"}}, False),
        ({"inputs": {"participant": {"id": "ann"}}}, {"inputs": {"participant": "ann"}}, True),
        ({"inputs": {"participant": {"id": 7}}}, {"inputs": {"participant": "7"}}, True),
        ({"correlation": "x"}, {"correlation": "x", "inputs": {"participant": " "}}, True),
        ({"correlation": "x"}, {"correlation": "y"}, False),
        ({"correlation": "x"}, {"inputs": {"participant": "x"}}, False),
        ({"correlation": "x", "inputs": {"participant": "ann"}}, {"inputs": {"participant": "ann"}}, True),
        ({}, {}, False),
        ({"inputs": "text"}, {"inputs": {"participant": ["ann"]}}, False),
        ({"inputs": {"participant": True}}, {"inputs": {"participant": True}}, False),
    ],
)
@pytest.mark.parametrize("mode", ["serial", "cancelPrevious"])
def test_participants_take_turns_of_their_own(
    mode: str, one: dict[str, Any], other: dict[str, Any], together: bool
) -> None:
    live = [run("a", 1, begun=True, **one), run("b", 2, **other)]
    turn = turn_of(live[1], live, story(mode, "participant"))
    assert (turn != Begin()) == together


def test_runs_of_all_participants_share_the_turns_of_the_story_otherwise() -> None:
    live = [run("a", 1, begun=True, inputs={"participant": "ann"}), run("b", 2, inputs={"participant": "bob"})]
    assert waits_for(turn_of(live[1], live, story())) == ("a",)


# The newest alone.


def test_older_runs_are_canceled_before_the_newest_begins() -> None:
    live = [run("a", 1, begun=True), run("b", 2), run("c", 3)]
    turn = turn_of(live[2], live, story("cancelPrevious"))
    message = "Waiting for StoryRun a and 1 more to end, canceled for this newer one"
    assert turn == CancelFirst((live[0], live[1]), message)
    assert turn_of(live[1], live, story("cancelPrevious")) == WaitFor(
        ("c",), 2, "Superseded by StoryRun c, which is newer", "uid-c"
    )


def test_runs_that_were_asked_to_end_are_waited_for() -> None:
    live = [run("a", 1, begun=True, canceled=True), run("b", 2)]
    message = "Waiting for StoryRun a to end, canceled for this newer one"
    assert turn_of(live[1], live, story("cancelPrevious")) == WaitFor(("a",), 1, message, "uid-a")
    live.insert(1, run("c", 1))
    assert [one["metadata"]["name"] for one in turn_of(live[2], live, story("cancelPrevious")).runs] == ["c"]
    assert turn_of(run("b", 2), [run("b", 2)], story("cancelPrevious")) == Begin()


def test_of_the_same_second_a_run_that_has_begun_is_the_older_one() -> None:
    live = [run("z", 1, begun=True), run("a", 1)]
    assert isinstance(turn_of(live[1], live, story("cancelPrevious")), CancelFirst)


# Runs that other runs have started.


@pytest.mark.parametrize("mode", ["serial", "cancelPrevious"])
def test_a_child_neither_waits_for_its_ancestors_nor_ends_them(mode: str) -> None:
    live = [run("a", 1, begun=True), run("a-b", 2, begun=True, parent="a"), run("a-b-c", 3, parent="a-b")]
    assert turn_of(live[2], live, story(mode)) == Begin()


def test_ancestors_of_other_stories_lead_to_those_of_this_one() -> None:
    """``a`` of this Story started a run of another, which started ``c``."""
    live = [run("a", 1, begun=True), run("c", 3, parent="other")]
    assert waits_for(turn_of(live[1], live, story())) == ("a",)
    assert turn_of(live[1], live, story(), ancestors={"uid-other", "uid-a"}) == Begin()


def test_a_child_goes_before_those_who_wait_for_its_parent() -> None:
    """Or the parent would wait for the child, the child for the older run, and that for the parent."""
    live = [run("parent", 1, begun=True), run("older", 2), run("child", 3, parent="parent")]
    assert turn_of(live[2], live, story()) == Begin()
    assert waits_for(turn_of(live[1], live, story())) == ("parent", "child")


def test_children_of_one_run_take_turns() -> None:
    live = [run("parent", 1, begun=True), run("p1", 2, parent="parent"), run("p2", 2, parent="parent")]
    assert turn_of(live[1], live, story()) == Begin()
    assert waits_for(turn_of(live[2], live, story())) == ("p1",)


def test_an_orphan_has_no_privilege() -> None:
    live = [run("older", 2), run("child", 3, parent="gone")]
    assert waits_for(turn_of(live[1], live, story())) == ("older",)


def test_a_forged_circle_of_owners_ends() -> None:
    live = [run("a", 1, parent="b"), run("b", 2, parent="a")]
    assert isinstance(turn_of(live[0], live, story()), Begin | WaitFor)


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Object], str]:
    mode = draw(st.sampled_from(("serial", "cancelPrevious")))
    crowd: list[Object] = []
    for number in range(draw(st.integers(1, 7))):
        begun_before = [one["metadata"]["name"] for one in crowd if one["status"]]
        parent = draw(st.sampled_from(["", *begun_before]))
        begun = draw(st.booleans()) and (not begun_before or bool(parent))
        name = f"{draw(st.sampled_from('abc'))}{number}"
        crowd.append(run(name, draw(st.integers(0, 3)), begun=begun, parent=parent))
    return crowd, mode


@given(crowds())
@settings(max_examples=300)
def test_there_is_always_one_who_can_go_on_and_never_two_who_begin(case: tuple[list[Object], str]) -> None:
    """Told one after the other, at most one run begins anew; and from those who wait, all ways lead to one at work."""
    crowd, mode = case
    begun = {one["metadata"]["uid"] for one in crowd if one["status"]}
    waiting: dict[str, tuple[str, ...]] = {}
    new = []
    for one in crowd:
        turn = turn_of(one, crowd, story(mode), begun=begun)
        if isinstance(turn, Begin):
            if one["metadata"]["uid"] not in begun:
                new.append(one)
            begun.add(one["metadata"]["uid"])
        elif isinstance(turn, WaitFor):
            waiting[one["metadata"]["name"]] = turn.runs
        else:
            waiting[one["metadata"]["name"]] = tuple(other["metadata"]["name"] for other in turn.runs)
    assert len(new) <= 1
    assert begun or mode == "cancelPrevious"
    if mode == "serial":
        at_work = {uid.removeprefix("uid-") for uid in begun}
        parents = {
            one["metadata"]["name"]: [owner["name"] for owner in one["metadata"]["ownerReferences"]] for one in crowd
        }
        for name in waiting:
            assert not at_work.isdisjoint(waiting[name])
            assert set(parents[name]).isdisjoint(waiting[name])
