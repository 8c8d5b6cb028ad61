"""Which worker gets an attempt, and who is called when a worker has room."""

from __future__ import annotations

import pytest

from core.engine.step.worker_choice import RoomLine, WorkerLoad, least_loaded


@pytest.mark.parametrize(
    ("loads", "chosen"),
    [
        pytest.param({}, None, id="no worker"),
        pytest.param({"a": 2, "b": 2}, None, id="all are full"),
        pytest.param({"a": 3}, None, id="more than full"),
        pytest.param({"a": 1, "b": 0}, "b", id="least load"),
        pytest.param({"b": 1, "a": 1}, "a", id="then by name"),
    ],
)
def test_the_worker_with_the_least_load_is_chosen(loads: dict[str, int], chosen: str | None) -> None:
    found = least_loaded(WorkerLoad(name, f"uid-{name}", 2, load) for name, load in loads.items())

    assert (found.name if found is not None else None) == chosen


def test_steps_are_called_in_the_order_in_which_they_have_asked() -> None:
    line = RoomLine[str]()
    for step in "abc":
        line.wait(step)
        line.wait(step)

    assert (len(line), line.before("c"), line.before("new")) == (3, 2, 3)
    assert line.call(2) == ["a", "b"]
    assert (len(line), line.before("a"), line.call(0)) == (1, 0, [])
    assert line.call(9) == ["c"]
    assert line.call(9) == []


def test_a_step_that_was_called_in_vain_has_its_old_place() -> None:
    line = RoomLine[str]()
    line.wait("a")
    line.wait("b")
    line.call(1)
    line.wait("a")

    assert line.call(2) == ["a", "b"]


def test_a_step_that_was_called_and_does_not_come_holds_nobody_up() -> None:
    line = RoomLine[str]()
    line.wait("a")
    line.wait("b")

    assert (line.call(1), line.call(1)) == (["a"], ["b"])


def test_a_step_that_leaves_is_not_called_and_comes_last_when_it_asks_again() -> None:
    line = RoomLine[str]()
    line.wait("a")
    line.wait("b")
    line.leave("a")
    line.leave("nobody")

    assert (len(line), line.before("b")) == (1, 0)
    line.wait("a")
    assert line.call(9) == ["b", "a"]
