"""A stored object: always as text, and parsed while it is in use.

Parsed, an object takes ten times the memory of its text, and a cluster may hold many thousands that nobody reads. So
only the objects that were used last stay parsed.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import Final

import orjson

from localcluster.server.types import Object

OPEN_BYTES: Final = 16 << 20
"""Total size of the texts of the objects that stay parsed."""


class Stored:
    """One version of an object; it never changes.

    Args:
        key: ``namespace/name``, or only the name.
        data: its JSON.
        opened: keeps it parsed for a while; None: each read parses it.
        obj: the parsed form, if it is at hand.
    """

    __slots__ = ("_api_version", "_opened", "data", "key", "revision")

    def __init__(
        self, key: str, revision: int, data: bytes, opened: OpenObjects | None = None, obj: Object | None = None
    ) -> None:
        self.key = key
        self.revision = revision
        self.data = data
        self._opened = opened
        self._api_version: str | None = None
        if opened is not None and obj is not None:
            opened.keep(self, obj)

    def __repr__(self) -> str:
        return f"<Stored {self.key} at {self.revision}>"

    @property
    def object(self) -> Object:
        """The parsed form. It is shared: do not change it."""
        return parsed(self.data) if self._opened is None else self._opened.read(self)

    @property
    def api_version(self) -> str:
        """Its ``apiVersion``: it is parsed for that at most once."""
        if self._api_version is None:
            self._api_version = sys.intern(str(self.object.get("apiVersion", "")))
        return self._api_version

    def reshaped(self, data: bytes) -> Stored:
        """The same version with other contents: a new schema has changed them."""
        return Stored(self.key, self.revision, data, self._opened)


class OpenObjects:
    """The parsed forms of the objects that were used last."""

    def __init__(self, limit_bytes: int = OPEN_BYTES) -> None:
        self._limit = limit_bytes
        self._objects: OrderedDict[Stored, Object] = OrderedDict()
        """The one used last is the last. In a plain dict, the search for the first passes by all that were removed."""
        self._bytes = 0

    def read(self, stored: Stored) -> Object:
        obj = self._objects.get(stored)
        if obj is None:
            obj = parsed(stored.data)
            self.keep(stored, obj)
        else:
            self._objects.move_to_end(stored)
        return obj

    def keep(self, stored: Stored, obj: Object) -> None:
        """Add the parsed form of a new record."""
        self._objects[stored] = obj
        self._bytes += len(stored.data)
        self._drop_what_is_too_much()

    def _drop_what_is_too_much(self) -> None:
        while self._bytes > self._limit and len(self._objects) > 1:
            oldest, _ = self._objects.popitem(last=False)
            self._bytes -= len(oldest.data)


def parsed(data: bytes) -> Object:
    obj: Object = orjson.loads(data)
    return obj
