"""Which steps a run has, and their names."""

from __future__ import annotations

from typing import Any

from core.api.objects import Object
from views.step_layout import declared_steps, fits, parent_of, path_of, recorded_steps


def story(*steps: Object, **lists: list[Object]) -> Object:
    return {"spec": {"steps": list(steps), **lists}}


def parallel(name: str, *branches: Object, **parameters: Any) -> Object:
    return {"name": name, "type": "parallel", "with": {"steps": list(branches), **parameters}}


def test_branches_follow_the_step_around_them_however_deep() -> None:
    inner = parallel("inner", {"name": "x", "ref": {"name": "e"}})
    placed = declared_steps(
        story(parallel("fan", {"name": "a", "type": "gate"}, inner), {"name": "z", "type": "sleep"}, **{"finally": []})
    )

    assert [(each.name, each.kind, each.depth) for each in placed] == [
        ("fan", "parallel", 0),
        ("fan/a", "gate", 1),
        ("fan/inner", "parallel", 1),
        ("fan/inner/x", "engram", 2),
        ("z", "sleep", 0),
    ]


def test_items_are_those_that_began_in_order_of_their_number() -> None:
    fan = parallel("fan", parallel("each", {"name": "x", "type": "gate"}), forEach="{{ inputs.all }}")
    recorded = ["fan", "fan/10", "fan/2", "fan/2/x"]

    assert [each.name for each in declared_steps(story(fan), recorded)] == [
        "fan",
        "fan/2",
        "fan/2/x",
        "fan/10",
        "fan/10/x",
    ]
    assert [each.name for each in declared_steps(story(fan))] == ["fan", "fan/*", "fan/*/x"]
    assert fits("fan/*/x", "fan/3/x")
    assert not fits("fan/*/x", "fan/three/x")
    assert not fits("fan/*", "fan/3/x")


def test_the_lists_come_in_spec_order_and_damaged_steps_are_left_out() -> None:
    damaged: list[Any] = [{"name": 7}, "text", {"type": "sleep"}]
    placed = declared_steps(
        {"spec": {"steps": damaged, "compensations": [{"name": "undo"}], "finally": [{"name": "tidy"}]}}
    )

    assert [(each.name, each.list_name) for each in placed] == [("undo", "compensations"), ("tidy", "finally")]
    assert declared_steps(None) == []


def test_steps_that_only_the_run_knows_keep_their_order_with_branches_behind_them() -> None:
    names = ["b", "b/1", "a", "b/10", "b/2", "known"]

    placed = recorded_steps(names, (name for name in ["known"]))

    assert [each.name for each in placed] == ["b", "b/1", "b/2", "b/10", "a"]
    assert placed[1].list_name == ""


def test_a_step_run_says_which_branch_it_is() -> None:
    of_branch = {"metadata": {"annotations": {"runs.bubustack.io/step-path": "fan/a"}}, "spec": {"stepId": "a"}}

    assert path_of(of_branch) == "fan/a"
    assert path_of({"spec": {"stepId": "fetch"}}) == "fetch"
    assert (parent_of("fan/inner/x"), parent_of("fan")) == ("fan/inner", "")


def test_what_the_hub_carries_out_for_each_packet_is_no_step_of_a_run() -> None:
    steps: list[Any] = [{"name": "a", "ref": {"name": "e"}}, {"name": "p", "type": "condition"}]
    spec = {"steps": steps, "finally": [{"name": "nap", "type": "sleep"}]}

    assert [each.name for each in declared_steps({"spec": spec | {"pattern": "realtime"}})] == ["a", "nap"]
    assert [each.name for each in declared_steps({"spec": spec})] == ["a", "p", "nap"]
