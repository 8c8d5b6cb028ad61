"""Wall-clock instants turned into Trio deadlines, so that neither suspend nor a stepped clock loses or doubles a timer.

Trio counts monotonic time, which stands still while a machine sleeps and knows nothing of clock corrections. So one of
those who wait here keeps watch for all: it looks at the wall clock every ``REREAD_SECONDS``, and when that has left
Trio's, every deadline is set anew. This is the only place that reads the wall clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import trio

from core.api.instant import format_instant, format_precise_instant
from core.engine.ports import Clock
from core.engine.wakeup import WakeUp

REREAD_SECONDS: Final = 5.0
"""Longest time between two looks at the wall clock while anything waits for it."""
TOLERANCE_SECONDS: Final = 0.02
"""Less than this the clocks come apart by being read one after the other, and by a slewed wall clock."""


def system_now() -> datetime:
    return datetime.now(UTC)


class WallClock:
    """The ``Clock`` port. ``read`` gives the current aware UTC instant."""

    def __init__(self, read: Callable[[], datetime] = system_now) -> None:
        self._read = read
        self._sleepers: dict[trio.CancelScope, datetime] = {}
        self._watchman: trio.CancelScope | None = None
        self._ahead = 0.0
        """Wall clock minus Trio's, in seconds, when the deadlines were set."""

    def now(self) -> datetime:
        return self._read()

    async def sleep_until(self, instant: datetime) -> None:
        """Return once the wall clock has reached ``instant``; at once, after a checkpoint, if it already has.

        ``instant`` must be persisted before this is called: a restart calls it again with the same value.

        Raises:
            ValueError: ``instant`` is naive.
        """
        await trio.lowlevel.checkpoint()
        await self.wait_until(instant, trio.sleep_forever)

    async def wait_until(self, instant: datetime, wake: Callable[[], Awaitable[None]]) -> bool:
        """Return when ``wake`` does, with True, or when the wall clock has reached ``instant``, with False.

        ``wake`` is called anew each time the wall clock had to be looked at; when it has passed already, not at all.

        Raises:
            ValueError: ``instant`` is naive.
        """
        if instant.tzinfo is None:
            raise ValueError("instants are aware; got a naive datetime")
        while self._read() < instant:
            scope = trio.CancelScope()
            self._sleepers[scope] = instant
            self._look_at_the_wall()
            self._set_deadline(scope)
            try:
                with scope:
                    await wake()
                    return True
            finally:
                del self._sleepers[scope]
                if self._watchman is scope:
                    self._watchman = None
                    self._name_a_watchman()
        return False

    def _name_a_watchman(self) -> None:
        for scope in self._sleepers:
            self._set_deadline(scope)
            return

    def _set_deadline(self, scope: trio.CancelScope) -> None:
        """In Trio's time; that of the watchman comes early. With nobody on watch, it is this one."""
        remaining = (self._sleepers[scope] - self._read()).total_seconds()
        if self._watchman is None:
            self._watchman = scope
        if self._watchman is scope:
            remaining = min(remaining, REREAD_SECONDS)
        scope.deadline = trio.current_time() + remaining

    def _look_at_the_wall(self) -> None:
        """Set every deadline anew when the wall clock and Trio's have come apart."""
        ahead = self._read().timestamp() - trio.current_time()
        if abs(ahead - self._ahead) > TOLERANCE_SECONDS:
            self._ahead = ahead
            for scope in self._sleepers:
                self._set_deadline(scope)


async def wait_for_wakeup(wakeup: WakeUp, clock: Clock, until: datetime | None) -> None:
    """Return when somebody wakes ``wakeup`` or the wall clock reaches ``until``; with None only the wakeup counts."""
    if until is None or wakeup.is_set:
        await wakeup.wait()
    elif not await clock.wait_until(until, wakeup.wait):
        await trio.lowlevel.checkpoint()


def format_deadline(instant: datetime) -> str:
    """An instant for storage that never falls before ``instant``: whole seconds when it is whole, else microseconds."""
    return format_instant(instant) if instant.microsecond == 0 else format_precise_instant(instant)
