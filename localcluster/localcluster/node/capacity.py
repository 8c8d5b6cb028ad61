"""A limit on the containers that run at once; Pods get places in order of arrival."""

from __future__ import annotations

import trio


class ContainerSlots:
    """``total`` places. A Pod takes one place per container: all of them or none."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._turn = trio.Lock()  # fair: a Pod that waits for many places is not overtaken by Pods that need few
        self._returned = trio.Event()

    async def acquire(self, count: int) -> int:
        """Wait for ``count`` places, or for all if that is more than exist. Returns the number to pass to ``release``.

        When cancelled, it holds no place.
        """
        count = min(count, self._total)
        async with self._turn:
            while self._free < count:
                self._returned = trio.Event()
                await self._returned.wait()
            self._free -= count
        return count

    def release(self, count: int) -> None:
        self._free += count
        self._returned.set()
