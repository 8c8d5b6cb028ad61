"""The current objects of one resource, in key order, and the recent changes to them.

Pure bookkeeping plus one wait: it answers lists, consistent pages of an earlier revision and resumed watches, and never
reads the disk. Stored objects are never changed; a change replaces the record.
Not here: durability (storage.py) and which changes a watcher may see (watch.py).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from localcluster.server import errors
from localcluster.server.stored import Stored

LOG_CHANGES: Final = 8192
"""Changes remembered per resource; a watch from an earlier revision gets 410 and has to list again."""
LOG_BYTES: Final = 16 << 20
"""The limit for the serialized bytes of remembered changes; the limit that is reached first applies."""
_TRIM_FRACTION: Final = 4
"""A quarter of the log is dropped at a time, so that this costs almost nothing per change."""


@dataclass(frozen=True, slots=True)
class Change:
    """One committed write; ``previous`` None is a creation.

    ``last`` is the state for watchers: the new state, or the last state stamped with the deletion's revision.
    ``lines`` keeps the serialized watch lines, so that the object is serialized once for any number of watchers.
    """

    revision: int
    last: Stored
    previous: Stored | None
    deleted: bool
    lines: dict[tuple[str, str], bytes] = field(default_factory=dict)


class Collection:
    """Objects and change log of one resource (all its versions together)."""

    def __init__(self, name: str, revision: int) -> None:
        self.name = name
        self._objects: dict[str, Stored] = {}
        self._keys: list[str] = []
        self._log: list[Change] = []
        self._log_start = 0
        """Position of ``_log[0]`` since this process began; a position is never used twice."""
        self._log_bytes = 0
        self._floor = revision
        """Changes up to this revision are forgotten."""
        self._waiting = trio.lowlevel.ParkingLot()
        self.closed = False
        """The resource is no longer served; watches on it end."""

    def __len__(self) -> int:
        return len(self._objects)

    def load(self, stored: Stored) -> None:
        """Add an object read from disk, or read again after its schema changed, without an event for watchers."""
        if stored.key not in self._objects:
            insort(self._keys, stored.key)
        self._objects[stored.key] = stored

    def get(self, key: str) -> Stored | None:
        return self._objects.get(key)

    def select(self, namespace: str | None = None, *, after: str = "") -> list[Stored]:
        """Objects in key order, of one namespace or all, with keys greater than ``after``."""
        low, high = self._range(self._keys, namespace, after)
        return [self._objects[key] for key in self._keys[low:high]]

    def select_at(self, revision: int, namespace: str | None = None, *, after: str = "") -> list[Stored] | None:
        """The same at an earlier revision; None when that is too long ago."""
        if revision < self._floor:
            return None
        later = self._log[bisect_right(self._log, revision, key=lambda change: change.revision) :]
        if not later:
            return self.select(namespace, after=after)
        objects = dict(self._objects)
        for change in reversed(later):
            if change.previous is None:
                objects.pop(change.last.key, None)
            else:
                objects[change.last.key] = change.previous
        keys = sorted(objects)
        low, high = self._range(keys, namespace, after)
        return [objects[key] for key in keys[low:high]]

    def publish(self, change: Change) -> None:
        """Make a committed change visible to readers and wake the watchers."""
        key = change.last.key
        if change.deleted:
            del self._objects[key]
            del self._keys[bisect_left(self._keys, key)]
        else:
            if key not in self._objects:
                insort(self._keys, key)
            self._objects[key] = change.last
        self._log.append(change)
        self._log_bytes += len(change.last.data)
        if len(self._log) > LOG_CHANGES or (self._log_bytes > LOG_BYTES and len(self._log) > _TRIM_FRACTION):
            self._trim()
        self._waiting.unpark_all()

    def end(self) -> None:
        """Stop serving: waiting watchers wake and see ``closed``."""
        self.closed = True
        self._waiting.unpark_all()

    def compact(self) -> None:
        """Forget all remembered changes; watches that are behind have to list again."""
        self.forget_before(self.end_position)

    def forget_before(self, position: int) -> None:
        """Forget the changes before ``position``; a watch that is behind it has to list again."""
        count = min(position - self._log_start, len(self._log))
        if count > 0:
            self._forget(count)
            self._waiting.unpark_all()

    def position_after(self, revision: int) -> int:
        """The position in the log from which a watch continues after ``revision``.

        Raises:
            StatusError: 410, the changes after ``revision`` are no longer known.
        """
        if revision < self._floor:
            raise errors.too_old_resource_version(revision, self._floor)
        return self._log_start + bisect_right(self._log, revision, key=lambda change: change.revision)

    @property
    def end_position(self) -> int:
        """The position for a watch of future changes only."""
        return self._log_start + len(self._log)

    def changes_from(self, position: int) -> Sequence[Change] | None:
        """Changes at and after ``position``; None when some of them have been forgotten."""
        if position < self._log_start:
            return None
        return self._log[position - self._log_start :]

    async def wait_for_change(self) -> None:
        """Return after the next change, compaction or end."""
        await self._waiting.park()

    def _trim(self) -> None:
        self._forget(max(1, len(self._log) // _TRIM_FRACTION))
        while self._log_bytes > LOG_BYTES and len(self._log) > 1:
            self._forget(max(1, len(self._log) // _TRIM_FRACTION))

    def _forget(self, count: int) -> None:
        gone = self._log[:count]
        del self._log[:count]
        self._log_start += count
        self._log_bytes -= sum(len(change.last.data) for change in gone)
        self._floor = gone[-1].revision

    @staticmethod
    def _range(keys: list[str], namespace: str | None, after: str) -> tuple[int, int]:
        if namespace is None:
            return (bisect_right(keys, after) if after else 0), len(keys)
        low = bisect_left(keys, f"{namespace}/")
        high = bisect_left(keys, f"{namespace}0")  # "0" is the character after "/"
        return (max(low, bisect_right(keys, after)) if after else low), high
