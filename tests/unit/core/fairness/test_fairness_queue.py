"""Owners take turns, and a flood harms only its own owner."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from core.fairness.queue import FairQueue


def _drained(queue: FairQueue[str]) -> list[str]:
    found = []
    while (item := queue.get_nowait()) is not None:
        found.append(item)
    return found


def _put(queue: FairQueue[str], *items: str) -> list[str]:
    """Put items, each named by its owner and a number; returns the items that were dropped."""
    dropped = [queue.put(item[0], item) for item in items]
    return [item for item in dropped if item is not None]


async def test_owners_take_turns_and_each_keeps_its_order() -> None:
    queue = FairQueue[str](9)
    assert _put(queue, "a1", "a2", "a3", "b1", "c1", "b2") == []

    assert _drained(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert len(queue) == 0


async def test_without_room_the_newest_of_the_longest_line_is_dropped() -> None:
    queue = FairQueue[str](4)
    assert _put(queue, "a1", "a2", "a3", "a4", "b1", "b2") == ["a4", "a3"]
    assert _put(queue, "a5", "b3") == ["a5", "b3"]

    assert _drained(queue) == ["a1", "b1", "a2", "b2"]


async def test_who_waits_gets_what_comes(nursery: trio.Nursery) -> None:
    queue = FairQueue[str](4)
    got: list[str] = []

    async def take() -> None:
        while True:
            got.append(await queue.get())

    nursery.start_soon(take)
    await wait_all_tasks_blocked()
    _put(queue, "a1")
    await wait_all_tasks_blocked()
    _put(queue, "a2", "b1")
    await wait_all_tasks_blocked()

    assert got == ["a1", "a2", "b1"]
    nursery.cancel_scope.cancel()
