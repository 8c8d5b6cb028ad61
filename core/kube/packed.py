"""Large objects, kept as bytes: what has 30 times its size in memory when it is parsed waits as text.

Small objects stay parsed, because they are read all the time. Of the packed ones a few that were read last stay
parsed, too, as long as they are small together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import orjson

from core.api.unreadable import Unreadable, marked, unreadable, without_mark
from kubewire.wire import Object

PACKED_FROM_BYTES: Final = 8 << 10
"""Of an object; an ordinary StepRun has 2,000."""
OPEN_BYTES: Final = 256 << 10
"""Of the texts of packed objects that stay parsed after they were read."""
_IDENTITY: Final = ("namespace", "name", "uid", "resourceVersion", "deletionTimestamp")


class Packed:
    """One object as text. ``head`` is what tells versions of objects apart: a few fields of ``metadata``."""

    __slots__ = ("_mark", "head", "text")

    def __init__(self, obj: Object, text: bytes) -> None:
        self.head = identity(obj)
        self.text = text
        self._mark: Unreadable | None = unreadable(obj)

    def opened(self) -> Object:
        """The object, parsed anew."""
        obj: Object = orjson.loads(self.text)
        return obj if self._mark is None else marked(obj, self._mark)


Entry: TypeAlias = Object | Packed


def packed(obj: Object) -> Entry:
    """``obj``, or its text when that is large.

    Raises:
        TypeError: it cannot be written as JSON, because it is nested too deeply.
    """
    text = orjson.dumps(without_mark(obj))
    return obj if len(text) < PACKED_FROM_BYTES else Packed(obj, text)


def opened(entry: Entry) -> Object:
    """The object of an entry; a packed one is parsed anew."""
    return entry.opened() if isinstance(entry, Packed) else entry


def head_of(entry: Entry) -> Object:
    """What tells versions of objects apart."""
    return entry.head if isinstance(entry, Packed) else entry


def identity(obj: Object) -> Object:
    """What tells one version of one object from others."""
    metadata = obj["metadata"]
    return {"metadata": {name: metadata[name] for name in _IDENTITY if name in metadata}}


class Opener:
    """Opens entries; those read last stay open, up to ``OPEN_BYTES``."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[Packed, Object]] = {}
        """By identity of the packed object, which is kept here as well; the one read last is the last."""
        self._bytes = 0

    def whole(self, entry: Entry) -> Object:
        """The object of an entry. It is shared with whoever reads it at the same time."""
        if not isinstance(entry, Packed):
            return entry
        found = self._open.pop(id(entry), None)
        if found is None:
            found = (entry, entry.opened())
            self._bytes += len(entry.text)
        self._open[id(entry)] = found
        for oldest in [*self._too_many()]:
            self.close(oldest)
        return found[1]

    def close(self, entry: Entry) -> None:
        """Nobody will read it again."""
        if self._open.pop(id(entry), None) is not None and isinstance(entry, Packed):
            self._bytes -= len(entry.text)

    def _too_many(self) -> Iterator[Packed]:
        over = self._bytes - OPEN_BYTES
        for entry, _ in self._open.values():
            if over <= 0:
                return
            over -= len(entry.text)
            yield entry
