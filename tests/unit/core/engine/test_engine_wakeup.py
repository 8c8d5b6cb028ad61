"""No call is lost, unless the waiter says that it is about to look anyway."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from core.engine.wakeup import WakeUp


async def test_a_ring_before_the_wait_counts_once() -> None:
    wakeup = WakeUp()
    wakeup.wake()
    wakeup.wake()
    await wakeup.wait()
    assert not wakeup.is_set


async def test_a_hushed_bell_waits_for_the_next_ring(autojump_clock: MockClock) -> None:
    wakeup = WakeUp()
    wakeup.wake()
    wakeup.clear()
    with trio.move_on_after(1) as scope:
        await wakeup.wait()
    assert scope.cancelled_caught
    wakeup.wake()
    await wakeup.wait()
