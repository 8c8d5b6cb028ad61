"""The position of a waiting step in its queue, without sorting the queue. Pure.

The order is the one in which slots would be given if nothing else changed: higher effective priority, then fewer slots
of the run (its own waiting steps that are ahead count as slots), then the longer wait. The effective priority changes
with time. So steps are kept sorted by the time of queueing, for each base priority and each number of slots, and a
position is a sum of binary searches: O(g log n), where g is the number of pairs of base priority and number of slots up
to the step's own. Changes are sorted in at the next query.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple


class QueueEntry(NamedTuple):
    """The longer wait comes first; steps that queue at the same instant go in spec order, then in arrival order."""

    queued_us: int
    """Microseconds since 1970."""
    order: int
    number: int
    """Unique, in the order of arrival."""


class Filing(NamedTuple):
    """The waiting steps of one run, in its own order; ``slots`` slots of the run are ahead of the first one."""

    priority: int
    slots: int
    entries: tuple[QueueEntry, ...]


def level(priority: int, queued_us: int, now_us: int, aging_us: int) -> int:
    """The effective priority: one more for each full aging period waited; no aging if ``aging_us`` is 0 or less."""
    return priority if aging_us <= 0 else priority + max(now_us - queued_us, 0) // aging_us


class QueuePositions:
    """The positions in one queue."""

    def __init__(self) -> None:
        self._filed: dict[Hashable, Filing] = {}
        self._moved: dict[Hashable, Filing] = {}
        self._all: defaultdict[int, list[QueueEntry]] = defaultdict(list)
        self._by_slots: defaultdict[int, defaultdict[int, list[QueueEntry]]] = defaultdict(lambda: defaultdict(list))

    def file(self, line: Hashable, filing: Filing) -> None:
        """Replace the steps of ``line``; without entries, ``line`` is removed."""
        if filing.entries or line in self._filed:
            self._moved[line] = filing
        else:
            self._moved.pop(line, None)

    def place(self, priority: int, slots: int, entry: QueueEntry, now_us: int, aging_us: int) -> int:
        """The position; 1 for the step that would be next."""
        self._refile()
        mine = level(priority, entry.queued_us, now_us, aging_us)
        ahead = 0
        for base, entries in self._all.items():
            ahead += _reaching(entries, mine + 1 - base, now_us, aging_us)
        for base, by_slots in self._by_slots.items():
            for count, entries in by_slots.items():
                if count > slots:
                    continue
                above = _reaching(entries, mine + 1 - base, now_us, aging_us)
                level_with = _reaching(entries, mine - base, now_us, aging_us)
                if count == slots:
                    level_with = min(level_with, bisect_left(entries, entry))
                ahead += max(level_with - above, 0)
        return ahead + 1

    def _refile(self) -> None:
        for line, filing in self._moved.items():
            before = self._filed.pop(line, None)
            if before is not None:
                for place, entry in enumerate(before.entries):
                    self._take_out(before.priority, before.slots + place, entry)
            if filing.entries:
                self._filed[line] = filing
                for place, entry in enumerate(filing.entries):
                    insort(self._all[filing.priority], entry)
                    insort(self._by_slots[filing.priority][filing.slots + place], entry)
        self._moved.clear()

    def _take_out(self, priority: int, slots: int, entry: QueueEntry) -> None:
        every = self._all[priority]
        del every[bisect_left(every, entry)]
        same = self._by_slots[priority][slots]
        del same[bisect_left(same, entry)]
        if not same:
            del self._by_slots[priority][slots]
        if not every:
            del self._all[priority], self._by_slots[priority]


def _reaching(entries: Sequence[QueueEntry], steps: int, now_us: int, aging_us: int) -> int:
    """How many have aged by at least ``steps``. These are the oldest, so they are at the start of the list."""
    if steps <= 0:
        return len(entries)
    if aging_us <= 0:
        return 0
    return bisect_left(entries, (now_us - steps * aging_us + 1,))
