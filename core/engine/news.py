"""When may a missing value still come? As long as some step is at work that is not itself waiting for values.

A template may choose at run time which step it reads, so the graph cannot say what to wait for. Such a step waits for
news: any step that ends. When everybody at work waits, nothing can come any more, and all of them are told so; hence no
two steps wait for each other for ever.
"""

from __future__ import annotations

import trio


class _Round:
    """Those who wait at the same time hear the same thing."""

    def __init__(self) -> None:
        self.told = trio.Event()
        self.final = False


class News:
    """Which steps of a run are at work, and which of these wait for news."""

    def __init__(self) -> None:
        self._working: set[str] = set()
        self._waiting: set[str] = set()
        self._round = _Round()

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
        self._tell()

    async def wait(self, step: str) -> bool:
        """Return when another step has ended; True when no other can, so that what is missing now stays missing."""
        self._waiting.add(step)
        current = self._round
        try:
            if not self._somebody_works():
                self._tell()
            await current.told.wait()
        finally:
            self._waiting.discard(step)
        return current.final

    def _somebody_works(self) -> bool:
        return bool(self._working - self._waiting)

    def _tell(self) -> None:
        self._round.final = not self._somebody_works()
        self._round.told.set()
        self._round = _Round()
