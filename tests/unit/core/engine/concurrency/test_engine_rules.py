"""Which run of a Story may begin."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api.objects import Object
from core.engine.concurrency.rules import Begin, CancelFirst, WaitFor, turn_of
from core.engine.concurrency.wait_line import WaitLine


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
    """Both runs were created in the same second, and the later one comes first by name."""
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


# cancelPrevious: only the newest run begins.


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
    turn = turn_of(live[2], live, story("cancelPrevious"))
    assert isinstance(turn, CancelFirst)
    assert [one["metadata"]["name"] for one in turn.runs] == ["c"]
    assert turn_of(run("b", 2), [run("b", 2)], story("cancelPrevious")) == Begin()


def test_of_the_same_second_a_run_that_has_begun_is_the_older_one() -> None:
    live = [run("z", 1, begun=True), run("a", 1)]
    assert isinstance(turn_of(live[1], live, story("cancelPrevious")), CancelFirst)


# Runs that other runs started.


@pytest.mark.parametrize("mode", ["serial", "cancelPrevious"])
def test_a_child_neither_waits_for_its_ancestors_nor_ends_them(mode: str) -> None:
    live = [run("a", 1, begun=True), run("a-b", 2, begun=True, parent="a"), run("a-b-c", 3, parent="a-b")]
    assert turn_of(live[2], live, story(mode)) == Begin()


def test_ancestors_of_other_stories_lead_to_those_of_this_one() -> None:
    """``a`` of this Story started a run of another Story, and that run started ``c``."""
    live = [run("a", 1, begun=True), run("c", 3, parent="other")]
    assert waits_for(turn_of(live[1], live, story())) == ("a",)
    assert turn_of(live[1], live, story(), ancestors=["uid-other", "uid-a"]) == Begin()


def test_a_child_goes_before_those_who_wait_for_its_parent() -> None:
    """Otherwise the parent would wait for the child, the child for the older run, and the older run for the parent."""
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


def test_a_grandchild_goes_before_the_siblings_of_its_parent() -> None:
    """The siblings wait for that parent, and the parent may wait for the grandchild."""
    live = [
        run("top", 1, begun=True),
        run("uncle", 2, parent="top"),
        run("parent", 2, begun=True, parent="top"),
        run("child", 3, parent="parent"),
    ]
    assert turn_of(live[3], live, story()) == Begin()
    assert waits_for(turn_of(live[1], live, story())) == ("parent",)


def test_families_that_came_to_work_side_by_side_do_not_wait_for_each_other() -> None:
    """This can happen after an edit of the Story. Each parent may wait for the other parent's child."""
    live = [
        run("a", 1, begun=True),
        run("b", 1, begun=True),
        run("a-child", 3, parent="a"),
        run("b-child", 2, parent="b"),
    ]
    assert turn_of(live[2], live, story()) == Begin()
    assert turn_of(live[3], live, story()) == Begin()


def test_below_the_same_run_those_of_unknown_ancestors_count() -> None:
    live = [run("a", 1, begun=True), run("x", 2, parent="other1"), run("y", 3, parent="other2")]
    assert waits_for(turn_of(live[2], live, story(), ancestors=["uid-other2", "uid-a"])) == ("x",)
    assert turn_of(live[1], live, story(), ancestors=["uid-other1", "uid-a"]) == Begin()


@st.composite
def crowds(draw: st.DrawFn, *, nested: bool) -> tuple[list[Object], str]:
    """``nested``: each run at work is a child of the run at work before it, as turns alone would arrange it."""
    mode = draw(st.sampled_from(("serial", "cancelPrevious")))
    crowd: list[Object] = []
    for number in range(draw(st.integers(1, 7))):
        at_work = [one["metadata"]["name"] for one in crowd if one["status"]]
        begun = draw(st.booleans())
        parents = at_work[-1:] if nested and begun and at_work else ["", *at_work]
        name = f"{draw(st.sampled_from('abc'))}{number}"
        crowd.append(run(name, draw(st.integers(0, 3)), begun=begun, parent=draw(st.sampled_from(parents))))
    return crowd, mode


def everybody_asks(crowd: list[Object], mode: str) -> tuple[list[str], dict[str, set[str]]]:
    """Let all runs ask, one after the other.

    Returns which runs begin now, and which run waits for which. A parent at work waits for its children, too.
    """
    begun = {one["metadata"]["uid"] for one in crowd if one["status"]}
    new: list[str] = []
    waits: dict[str, set[str]] = {one["metadata"]["name"]: set() for one in crowd}
    for one in crowd:
        name = one["metadata"]["name"]
        match turn_of(one, crowd, story(mode), begun=begun):
            case Begin():
                if one["metadata"]["uid"] not in begun:
                    new.append(name)
                begun.add(one["metadata"]["uid"])
            case WaitFor(runs):
                waits[name] |= set(runs)
            case CancelFirst(runs):
                waits[name] |= {other["metadata"]["name"] for other in runs}
        for owner in one["metadata"]["ownerReferences"]:
            waits[owner["name"]].add(name)
    return new, waits


