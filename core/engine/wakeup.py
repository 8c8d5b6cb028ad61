"""A wake-up that is never lost: ringing before anybody waits is remembered, ringing twice counts once."""

from __future__ import annotations

import trio


class Bell:
    """One waiter, any number of ringers. The waiter looks at the world after each ``wait``: what rang is not kept."""

    def __init__(self) -> None:
        self._event = trio.Event()

    @property
    def rung(self) -> bool:
        """Whether ``wait`` would return at once."""
        return self._event.is_set()

    def ring(self) -> None:
        """Wake the waiter now, or make its next ``wait`` return at once. Safe from any synchronous callback."""
        self._event.set()

    def hush(self) -> None:
        """Forget what has rung so far: the waiter is about to look at the world anyway."""
        if self._event.is_set():
            self._event = trio.Event()

    async def wait(self) -> None:
        """Return once the bell has rung since the last ``wait``. Cancellation does not swallow a ring."""
        await self._event.wait()
        self._event = trio.Event()
