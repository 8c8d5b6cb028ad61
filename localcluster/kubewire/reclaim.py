"""Garbage collection without pauses: which objects Python's cyclic collector visits, and when.

An API server and an operator hold many small objects for long, and nearly none of them is in a cycle. Python's own
schedule visits all of them again and again; with a few hundred stored objects that was an eighth of the server's CPU
time and stopped every request for up to a tenth of a second. Here a collection visits only new objects; all other
objects are visited at a quiet moment. With 10,000 runs in memory that takes an operator a second, in which no timer may
be due. A process that has grown by half does not wait for a quiet moment: unknown clients may have caused the growth.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

YOUNG_OBJECTS: Final = 5_000
"""Number of new objects after which only these are visited: a millisecond."""
WORTHWHILE_ROUNDS: Final = 20
"""After fewer of these collections a full one would free too little."""
WORTHWHILE_GROWTH: Final = 0.25
"""The same with a smaller share of new objects, relative to all objects that were new before."""
QUIET_SECONDS: Final = 5.0
SECONDS_OF_A_ROUND: Final = 0.003
"""The approximate time of a full collection, for each collection of new objects since the last full one."""
LONGEST_SECONDS: Final = 900.0
"""Without any quiet moment, everything is visited after this time nevertheless."""
GROWTH_BYTES: Final = 64 << 20
"""The minimum growth of the process, besides half of its size, after which everything is visited at any moment."""
_JUST_AFTER_SECONDS: Final = 0.01
_NEVER: Final = 1 << 30


async def reclaim_when_quiet(
    revision: Callable[[], int],
    *,
    heeds_timers: bool = False,
    collect: Callable[[], object] = gc.collect,
    resident: Callable[[], int] | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until cancelled, and then restore the settings of the collector.

    Args:
        revision: of the held data; while it is unchanged, a pause delays nobody.
        heeds_timers: whether the collection must wait for a moment in which no timer of the process is due.
        collect: runs a full collection.
        resident: the size of the process in bytes; by default the value of Linux, and 0 on other systems.
    """
    resident = resident or _resident_bytes
    thresholds = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, _NEVER, _NEVER)
    try:
        task_status.started()
        due_at = trio.current_time() + LONGEST_SECONDS
        seen, size = 0, resident()
        while True:
            before = revision()
            await trio.sleep(QUIET_SECONDS)
            _, rounds, _ = gc.get_count()
            has_grown = resident() > size + max(GROWTH_BYTES, size // 2)
            if rounds < WORTHWHILE_ROUNDS and not has_grown:
                continue
            is_good = not has_grown and (
                rounds >= WORTHWHILE_GROWTH * seen
                and revision() == before
                and (not heeds_timers or await _nothing_is_due_within(SECONDS_OF_A_ROUND * (seen + rounds)))
                and revision() == before
            )
            if has_grown or is_good or trio.current_time() >= due_at:
                collect()
                seen += rounds
                size = resident()
                due_at = trio.current_time() + LONGEST_SECONDS
    finally:
        gc.set_threshold(*thresholds)


async def _nothing_is_due_within(seconds: float) -> bool:
    """Whether no task waits for an instant that soon, now or after the next few instants."""
    until = trio.current_time() + QUIET_SECONDS
    while (due := trio.lowlevel.current_statistics().seconds_to_next_deadline) < seconds:
        if trio.current_time() >= until:
            return False
        await trio.sleep(max(due, 0.0) + _JUST_AFTER_SECONDS)
    return True


def spare_what_there_is() -> None:
    """Exclude all objects that exist now from later collections: modules, and a newly filled store, whose trees have no
    cycles.

    They are still freed when nothing refers to them. Call it before tasks are started for the objects in the store,
    because a task may leave cycles.
    """
    gc.freeze()


def _resident_bytes() -> int:
    try:
        with Path("/proc/self/statm").open(encoding="ascii") as counts:
            return int(counts.read().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux
        return 0
