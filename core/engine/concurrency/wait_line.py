"""The lines in which runs of one serial Story wait, kept after a look at all of them. Pure.

Thousands of runs may wait, and each asks for its place: one look answers them all. A kept line only says which runs
wait, and for which run. Whether a run may start is decided by ``core.engine.concurrency.rules.turn_of``, which looks at
all of them. So a change that a line has missed, such as a new run or an end, can make a place wrong while the line is
kept, but it never lets two runs start.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from core.api.objects import Object
from core.engine.concurrency import rules
from core.engine.concurrency.rules import WaitFor

_WAITS: Final = True
_ALONE: Final = True

_Spot = tuple[bool, bool, str, str, str]
"""Whether it has yet to start, whether it is below no started run, creation, name, UID: these give the order."""


class WaitLine:
    """The lines of one serial Story; with ``scope: participant`` there is one for each participant."""

    def __init__(self, live: Iterable[Object], story: Object, begun: Collection[str]) -> None:
        """``live`` and ``begun`` are those of ``turn_of``."""
        self._story = story
        runs = {rules.uid_of(run): run for run in live}
        self._parents = {uid: str(parent.get("uid")) for uid, run in runs.items() if (parent := rules.parent_of(run))}
        self._shared = {uid: key for uid, run in runs.items() if (key := rules.shared_by(run, story)) is not None}
        started = {uid for uid in self._shared if rules.has_begun(runs[uid], begun)}
        self._started = {(self._shared[uid], uid) for uid in started}
        self._spots: dict[str, _Spot] = {}
        self._lines: defaultdict[str, list[_Spot]] = defaultdict(list)
        for uid, key in self._shared.items():
            is_alone = not self._has_begun_above(key, self._above(uid))
            self._spots[uid] = (uid not in started, is_alone, *rules.age_of(runs[uid]), uid)
            self._lines[key].append(self._spots[uid])
        for line in self._lines.values():
            line.sort()

    def __len__(self) -> int:
        """Number of runs in all lines, started ones included."""
        return len(self._spots)

    def place_of(self, run: Object, ancestors: Sequence[str]) -> WaitFor | None:
        """The place of the run, without the names of the runs before it; None if only a look at all runs can tell.

        ``ancestors`` is that of ``turn_of``. A run that was not in the line joins it.
        """
        key = rules.shared_by(run, self._story)
        if key is None or rules.has_begun(run, ()):
            return None
        uid, parent = rules.uid_of(run), rules.parent_of(run)
        nearest = [str(parent.get("uid"))] if parent else []
        if self._has_begun_above(key, (*nearest, *self._above(*nearest), *ancestors)):
            return None
        line, mine = self._lines[key], (_WAITS, _ALONE, *rules.age_of(run), uid)
        before = bisect_left(line, mine)
        if before == 0 or self._spots.get(uid, mine) != mine:
            return None
        if uid not in self._spots:
            self._join(uid, key, mine)
        waiting = before - bisect_left(line, (_WAITS,))
        return rules.in_line((), line[0][3], 1 + waiting, line[before - 1][4])

    def began(self, run: Object) -> None:
        """The run may start: it goes before those that wait."""
        uid, key = rules.uid_of(run), rules.shared_by(run, self._story)
        if key is None:
            return
        old = self._spots.get(uid, (_WAITS, _ALONE, *rules.age_of(run), uid))
        self.ended(uid)
        self._join(uid, key, (not _WAITS, *old[1:]))
        self._started.add((key, uid))

    def ended(self, run_uid: str) -> None:
        """The run has ended or is gone, and no run waits for it any more. A run that is not in a line is ignored."""
        spot, key = self._spots.pop(run_uid, None), self._shared.pop(run_uid, None)
        if spot is None or key is None:
            return
        self._started.discard((key, run_uid))
        line = self._lines[key]
        del line[bisect_left(line, spot)]
        if not line:
            del self._lines[key]

    def _join(self, uid: str, key: str, spot: _Spot) -> None:
        self._spots[uid], self._shared[uid] = spot, key
        insort(self._lines[key], spot)

    def _has_begun_above(self, key: str, above: Iterable[str]) -> bool:
        return any((key, uid) in self._started for uid in above)

    def _above(self, uid: str = "") -> list[str]:
        """UIDs of the runs above that one, nearest first, as far as they are known."""
        found: list[str] = []
        while (parent := self._parents.get(uid)) is not None and len(found) < rules.LONGEST_CHAIN:
            found.append(parent)
            uid = parent
        return found
