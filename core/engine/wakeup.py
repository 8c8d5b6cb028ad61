"""A wake-up that is never lost: a call before the task waits is remembered, and two calls count once."""

from __future__ import annotations

import trio


class WakeUp:
    """One waiting task, any number of callers. A call carries nothing: after each ``wait`` the task looks at the
    world.
    """

    def __init__(self) -> None:
        self._event = trio.Event()

    @property
    def is_set(self) -> bool:
        """Whether ``wait`` would return at once."""
        return self._event.is_set()

    def wake(self) -> None:
        """Wake the waiting task now, or make its next ``wait`` return at once. Safe from any synchronous callback."""
        self._event.set()

    def clear(self) -> None:
        """Forget the calls so far: the caller is about to look at the world anyway."""
        if self._event.is_set():
            self._event = trio.Event()

    async def wait(self) -> None:
        """Return once ``wake`` has been called since the last ``wait``. A cancelled ``wait`` loses no call."""
        await self._event.wait()
        self._event = trio.Event()
