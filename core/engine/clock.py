"""Wall-clock instants turned into Trio deadlines, so that neither suspend nor a stepped clock loses or doubles a timer.

Trio counts monotonic time, which stands still while a machine sleeps and knows nothing of clock corrections. Whoever
waits here re-reads the wall clock every ``REREAD_SECONDS`` and whenever it wakes. This is the only place that reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import trio

from core.api.instant import format_instant, format_precise_instant
from core.engine.bell import Bell
from core.engine.ports import Clock

REREAD_SECONDS: Final = 5.0
"""Longest time between two looks at the wall clock while something waits for it."""


def system_now() -> datetime:
    return datetime.now(UTC)


class WallClock:
    """The ``Clock`` port. ``read`` gives the current aware UTC instant."""

    def __init__(self, read: Callable[[], datetime] = system_now) -> None:
        self._read = read

    def now(self) -> datetime:
        return self._read()

    async def sleep_until(self, instant: datetime) -> None:
        """Return once the wall clock has reached ``instant``; at once, after a checkpoint, if it already has.

        ``instant`` must be persisted before this is called: a restart calls it again with the same value.

        Raises:
            ValueError: ``instant`` is naive.
        """
        if instant.tzinfo is None:
            raise ValueError("instants are aware; got a naive datetime")
        await trio.lowlevel.checkpoint()
        while (remaining := (instant - self._read()).total_seconds()) > 0:  # noqa: ASYNC110 - waits for time itself
            await trio.sleep(min(remaining, REREAD_SECONDS))


async def wait_for_bell(bell: Bell, clock: Clock, until: datetime | None) -> None:
    """Return when ``bell`` rings or the wall clock reaches ``until``; with None only the bell counts."""
    if until is None:
        await bell.wait()
        return
    while not bell.rung:
        remaining = (until - clock.now()).total_seconds()
        if remaining <= 0:
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(min(remaining, REREAD_SECONDS)):
            await bell.wait()
            return
    await bell.wait()


def format_deadline(instant: datetime) -> str:
    """An instant for storage that never falls before ``instant``: whole seconds when it is whole, else microseconds."""
    return format_instant(instant) if instant.microsecond == 0 else format_precise_instant(instant)
