"""Turns wall-clock instants into Trio deadlines. Neither suspend nor a stepped clock loses a timer or fires it twice.

Trio uses monotonic time. That time does not advance while the machine is suspended, and it ignores corrections of the
wall clock. So one of the waiting tasks is the watcher for all of them: it reads the wall clock every
``REREAD_SECONDS``. If the wall clock and Trio's clock have drifted apart by then, it sets every deadline again. This is
the only module that reads the wall clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import trio

from bubu_contract.instants import format_instant, format_precise_instant
from core.engine.ports import Clock
from core.engine.wakeup import WakeUp

REREAD_SECONDS: Final = 5.0
"""Longest time between two reads of the wall clock while a task waits for it."""
TOLERANCE_SECONDS: Final = 0.02
"""A smaller difference is ordinary: the two clocks are read one after the other, and a wall clock may be slewed."""


def system_now() -> datetime:
    return datetime.now(UTC)


class WallClock:
    """The ``Clock`` port. ``read`` returns the current aware UTC instant."""

    def __init__(self, read: Callable[[], datetime] = system_now) -> None:
        self._read = read
        self._sleepers: dict[trio.CancelScope, datetime] = {}
        self._watcher: trio.CancelScope | None = None
        self._ahead = 0.0
        """Wall clock minus Trio's clock, in seconds, when the deadlines were set."""

    def now(self) -> datetime:
        return self._read()

    async def sleep_until(self, instant: datetime) -> None:
        """Return once the wall clock has reached ``instant``; at once, after a checkpoint, if it already has.

        The caller must store ``instant`` before the call: after a restart it calls again with the same value.

        Raises:
            ValueError: ``instant`` is naive.
        """
        await trio.lowlevel.checkpoint()
        await self.wait_until(instant, trio.sleep_forever)

    async def wait_until(self, instant: datetime, wake: Callable[[], Awaitable[None]]) -> bool:
        """Return True when ``wake`` returns, or False when the wall clock has reached ``instant``.

        Each time the deadline of this wait expires before ``instant``, ``wake`` is cancelled and called again. If
        ``instant`` has passed already, ``wake`` is not called.

        Raises:
            ValueError: ``instant`` is naive.
        """
        if instant.tzinfo is None:
            raise ValueError("instants are aware; got a naive datetime")
        while self._read() < instant:
            scope = trio.CancelScope()
            self._sleepers[scope] = instant
            self._correct_deadlines()
            self._set_deadline(scope)
            try:
                with scope:
                    await wake()
                    return True
            finally:
                del self._sleepers[scope]
                if self._watcher is scope:
                    self._watcher = None
                    self._choose_watcher()
        return False

    def _choose_watcher(self) -> None:
        for scope in self._sleepers:
            self._set_deadline(scope)
            return

    def _set_deadline(self, scope: trio.CancelScope) -> None:
        """Set the deadline of ``scope`` in Trio's time; the watcher's comes early.

        If there is no watcher, ``scope`` becomes it.
        """
        remaining = (self._sleepers[scope] - self._read()).total_seconds()
        if self._watcher is None:
            self._watcher = scope
        if self._watcher is scope:
            remaining = min(remaining, REREAD_SECONDS)
        scope.deadline = trio.current_time() + remaining

    def _correct_deadlines(self) -> None:
        """Set every deadline again if the wall clock and Trio's clock have drifted apart."""
        ahead = self._read().timestamp() - trio.current_time()
        if abs(ahead - self._ahead) > TOLERANCE_SECONDS:
            self._ahead = ahead
            for scope in self._sleepers:
                self._set_deadline(scope)


async def wait_for_wakeup(wakeup: WakeUp, clock: Clock, until: datetime | None) -> None:
    """Return when another task wakes ``wakeup`` or the wall clock reaches ``until``; None: wait for the wake-up."""
    if until is None or wakeup.is_set:
        await wakeup.wait()
    elif not await clock.wait_until(until, wakeup.wait):
        await trio.lowlevel.checkpoint()


def format_deadline(instant: datetime) -> str:
    """An instant for storage, never earlier than ``instant``: in whole seconds if it is whole, else in microseconds."""
    return format_instant(instant) if instant.microsecond == 0 else format_precise_instant(instant)
