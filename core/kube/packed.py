"""Large objects, kept as bytes: an object that needs 30 times its size when parsed is kept as text.

Small objects stay parsed, because they are read all the time. The packed objects that were read last stay parsed, too,
as long as their total size is small.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import orjson

from core.api.unreadable import Unreadable, marked, unreadable, without_mark
from kubewire.wire import Object

PACKED_FROM_BYTES: Final = 8 << 10
"""Size of an object; an ordinary StepRun has 2,000 bytes."""
OPEN_BYTES: Final = 256 << 10
"""Total size of the texts of packed objects that stay parsed after they were read."""
_IDENTITY: Final = ("namespace", "name", "uid", "resourceVersion", "deletionTimestamp")


class Packed:
    """One object as text. ``head`` distinguishes versions of objects: a few fields of ``metadata``."""

    __slots__ = ("_mark", "head", "text")

    def __init__(self, obj: Object, text: bytes) -> None:
        self.head = identity(obj)
        self.text = text
        self._mark: Unreadable | None = unreadable(obj)

    def opened(self) -> Object:
        """The object, parsed again."""
        obj: Object = orjson.loads(self.text)
        return obj if self._mark is None else marked(obj, self._mark)


Entry: TypeAlias = Object | Packed


def packed(obj: Object) -> Entry:
    """``obj``, or its text when it is large.

    Raises:
        TypeError: it cannot be written as JSON, because it is nested too deeply.
    """
    text = orjson.dumps(without_mark(obj))
    return obj if len(text) < PACKED_FROM_BYTES else Packed(obj, text)


def opened(entry: Entry) -> Object:
    """The object of an entry; a packed one is parsed again."""
    return entry.opened() if isinstance(entry, Packed) else entry


def head_of(entry: Entry) -> Object:
    """The fields that distinguish versions of objects."""
    return entry.head if isinstance(entry, Packed) else entry


def identity(obj: Object) -> Object:
    """The fields that distinguish one version of one object from all others."""
    metadata = obj["metadata"]
    return {"metadata": {name: metadata[name] for name in _IDENTITY if name in metadata}}


class Opener:
    """Parses entries; those that were read last stay parsed, up to ``OPEN_BYTES``."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[Packed, Object]] = {}
        """Key: identity of the packed object, which the value keeps alive; the one read last is the last."""
        self._bytes = 0

    def whole(self, entry: Entry) -> Object:
        """The object of an entry. It is shared with all who read it at the same time."""
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
        """Drop the parsed form: the entry will not be read again."""
        if self._open.pop(id(entry), None) is not None and isinstance(entry, Packed):
            self._bytes -= len(entry.text)

    def _too_many(self) -> Iterator[Packed]:
        over = self._bytes - OPEN_BYTES
        for entry, _ in self._open.values():
            if over <= 0:
                return
            over -= len(entry.text)
            yield entry
