"""No ring is lost, unless the waiter says that it is about to look anyway."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from core.engine.wakeup import Bell


async def test_a_ring_before_the_wait_counts_once() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    await bell.wait()
    assert not bell.rung


async def test_a_hushed_bell_waits_for_the_next_ring(autojump_clock: MockClock) -> None:
    bell = Bell()
    bell.ring()
    bell.hush()
    with trio.move_on_after(1) as scope:
        await bell.wait()
    assert scope.cancelled_caught
    bell.ring()
    await bell.wait()
