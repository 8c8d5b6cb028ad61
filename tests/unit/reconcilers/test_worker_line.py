"""The line of those who wait for a worker: first come, first served, and no place is kept for ever."""

from __future__ import annotations

from core.api.objects import NamespacedName
from reconcilers.adapters.worker_line import AwaitedRoom, WorkerLine


def key(name: str) -> NamespacedName:
    return NamespacedName("team", name)


def awaited(name: str, gives_up_at: float = 100.0) -> AwaitedRoom:
    return AwaitedRoom(NamespacedName("team", name), "s", gives_up_at)


def line_of(*names: str) -> WorkerLine:
    line = WorkerLine()
    for name in names:
        line.join(key(name), awaited(name))
    return line


def names(called: list[AwaitedRoom]) -> list[str]:
    return [each.run.name for each in called]


def test_an_empty_line_lets_anybody_in_who_finds_room() -> None:
    line = WorkerLine()
    assert line.may_take(key("a"), 1)
    assert not line.may_take(key("a"), 0)


def test_nobody_overtakes_those_who_wait() -> None:
    line = line_of("a", "b")
    assert not line.may_take(key("c"), 2)
    assert line.may_take(key("c"), 3)
    assert not line.may_take(key("b"), 1)
    assert line.may_take(key("a"), 1)
    assert line.may_take(key("b"), 1)


def test_as_many_are_called_as_there_is_room_in_their_order() -> None:
    line = line_of("a", "b", "c")
    assert names(line.call(2, until=10.0)) == ["a", "b"]
    assert line.call(2, until=10.0) == []
    assert not line.may_take(key("c"), 2)
    assert not line.may_take(key("d"), 2)
    assert line.may_take(key("b"), 2)
    assert line.may_take(key("a"), 1)


def test_a_called_step_whose_room_is_gone_is_the_first_again() -> None:
    line = line_of("a", "b")
    line.call(1, until=10.0)
    assert not line.may_take(key("a"), 0)
    assert list(line) == [key("a"), key("b")]
    assert names(line.call(1, until=10.0)) == ["a"]


def test_who_joins_twice_keeps_place_and_time() -> None:
    line = line_of("a", "b")
    line.join(key("a"), awaited("a", gives_up_at=500.0))
    assert line.gives_up_at(key("a")) == 100.0
    line.call(1, until=10.0)
    line.join(key("a"), awaited("a"))
    assert len(line) == 2


def test_a_place_is_kept_for_a_while_only() -> None:
    line = line_of("a", "b")
    line.call(1, until=10.0)
    assert line.next_due == 10.0
    assert line.expire(9.0) == []
    assert not line.may_take(key("b"), 1)
    assert line.expire(10.0) == []
    assert line.may_take(key("b"), 1)


def test_who_has_waited_too_long_is_told_once() -> None:
    line = line_of("a")
    line.join(key("b"), awaited("b", gives_up_at=50.0))
    assert line.next_due == 50.0
    assert names(line.expire(60.0)) == ["b"]
    assert line.expire(70.0) == []
    assert line.next_due == 100.0
    assert line.gives_up_at(key("b")) == 50.0


def test_who_has_ended_leaves_its_place_to_others() -> None:
    line = line_of("a", "b", "c")
    line.call(1, until=10.0)
    line.leave(key("a"))
    line.leave(key("b"))
    assert key("a") not in line
    assert names(line.call(1, until=10.0)) == ["c"]
    assert [each.run.name for each in line.waiters()] == ["c"]
