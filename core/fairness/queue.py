"""A queue whose owners take turns; a flood of one owner only delays and drops that owner's items."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from math import inf
from typing import Generic, TypeVar

import trio

Item = TypeVar("Item")


def _anyone(_: Hashable) -> bool:
    return True


class FairQueue(Generic[Item]):
    """Holds ``room`` items; when there is one more, the newest item of the owner with the most items is dropped."""

    def __init__(self, room: float = inf) -> None:
        self._room = room
        self._lines: OrderedDict[Hashable, deque[Item]] = OrderedDict()
        """By owner, the owner with the next turn first; no line is empty."""
        self._count = 0
        self._filled = trio.Event()

    def __len__(self) -> int:
        return self._count

    def count_of(self, owner: Hashable) -> int:
        """How many items ``owner`` has."""
        return len(self._lines.get(owner, ()))

    def put(self, owner: Hashable, item: Item) -> Item | None:
        """Add an item; returns the dropped item, which may be the new one, or None."""
        self._lines.setdefault(owner, deque()).append(item)
        self._count += 1
        self._filled.set()
        if self._count <= self._room:
            return None
        longest = max(self._lines, key=lambda each: len(self._lines[each]))
        if len(self._lines[longest]) == len(self._lines[owner]):
            longest = owner  # of owners with equal numbers, the last one
        dropped = self._lines[longest].pop()
        self._forget_one(longest)
        return dropped

    def remove(self, owner: Hashable, item: Item) -> None:
        """
        Raises:
            KeyError, ValueError: it is not in the queue.
        """
        self._lines[owner].remove(item)
        self._forget_one(owner)

    async def get(self) -> Item:
        """The next item; its owner then moves to the end of the round."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._count:
                return self._of(next(iter(self._lines)))
            self._filled = trio.Event()
            await self._filled.wait()

    def has_for(self, may: Callable[[Hashable], bool]) -> bool:
        """Whether one of the owners that may have a turn has an item."""
        return any(map(may, self._lines))

    def get_nowait(self, may: Callable[[Hashable], bool] = _anyone) -> Item | None:
        """The next item of an owner that may have a turn; None when there is none."""
        owner = next(filter(may, self._lines), None)
        return None if owner is None else self._of(owner)

    def _of(self, owner: Hashable) -> Item:
        item = self._lines[owner].popleft()
        self._lines.move_to_end(owner)
        self._forget_one(owner)
        return item

    def _forget_one(self, owner: Hashable) -> None:
        self._count -= 1
        if not self._lines[owner]:
            del self._lines[owner]
