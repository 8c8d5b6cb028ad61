"""The request to stop a Pod: sent once, or again with a shorter grace period; never withdrawn."""

from __future__ import annotations

import math

import trio


class Stop:
    """The request to end all containers of a Pod, and the time that their programs may take."""

    def __init__(self) -> None:
        self._requested = trio.Event()
        self._changed = trio.Event()
        self._kill_at = math.inf

    @property
    def is_requested(self) -> bool:
        return self._requested.is_set()

    def request(self, grace_seconds: float) -> None:
        """Ask for the end within ``grace_seconds``; a second request can only shorten the time of the first."""
        self._kill_at = min(self._kill_at, trio.current_time() + grace_seconds)
        self._requested.set()
        self._changed.set()
        self._changed = trio.Event()

    async def wait(self) -> None:
        """Return when the stop is requested."""
        await self._requested.wait()

    async def wait_until_patience_ends(self) -> None:
        """Return when the grace period is over; a further request may shorten it."""
        while (left := self._kill_at - trio.current_time()) > 0:
            with trio.move_on_after(left):
                await self._changed.wait()

    async def sleep(self, seconds: float) -> bool:
        """Sleep, at most until the stop is requested; returns whether it is."""
        with trio.move_on_after(seconds):
            await self._requested.wait()
        return self.is_requested


class Backoff:
    """Delays that double from ``first`` to ``limit`` seconds."""

    def __init__(self, first: float, limit: float) -> None:
        self._first, self._limit = first, limit
        self._next = first

    def next_delay(self) -> float:
        delay, self._next = self._next, min(self._next * 2, self._limit)
        return min(delay, self._limit)

    def reset(self) -> None:
        self._next = self._first
