"""When the cyclic collector scans all objects, and when it scans only new ones."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import trio

from kubewire import reclaim


class Server:
    """A server whose revision may rise every second. Records the instants of full collections."""

    def __init__(self) -> None:
        self.revision = 0
        self.collected_at: list[float] = []
        self.is_busy = False
        self.heeds_timers = False
        self.resident_bytes = 100 << 20

    def collect(self) -> None:
        self.collected_at.append(trio.current_time() - self.started_at)
        gc.collect()

    async def run(self, nursery: trio.Nursery) -> None:
        self.started_at = trio.current_time()
        nursery.start_soon(self._write)
        await nursery.start(_reclaiming, self)

    async def _write(self) -> None:
        while True:
            await trio.sleep(1)
            self.revision += self.is_busy


async def _reclaiming(server: Server, *, task_status: trio.TaskStatus[None]) -> None:
    await reclaim.reclaim_when_quiet(
        lambda: server.revision,
        heeds_timers=server.heeds_timers,
        collect=server.collect,
        resident=lambda: server.resident_bytes,
        task_status=task_status,
    )


def many_objects() -> list[object]:
    """Enough new objects to make a full collection worthwhile."""
    return [[] for _ in range((reclaim.WORTHWHILE_ROUNDS + 2) * reclaim.YOUNG_OBJECTS)]


async def test_what_is_old_is_walked_at_a_quiet_moment_only(nursery: trio.Nursery, autojump_clock: Any) -> None:
    server = Server()
    server.is_busy = True
    await server.run(nursery)
    kept = many_objects()
    await trio.sleep(60)
    assert server.collected_at == []
    server.is_busy = False
    await trio.sleep(60)
    assert len(server.collected_at) == 1
    assert len(kept) > 0


async def test_a_server_that_is_never_quiet_is_not_spared_for_ever(nursery: trio.Nursery, autojump_clock: Any) -> None:
    server = Server()
    server.is_busy = True
    await server.run(nursery)
    kept = many_objects()
    await trio.sleep(2 * reclaim.LONGEST_SECONDS)
    assert [instant >= reclaim.LONGEST_SECONDS for instant in server.collected_at] == [True]
    assert len(kept) > 0


async def test_a_process_that_has_grown_by_half_waits_for_no_quiet_moment(
    nursery: trio.Nursery, autojump_clock: Any
) -> None:
    server = Server()
    server.is_busy = True
    await server.run(nursery)
    await trio.sleep(30)
    server.resident_bytes = 160 << 20
    await trio.sleep(30)
    assert server.collected_at == []
    server.resident_bytes = 170 << 20
    await trio.sleep(30)
    assert len(server.collected_at) == 1


@pytest.mark.parametrize(("every", "walks"), [(0.05, 0), (2.0, 1)])
async def test_no_timer_is_due_while_everything_is_walked(
    every: float, walks: int, nursery: trio.Nursery, autojump_clock: Any
) -> None:
    async def timers() -> None:
        while True:
            await trio.sleep(every)
            ticked.append(trio.current_time())

    ticked: list[float] = []
    server = Server()
    server.heeds_timers = True
    await server.run(nursery)
    nursery.start_soon(timers)
    kept = many_objects()
    await trio.sleep(60)
    assert len(server.collected_at) == walks
    takes = reclaim.SECONDS_OF_A_ROUND * reclaim.WORTHWHILE_ROUNDS
    for instant in (server.started_at + after for after in server.collected_at):
        assert not [tick for tick in ticked if instant < tick < instant + takes]
    assert len(kept) > 0


async def test_little_is_not_worth_a_walk(nursery: trio.Nursery, autojump_clock: Any) -> None:
    server = Server()
    await server.run(nursery)
    await trio.sleep(2 * reclaim.LONGEST_SECONDS)
    assert server.collected_at == []


async def test_with_much_to_walk_little_that_is_new_is_not_worth_it(nursery: trio.Nursery, autojump_clock: Any) -> None:
    server = Server()
    await server.run(nursery)
    kept = [many_objects() for _ in range(6)]
    await trio.sleep(60)
    assert len(server.collected_at) == 1
    kept.append(many_objects())
    await trio.sleep(60)
    assert len(server.collected_at) == 1
    kept.append(many_objects())
    await trio.sleep(60)
    assert len(server.collected_at) == 2


async def test_what_is_spared_is_not_walked_and_still_freed() -> None:
    class Held:
        pass

    held = Held()
    gone = weakref.ref(held)
    before = gc.get_freeze_count()
    reclaim.spare_what_there_is()
    try:
        assert gc.get_freeze_count() > before
        del held
        assert gone() is None
    finally:
        gc.unfreeze()


async def test_the_collector_is_left_as_it_was_found(autojump_clock: Any) -> None:
    before = gc.get_threshold()
    async with trio.open_nursery() as nursery:
        await nursery.start(_reclaiming, Server())
        assert gc.get_threshold() != before
        nursery.cancel_scope.cancel()
    assert gc.get_threshold() == before
