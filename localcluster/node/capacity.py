"""A limit on the containers that run at once; they get places in order of arrival."""

from __future__ import annotations

import trio


class ContainerSlots:
    """``total`` places; a Pod takes as many as it has containers, all or none of them."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._turn = trio.Lock()  # fair: who waits for many places is not overtaken by those who need few
        self._returned = trio.Event()

    async def acquire(self, count: int) -> int:
        """Wait for ``count`` places; more than there are counts as all. Returns what is to be given to ``release``.

        Cancelled, it holds nothing.
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