@given(crowds(nested=True))
@settings(max_examples=150)
def test_never_do_two_runs_begin_together(case: tuple[list[Object], str]) -> None:
    crowd, mode = case
    new, _ = everybody_asks(crowd, mode)
    assert len(new) <= 1
    assert mode == "cancelPrevious" or new or any(one["status"] for one in crowd)


@given(crowds(nested=False))
@settings(max_examples=150)
def test_runs_that_wait_in_turn_never_wait_in_a_circle(case: tuple[list[Object], str]) -> None:
    crowd, _ = case
    _, waits = everybody_asks(crowd, "serial")
    while free := {name for name, others in waits.items() if not others}:
        waits = {name: others - free for name, others in waits.items() if name not in free}
    assert not waits


# A stored line gives the same places as a look at all runs, and never lets a run begin.


def compare(line: WaitLine, crowd: list[Object], like: Object, begun: set[str]) -> set[str]:
    """Check that the line gives the same places as a look at all runs; returns the runs that it places."""
    placed = set()
    for one in crowd:
        known = line.place_of(one, ())
        seen = turn_of(one, crowd, like, begun=begun)
        if known is not None and one["metadata"]["uid"] not in begun:
            assert isinstance(seen, WaitFor)
            assert (known.place, known.message, known.until) == (seen.place, seen.message, seen.until)
            placed.add(one["metadata"]["name"])
    return placed


@given(crowds(nested=False), st.sampled_from(("storyrun", "participant")), st.data())
@settings(max_examples=200)
def test_a_kept_line_tells_what_a_look_at_all_runs_tells(
    case: tuple[list[Object], str], scope: str, data: st.DataObject
) -> None:
    crowd, like = case[0], story("serial", scope)
    for one in crowd:
        one["spec"]["inputs"] = {"participant": data.draw(st.sampled_from("xy"))}
    begun = {one["metadata"]["uid"] for one in crowd if one["status"] and data.draw(st.booleans())}
    came_since = data.draw(st.sampled_from(crowd)) if data.draw(st.booleans()) else None
    line = WaitLine([one for one in crowd if one is not came_since], like, begun)
    if came_since is not None:
        line.place_of(came_since, ())
        if came_since["metadata"]["uid"] not in {spot[-1] for spot in line._spots.values()}:
            return  # not put into the line: it has begun, is below one that has, or is first
    compare(line, crowd, like, begun)


def test_everybody_but_the_first_in_line_is_placed() -> None:
    crowd = [run("a", 1, begun=True), *(run(f"r{number}", number) for number in range(2, 9))]
    line = WaitLine(crowd, story(), ())

    assert compare(line, crowd, story(), {"uid-a"}) == {f"r{number}" for number in range(2, 9)}
    assert line.place_of(crowd[3], ()) == WaitFor((), 3, "Waiting for StoryRun a to end; 3rd in line", "uid-r3")
    assert len(line) == 8


@given(st.lists(st.tuples(st.sampled_from(("end", "begin", "come")), st.integers(0, 99)), max_size=30))
@settings(max_examples=150)
def test_a_line_follows_who_comes_begins_and_ends(steps: list[tuple[str, int]]) -> None:
    like, begun, count = story(), {"uid-r0"}, 5
    crowd = [run(f"r{number}", number) for number in range(count)]
    line = WaitLine(crowd, like, begun)
    for what, which in steps:
        if what == "come":
            crowd.append(run(f"r{count}", which % 60))
            count += 1
            if line.place_of(crowd[-1], ()) is None:
                crowd.pop()
        elif crowd and what == "end":
            uid = crowd.pop(which % len(crowd))["metadata"]["uid"]
            begun.discard(uid)
            line.ended(uid)
            line.ended(uid)
        elif crowd:
            one = crowd[which % len(crowd)]
            if isinstance(turn_of(one, crowd, like, begun=begun), Begin):
                begun.add(one["metadata"]["uid"])
                line.began(one)
        compare(line, crowd, like, begun)
        assert len(line) == len(crowd)


@pytest.mark.parametrize("ancestors", [("uid-a",), ("uid-elsewhere", "uid-a")])
def test_what_is_below_a_run_at_work_has_to_look(ancestors: tuple[str, ...]) -> None:
    crowd = [run("a", 1, begun=True), run("b", 2), run("c", 3)]
    line = WaitLine(crowd, story(), ())

    assert line.place_of(crowd[2], ancestors) is None
    assert line.place_of(run("d", 4, parent="a"), ()) is None
    assert line.place_of(crowd[2], ("uid-elsewhere",)) is not None


def test_who_has_begun_or_shares_with_nobody_has_to_look() -> None:
    shared = story("serial", "participant")
    line = WaitLine([run("a", 1, begun=True, inputs={"participant": "x"})], shared, ())

    assert line.place_of(run("b", 2, begun=True, inputs={"participant": "x"}), ()) is None
    assert line.place_of(run("b", 2), ()) is None
    assert line.place_of(run("b", 2, inputs={"participant": "y"}), ()) is None
    assert line.place_of(run("b", 2, inputs={"participant": "x"}), ()) is not None
    line.began(run("nobody", 3))
    line.ended("uid-nobody")
    assert len(line) == 2
