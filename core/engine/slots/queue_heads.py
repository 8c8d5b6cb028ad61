"""The first waiting step of each run, so that who is next is found without looking at all. Pure.

Runs on the same terms and of the same standing (base priority, slots held) differ only in how long their first step has
waited: of each such group the oldest alone matters. Those of a Story at its limit are set aside until it is not.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from core.engine.slots.queue_positions import QueueEntry


class Terms(NamedTuple):
    """What binds waiting steps alike. ``story`` is empty when it has no limit."""

    queue: str
    story: str
    story_limit: int


class Standing(NamedTuple):
    priority: int
    """The base."""
    slots: int
    """Of the run."""


class QueueHeads:
    """``story_counts`` is told of every change of a Story's running steps."""

    def __init__(self) -> None:
        self._groups: defaultdict[Terms, dict[Standing, list[QueueEntry]]] = defaultdict(dict)
        self._by_story: defaultdict[str, set[Terms]] = defaultdict(set)
        self._set_aside: set[Terms] = set()
        self._shown: dict[tuple[Terms, Standing], QueueEntry] = {}
        self._open: defaultdict[str, dict[Standing, list[QueueEntry]]] = defaultdict(dict)

    def add(self, terms: Terms, standing: Standing, first: QueueEntry, running: int) -> None:
        """``running``: steps of the Story that have a slot."""
        if terms not in self._groups and terms.story:
            self._by_story[terms.story].add(terms)
            if _is_full(terms, running):
                self._set_aside.add(terms)
        insort(self._groups[terms].setdefault(standing, []), first)
        self._show(terms, standing)

    def remove(self, terms: Terms, standing: Standing, first: QueueEntry) -> None:
        group = self._groups[terms][standing]
        del group[bisect_left(group, first)]
        self._show(terms, standing)
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
                self._show(terms, standing)

    def queues(self) -> list[str]:
        """In which somebody waits whose Story is not at its limit."""
        return list(self._open)

    def oldest(self, queue: str) -> Iterator[tuple[Standing, QueueEntry]]:
        """Of each standing, who has waited longest and is not held back by a Story's limit."""
        for standing, entries in self._open.get(queue, {}).items():
            yield standing, entries[0]

    def _show(self, terms: Terms, standing: Standing) -> None:
        """The oldest of a group is a candidate, unless the group is set aside."""
        group = self._groups[terms][standing]
        wanted = group[0] if group and terms not in self._set_aside else None
        shown = self._shown.get((terms, standing))
        if wanted == shown:
            return
        by_standing = self._open[terms.queue]
        if shown is not None:
            entries = by_standing[standing]
            del entries[bisect_left(entries, shown)]
            del self._shown[terms, standing]
            if not entries:
                del by_standing[standing]
        if wanted is not None:
            insort(by_standing.setdefault(standing, []), wanted)
            self._shown[terms, standing] = wanted
        if not by_standing:
            del self._open[terms.queue]


def _is_full(terms: Terms, running: int) -> bool:
    return 0 < terms.story_limit <= running
