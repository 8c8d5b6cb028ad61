"""Turns: a few at a time, callers one after the other, and a bounded number of waiting requests.

A caller with a thousand requests delays only itself: turns rotate between the callers, and each caller has its own
queue. When there is no room, the newest request of the caller with the most waiting requests is rejected, so that a
flood only affects its source.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from enum import Enum, auto
from math import inf
from typing import Final

import trio

from core.fairness.queue import FairQueue

ALONE_SECONDS: Final = 30.0


class CrowdedError(Exception):
    """There is no room to wait for a turn: try again later."""


class _State(Enum):
    WAITING = auto()
    CALLED = auto()
    SENT_AWAY = auto()


class _Waiter:
    def __init__(self, caller: Hashable) -> None:
        self.caller = caller
        self.event = trio.Event()
        self.state = _State.WAITING

    def enter(self, state: _State) -> None:
        self.state = state
        self.event.set()


class Turns:
    """
    Args:
        at_once: turns that run at the same time.
        at_once_of_one: the same for one caller; None: no separate limit.
        waiting: waiting requests of all callers together.
        waiting_of_one: waiting requests of one caller.
        at_once_alone: the limit for a caller when no other caller has asked for ``ALONE_SECONDS``; None: the usual
            limit.
    """

    def __init__(
        self,
        at_once: float,
        at_once_of_one: float | None = None,
        waiting: float = inf,
        waiting_of_one: float = inf,
        *,
        at_once_alone: float | None = None,
    ) -> None:
        self._at_once = at_once
        self._free = at_once
        self._of_one = at_once if at_once_of_one is None else at_once_of_one
        self._alone = at_once_alone
        self._latest: Hashable = None
        self._shared_until = -inf
        self._room_of_one = waiting_of_one
        self._queue = FairQueue[_Waiter](waiting)
        self._busy: dict[Hashable, int] = {}

    @property
    def waiting(self) -> int:
        """Requests that wait for a turn."""
        return len(self._queue)

    def __repr__(self) -> str:
        return f"<Turns: {self._at_once - self._free} of {self._at_once} under way, {self.waiting} wait>"

    def resize(self, at_once: float, at_once_of_one: float) -> None:
        """Set the limits from now on; running turns continue."""
        if (at_once, at_once_of_one) != (self._at_once, self._of_one):
            self._free += at_once - self._at_once
            self._at_once, self._of_one = at_once, at_once_of_one
            self._call_next()

    @asynccontextmanager
    async def turn(self, caller: Hashable) -> AsyncIterator[None]:
        """The block holds a turn; it waits for the turn first. Raises the same errors as ``take``."""
        await self.take(caller)
        try:
            yield
        finally:
            self.give_back(caller)

    async def take(self, caller: Hashable) -> None:
        """Wait for a turn, which lasts until ``give_back``. There is no checkpoint when it may start at once.

        Raises:
            CrowdedError: there is no room to wait, or a caller with fewer waiting requests needed the room.
            Cancellation: there is no turn to give back.
        """
        if not self.take_nowait(caller):
            await self._wait(caller)

    def take_nowait(self, caller: Hashable) -> bool:
        """Start a turn, unless another request is ahead or no turn is free; returns whether it has started."""
        if self._alone is not None:
            self._note(caller)
        if not self._is_next(caller):
            return False
        self._begin(caller)
        return True

    def give_back(self, caller: Hashable) -> None:
        """End a turn of ``caller``; the next waiting request starts."""
        self._free += 1
        self._busy[caller] -= 1
        if not self._busy[caller]:
            del self._busy[caller]
        self._call_next()

    def _is_next(self, caller: Hashable) -> bool:
        """Whether no other request is ahead; requests that only wait for turns of their own caller do not count."""
        if self._free <= 0 or not self._may_begin(caller):
            return False
        return not self._queue.has_for(self._may_begin)

    def _note(self, caller: Hashable) -> None:
        if caller != self._latest:
            if self._latest is not None:
                self._shared_until = trio.current_time() + ALONE_SECONDS
            self._latest = caller

    def _may_begin(self, caller: Hashable) -> bool:
        busy = self._busy.get(caller, 0)
        if busy < self._of_one:
            return True
        return self._alone is not None and busy < self._alone and trio.current_time() >= self._shared_until

    async def _wait(self, caller: Hashable) -> None:
        if self._queue.count_of(caller) >= self._room_of_one:
            raise CrowdedError
        waiter = _Waiter(caller)
        dropped = self._queue.put(caller, waiter)
        if dropped is waiter:
            raise CrowdedError
        if dropped is not None:
            dropped.enter(_State.SENT_AWAY)
        try:
            await waiter.event.wait()
        except BaseException:
            if waiter.state is _State.CALLED:
                self.give_back(caller)
            elif waiter.state is _State.WAITING:
                self._queue.remove(caller, waiter)
            raise
        if waiter.state is _State.SENT_AWAY:
            raise CrowdedError

    def _begin(self, caller: Hashable) -> None:
        self._free -= 1
        self._busy[caller] = self._busy.get(caller, 0) + 1

    def _call_next(self) -> None:
        """Start the turn of the first caller that may have one; the caller then moves to the end of the round."""
        while self._free > 0:
            waiter = self._queue.get_nowait(self._may_begin)
            if waiter is None:
                return
            self._begin(waiter.caller)
            waiter.enter(_State.CALLED)
