"""Memory without pauses: what Python's cyclic collector may look at, and when.

An API server and an operator hold many small objects for long, nearly none of them in cycles. Python's own schedule
walks all of them again and again; with a few hundred stored objects that was an eighth of the server's CPU time and
stopped every request for up to a tenth of a second. Here only what is new is walked by itself; everything else is
walked at a quiet moment. With 10,000 runs in hand that takes an operator a second, in which no timer may be due.
A process that has grown by half does not wait for such a moment: strangers may have made it grow.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

YOUNG_OBJECTS: Final = 5_000
"""New objects after which they alone are walked: a millisecond."""
WORTHWHILE_ROUNDS: Final = 20
"""After fewer of these walks there is too little to win."""
WORTHWHILE_GROWTH: Final = 0.25
"""Nor is there with less that is new, as a share of all that was new before."""
QUIET_SECONDS: Final = 5.0
SECONDS_OF_A_ROUND: Final = 0.003
"""About as long as a walk of everything takes for each time that new objects were walked before."""
LONGEST_SECONDS: Final = 900.0
"""Without any quiet moment, everything is walked after this time nevertheless."""
GROWTH_BYTES: Final = 64 << 20
"""Least growth of the process, beside half of what it was, after which everything is walked at any moment."""
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
    """Run until cancelled, and then leave the collector as it was found.

    Args:
        revision: of what is held; while it stays the same, nobody is kept waiting by a pause.
        heeds_timers: whether the moment must be one in which no timer of the process is due.
        collect: walks everything.
        resident: the size of the process in bytes; by default what Linux says of it, elsewhere 0.
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
    """Whether no task waits for an instant that soon, now or after the next few of them."""
    until = trio.current_time() + QUIET_SECONDS
    while (due := trio.lowlevel.current_statistics().seconds_to_next_deadline) < seconds:
        if trio.current_time() >= until:
            return False
        await trio.sleep(max(due, 0.0) + _JUST_AFTER_SECONDS)
    return True


def spare_what_there_is() -> None:
    """Have no walk look at today's objects again: modules, and a store just filled, whose trees have no cycles.

    They are freed as ever when nobody refers to them. Call it before tasks are started for what is in the store:
    of a task, cycles may be left.
    """
    gc.freeze()


def _resident_bytes() -> int:
    try:
        with Path("/proc/self/statm").open(encoding="ascii") as counts:
            return int(counts.read().split()[1]) * resource.getpagesize()
    except OSError:  # another system than Linux
        return 0
