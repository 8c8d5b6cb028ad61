"""When may a missing value still come? As long as some step is at work that is not itself waiting for values.

A template may choose at run time which step it reads, so the graph cannot say what to wait for. Such a step waits for
progress: the end of any step. When everybody at work waits, nothing can come any more, and all of them are told so;
hence no two steps wait for each other for ever.

It waits before it asks for its slot. One that has a slot, because it is taken up by another process or tries again, has
seen before what could come, and waits only for what needs no slot: that slot may be the one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class _Round:
    """Those who wait at the same time hear the same thing."""

    def __init__(self) -> None:
        self.told = trio.Event()
        self.final = False


class Progress:
    """Which steps of a run are at work, which of these wait for progress, and which need a slot to go on."""

    def __init__(self) -> None:
        self._working: set[str] = set()
        self._waiting: set[str] = set()
        self._held_up: set[str] = set()
        self._rounds = {False: _Round(), True: _Round()}
        """By whether those who wait have a slot."""

    def started(self, step: str) -> None:
        self._working.add(step)

    def rests(self, step: str) -> None:
        """``step`` does nothing itself any more: it waits for branches, which have been reported as started."""
        self._working.discard(step)

    def forget(self) -> None:
        """Nobody is at work any more: the steps were ended from outside."""
        self._working.clear()
        self._waiting.clear()

    def ended(self, step: str) -> None:
        """``step`` is over; whatever starts because of it has been reported as started before."""
        self._working.discard(step)
        self._notify(False)
        self._notify(True)

    @contextmanager
    def held_up(self, step: str) -> Iterator[None]:
        """Meanwhile ``step`` waits for a slot, or for another run, which may."""
        self._held_up.add(step)
        if not self._somebody_works(True):
            self._notify(True)
        try:
            yield
        finally:
            self._held_up.discard(step)

    async def wait(self, step: str, *, has_slot: bool = False) -> bool:
        """Return when another step has ended; True when no other can, so that what is missing now stays missing.

        ``has_slot``: what can end only once it has a slot does not count.
        """
        self._waiting.add(step)
        current = self._rounds[has_slot]
        try:
            for either in self._rounds:
                if not self._somebody_works(either):
                    self._notify(either)
            await current.told.wait()
        finally:
            self._waiting.discard(step)
        return current.final

    def _somebody_works(self, has_slot: bool) -> bool:
        return bool(self._working - self._waiting - (self._held_up if has_slot else set()))

    def _notify(self, has_slot: bool) -> None:
        current, self._rounds[has_slot] = self._rounds[has_slot], _Round()
        current.final = not self._somebody_works(has_slot)
        current.told.set()
