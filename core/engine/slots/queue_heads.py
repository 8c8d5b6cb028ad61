"""The first waiting step of each run: finds the next step without a look at all waiting steps. Pure.

Runs with the same terms and the same standing (base priority, held slots) differ only in how long their first step has
waited: of each such group, only the oldest matters. Groups of a Story that is at its limit are set aside until it is
not.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from core.engine.slots.queue_positions import QueueEntry


class Terms(NamedTuple):
    """The limits that apply to a waiting step. ``story`` is empty if the Story has no limit."""

    queue: str
    story: str
    story_limit: int


class Standing(NamedTuple):
    priority: int
    """The base priority."""
    slots: int
    """Slots that the run holds."""


class QueueHeads:
    """Call ``story_counts`` whenever the number of running steps of a Story changes."""

    def __init__(self) -> None:
        self._groups: defaultdict[Terms, dict[Standing, list[QueueEntry]]] = defaultdict(dict)
        self._by_story: defaultdict[str, set[Terms]] = defaultdict(set)
        self._set_aside: set[Terms] = set()
        self._candidates: dict[tuple[Terms, Standing], QueueEntry] = {}
        self._by_queue: defaultdict[str, dict[Standing, list[QueueEntry]]] = defaultdict(dict)

    def add(self, terms: Terms, standing: Standing, first: QueueEntry, running: int) -> None:
        """``running``: number of steps of the Story that have a slot."""
        if terms not in self._groups and terms.story:
            self._by_story[terms.story].add(terms)
            if _is_full(terms, running):
                self._set_aside.add(terms)
        insort(self._groups[terms].setdefault(standing, []), first)
        self._update(terms, standing)

    def remove(self, terms: Terms, standing: Standing, first: QueueEntry) -> None:
        group = self._groups[terms][standing]
        del group[bisect_left(group, first)]
        self._update(terms, standing)
        if not group:
            del self._groups[terms][standing]
        if not self._groups[terms]:
            del self._groups[terms]
            self._set_aside.discard(terms)
            self._by_story[terms.story].discard(terms)
            if not self._by_story[terms.story]:
                del self._by_story[terms.story]

    def story_counts(self, story: str, running: int) -> None:
        for terms in self._by_story.get(story, ()):
            if _is_full(terms, running) == (terms in self._set_aside):
                continue
            self._set_aside ^= {terms}
            for standing in self._groups[terms]:
                self._update(terms, standing)

    def queues(self) -> list[str]:
        """Queues in which a step waits whose Story is not at its limit."""
        return list(self._by_queue)

    def oldest(self, queue: str) -> Iterator[tuple[Standing, QueueEntry]]:
        """For each standing, the step that has waited longest and that no Story's limit holds back."""
        for standing, entries in self._by_queue.get(queue, {}).items():
            yield standing, entries[0]

    def _update(self, terms: Terms, standing: Standing) -> None:
        """Make the oldest of a group a candidate, unless the group is set aside."""
        group = self._groups[terms][standing]
        wanted = group[0] if group and terms not in self._set_aside else None
        current = self._candidates.get((terms, standing))
        if wanted == current:
            return
        by_standing = self._by_queue[terms.queue]
        if current is not None:
            entries = by_standing[standing]
            del entries[bisect_left(entries, current)]
            del self._candidates[terms, standing]
            if not entries:
                del by_standing[standing]
        if wanted is not None:
            insort(by_standing.setdefault(standing, []), wanted)
            self._candidates[terms, standing] = wanted
        if not by_standing:
            del self._by_queue[terms.queue]


def _is_full(terms: Terms, running: int) -> bool:
    return 0 < terms.story_limit <= running
