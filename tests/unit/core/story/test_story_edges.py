"""Which steps a step waits for, including branches, items and loops."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from core.story.edges import branch_owners, item_owners, steps_read
from core.story.story import Story, read_story

ENGRAM = {"name": "worker"}


def fan(*branches: Object, name: str = "fan", **settings: Any) -> Object:
    return {"name": name, "type": "parallel", "with": {"steps": list(branches), **settings}}


def work(name: str, **fields: Any) -> Object:
    return {"name": name, "ref": ENGRAM, **fields}


def story(spec: Object) -> Story:
    return read_story({"spec": spec})


def read_by(step: Object) -> frozenset[str]:
    """What the only step of a Story reads."""
    read = story({"steps": [step]})
    return steps_read(next(read.top()), branch_owners(read))


def test_a_branch_is_known_by_its_last_name_and_with_underscores() -> None:
    spec = {
        "steps": [fan(work("left-side"), fan(work("deep"), name="inner"))],
        "finally": [fan(work("z"), name="tidy")],
    }

    assert branch_owners(story(spec)) == {
        "left-side": "fan",
        "left_side": "fan",
        "inner": "fan",
        "deep": "fan",
        "z": "tidy",
    }


def test_a_step_hides_a_branch_and_the_first_branch_one_that_comes_later() -> None:
    spec = {
        "steps": [fan(work("a"), work("b_c"), work("x")), fan(work("x"), name="other")],
        "compensations": [work("a"), work("b-c")],
    }

    assert branch_owners(story(spec)) == {"x": "fan"}


def test_what_is_done_for_each_item_is_no_branch_to_refer_to() -> None:
    spec = {"steps": [fan(fan(work("deep"), name="each"), forEach=[1, 2])]}

    assert branch_owners(story(spec)) == {}
    assert item_owners(story(spec)) == {"each": "fan", "deep": "fan"}


@pytest.mark.parametrize(
    ("step", "steps"),
    [
        (work("s", **{"if": "steps.a.output.ok"}), {"a"}),
        (work("s", **{"with": {"x": ["{{ steps.a.output }}", "steps.no.output"]}}), {"a"}),
        (work("s", **{"with": {"x": "{{ steps.left.output }}"}}), {"fan"}),
        ({"name": "s", "type": "executeStory", "with": {"with": {"x": "{{ steps.a.output }}"}}}, {"a"}),
        ({"name": "s", "type": "executeStory", "with": {"until": "steps.a.output.n > iteration"}}, {"a"}),
        ({"name": "s", "type": "executeStory", "with": {"until": "{{ steps.left_side.output.ok }}"}}, {"fan"}),
        ({"name": "s", "type": "wait", "if": "steps.a.output.ok", "with": {"until": "steps.b.output.ok"}}, {"a"}),
        ({"name": "s", "type": "sleep", "with": {"duration": "{{ steps.a.output }}"}}, set()),
        (fan(work("x"), name="s", forEach="{{ steps.a.output.items }}"), {"a"}),
        (fan(work("x"), name="s", forEach=["{{ steps.a.output.n }}", 2]), {"a"}),
        (
            fan(work("x", **{"if": "steps.a.output.ok"}), work("y", **{"with": "{{ steps.b.output }}"}), name="s"),
            {"a", "b"},
        ),
        (fan(fan(work("x", **{"with": "{{ steps.a.output }}"}), name="inner"), name="s"), {"a"}),
        (fan({"name": "w", "type": "wait", "with": {"until": "steps.a.output.ok"}}, name="s"), set()),
        (fan(work("x", postExecution={"condition": "steps.a.output.ok"}), name="s"), set()),
        (fan(work("x", **{"with": "{{ item.steps.a }}{{ previous.x }}"}), name="s", forEach=[1]), set()),
        (fan(work("x", **{"with": "{{ steps.left.output }}"}), name="s"), {"fan"}),
        (fan(work("x"), work("y", **{"with": "{{ steps.ghost.output }}"}), name="s"), {"ghost"}),
        ({"name": "s", "type": "parallel", "with": {"steps": ["odd", {"name": 3}]}}, set()),
        ({"name": "s", "type": "parallel", "with": "odd", "if": 3}, set()),
    ],
)
def test_what_must_be_done_before_a_step_starts(step: Object, steps: set[str]) -> None:
    read = story({"steps": [fan(work("left-side"), work("left")), step]})

    assert steps_read(list(read.top())[1], branch_owners(read)) == steps


def test_branches_may_read_those_beside_them() -> None:
    step = fan(work("left"), fan(work("deep", **{"if": "steps.left.output.ok"}), name="right"))

    assert read_by(step) == frozenset()


def test_what_a_step_reads_of_itself_stays_a_circle() -> None:
    own_branch = {**fan(work("left")), "if": "steps.left.output.ok"}
    itself = fan(work("left", **{"if": "steps.fan.output.ok"}))

    assert read_by(own_branch) == {"fan"}
    assert read_by(itself) == {"fan"}


def test_a_damaged_story_has_no_branches() -> None:
    assert branch_owners(story({"steps": [3, {"name": 3}, {"name": "a", "type": "parallel"}], "finally": "x"})) == {}


def test_a_script_waits_for_the_steps_that_its_inputs_read_and_for_no_others() -> None:
    step = {"name": "a", "run": "echo {{ steps.other.output }}", "with": {"n": "{{ steps.first.output.n }}"}}

    assert read_by(step) == {"first"}
