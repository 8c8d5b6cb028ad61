"""A wake-up that is never lost: a call before anybody waits is remembered, two calls count once."""

from __future__ import annotations

import trio


class WakeUp:
    """One waiter, any number of callers. The waiter looks at the world after each ``wait``: who called is not kept."""

    def __init__(self) -> None:
        self._event = trio.Event()

    @property
    def is_set(self) -> bool:
        """Whether ``wait`` would return at once."""
        return self._event.is_set()

    def wake(self) -> None:
        """Wake the waiter now, or make its next ``wait`` return at once. Safe from any synchronous callback."""
        self._event.set()

    def clear(self) -> None:
        """Forget the calls so far: the waiter is about to look at the world anyway."""
        if self._event.is_set():
            self._event = trio.Event()

    async def wait(self) -> None:
        """Return once ``wake`` was called since the last ``wait``. Cancellation does not swallow a call."""
        await self._event.wait()
        self._event = trio.Event()
