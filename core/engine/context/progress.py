"""Can a missing value still come? Yes, as long as some step runs that does not itself wait for values.

A template may choose at run time which step it reads, so the graph cannot say what to wait for. Such a step waits for
progress: the end of any step. When all running steps wait, no value can come any more, and the waits of all of them
end; so no two steps wait for each other without limit.

A step waits for progress before it asks for its slot. A step that has its slot already (this process has resumed it, or
it retries) has done that wait before. It then waits only for steps that need no slot: the slot that they need may be
its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class _Round:
    """One round of waiting: all steps that wait at the same time get the same answer."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.final = False


class Progress:
    """Which steps of a run are running, which of these wait for progress, and which need a slot to continue."""

    def __init__(self) -> None:
        self._working: set[str] = set()
        self._waiting: set[str] = set()
        self._held_up: set[str] = set()
        self._rounds = {False: _Round(), True: _Round()}
        """Key: whether the waiting step has a slot."""

    def started(self, step: str) -> None:
        self._working.add(step)

    def rests(self, step: str) -> None:
        """``step`` does nothing itself any more: it waits for its branches, which have been reported as started."""
        self._working.discard(step)

    def forget(self) -> None:
        """No step runs any more: the steps were ended from outside."""
        self._working.clear()
        self._waiting.clear()

    def ended(self, step: str) -> None:
        """``step`` has ended; every step that starts because of that has been reported as started before."""
        self._working.discard(step)
        self._notify(False)
        self._notify(True)

    @contextmanager
    def held_up(self, step: str) -> Iterator[None]:
        """Inside the block, ``step`` waits for a slot, or for another run, which may wait for one."""
        self._held_up.add(step)
        if not self._some_step_works(True):
            self._notify(True)
        try:
            yield
        finally:
            self._held_up.discard(step)

    async def wait(self, step: str, *, has_slot: bool = False) -> bool:
        """Return when another step has ended; True if no other step can end: a value that is missing now stays missing.

        ``has_slot``: do not count steps that need a slot before they can end.
        """
        self._waiting.add(step)
        current = self._rounds[has_slot]
        try:
            for either in self._rounds:
                if not self._some_step_works(either):
                    self._notify(either)
            await current.over.wait()
        finally:
            self._waiting.discard(step)
        return current.final

    def _some_step_works(self, has_slot: bool) -> bool:
        return bool(self._working - self._waiting - (self._held_up if has_slot else set()))

    def _notify(self, has_slot: bool) -> None:
        current, self._rounds[has_slot] = self._rounds[has_slot], _Round()
        current.final = not self._some_step_works(has_slot)
        current.over.set()
