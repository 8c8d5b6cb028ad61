"""Objects that are kept as bytes: large ones, and those at rest, which are hardly ever read again.

Parsed, an object needs four to thirty times the size of its text. Other small objects stay parsed, because they are
read all the time. The packed objects that were read last stay parsed, too, as long as their total size is small.

The texts of objects at rest are compressed. Those of one kind are alike, so the first one serves as the dictionary of
all: a StepRun of 2,000 bytes takes 100 to 300.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from core.api.unreadable import Unreadable, marked, unreadable, without_mark
from core.kube.store_key import Identity, identity_in
from kubewire import Object

PACKED_FROM_BYTES: Final = 8 << 10
"""Size of an object; an ordinary StepRun has 2,000 bytes."""
OPEN_BYTES: Final = 256 << 10
"""Total size of the texts of packed objects that stay parsed after they were read."""
_IDENTITY: Final = ("namespace", "name", "uid", "resourceVersion", "deletionTimestamp")
_VERSION_FACTS: Final = len(Identity._fields) - 1
"""What an object is known by, without its key."""
_LONGEST_DICTIONARY: Final = 31 << 10
"""zlib looks back no further than 32 KiB, and what a version is known by comes after the dictionary."""
_RAW: Final = -zlib.MAX_WBITS
"""Without header and checksum."""
_LEVEL: Final = 3
"""As fast here as the fastest, level 1: it finds more of a text in the dictionary, so less is left to write."""
_SMALL_WINDOW: Final = 13
"""As a power of two, in bytes; for small texts. The largest window takes 256 KiB of memory to begin with each text."""


class Resting(NamedTuple):
    """What is known of an object at rest without reading it."""

    uid: str
    note: Any
    """See ``Packer``."""


class Packed:
    """One object as text; with a dictionary, as compressed text.

    There may be many thousands, so what a version is known by is in the same bytes: a string or tuple more for each
    takes as much memory as the compressed text.
    """

    __slots__ = ("_content", "_dictionary", "key", "values")

    def __init__(self, obj: Object, text: bytes, dictionary: bytes | None = None, note: Any = None) -> None:
        self.key, *facts = identity_in(obj)
        self.values: tuple[tuple[str, ...], ...] = ()
        """Under which the object is found in the indexes of its store, which sets it."""
        head = orjson.dumps(facts if note is None else [*facts, note])
        self._content = b"\n".join((head, text if dictionary is None else _compressed(text, dictionary + head)))
        self._dictionary = dictionary

    @property
    def is_at_rest(self) -> bool:
        return self._dictionary is not None

    @property
    def identity(self) -> Identity:
        return Identity(self.key, *self._facts()[:_VERSION_FACTS])

    @property
    def resting(self) -> Resting | None:
        """None if it is not at rest."""
        if self._dictionary is None:
            return None
        facts = self._facts()
        return Resting(facts[0], facts[_VERSION_FACTS] if len(facts) > _VERSION_FACTS else None)

    def _facts(self) -> list[Any]:
        found: list[Any] = orjson.loads(self._content[: self._content.index(b"\n")])
        return found

    def opened(self) -> tuple[Object, int]:
        """The object, parsed again, and the size of its text in bytes."""
        end = self._content.index(b"\n")
        text = memoryview(self._content)[end + 1 :]
        if self._dictionary is not None:
            text = memoryview(_decompressed(text, self._dictionary + self._content[:end]))
        return orjson.loads(text), len(text)


class PackedPart(Packed):
    """The readable part of an object, with its mark."""

    __slots__ = ("_mark",)

    def __init__(self, obj: Object, text: bytes, dictionary: bytes | None, note: Any, mark: Unreadable) -> None:
        super().__init__(obj, text, dictionary, note)
        self._mark = mark

    def opened(self) -> tuple[Object, int]:
        obj, size = super().opened()
        return marked(obj, self._mark), size


Entry: TypeAlias = Object | Packed


def _never(obj: Object) -> bool:
    del obj
    return False


class Packer:
    """Chooses the form in which each object of a kind is kept.

    Args:
        is_at_rest: whether the object will hardly be read again.
        note: returns what of an object at rest is readable without parsing it: something small that JSON can express,
            or None.
    """

    def __init__(
        self, is_at_rest: Callable[[Object], bool] = _never, note: Callable[[Object], Any] = lambda _: None
    ) -> None:
        self._is_at_rest = is_at_rest
        self._note = note
        self._dictionary = b""

    def entry(self, obj: Object) -> Entry:
        """``obj``, or its text when it is large or at rest.

        Raises:
            TypeError: it cannot be written as JSON, because it is nested too deeply.
        """
        text = orjson.dumps(without_mark(obj))
        dictionary, note = None, None
        if self._is_at_rest(obj):
            note = self._note(obj)
            dictionary = self._dictionary = self._dictionary or text[:_LONGEST_DICTIONARY]
        elif len(text) < PACKED_FROM_BYTES:
            return obj
        mark = unreadable(obj)
        return Packed(obj, text, dictionary, note) if mark is None else PackedPart(obj, text, dictionary, note, mark)

    def small_entry(self, obj: Object) -> Entry:
        """Like ``entry``, for an object that is known to be small."""
        return self.entry(obj) if self._is_at_rest(obj) else obj


def _compressed(text: bytes, dictionary: bytes) -> bytes:
    bits = _SMALL_WINDOW if len(dictionary) + len(text) < 1 << _SMALL_WINDOW else zlib.MAX_WBITS
    compressor = zlib.compressobj(_LEVEL, wbits=-bits, memLevel=bits - 7, zdict=dictionary)
    return compressor.compress(text) + compressor.flush()


def _decompressed(text: memoryview, dictionary: bytes) -> bytes:
    return zlib.decompressobj(wbits=_RAW, zdict=dictionary).decompress(text)


def opened(entry: Entry) -> Object:
    """The object of an entry; a packed one is parsed again."""
    return entry.opened()[0] if isinstance(entry, Packed) else entry


def identity_of(entry: Entry) -> Identity:
    """What distinguishes versions of objects; a packed object is not read for that."""
    return entry.identity if isinstance(entry, Packed) else identity_in(entry)


def identity(obj: Object) -> Object:
    """The fields that distinguish one version of one object from all others."""
    metadata = obj["metadata"]
    return {"metadata": {name: metadata[name] for name in _IDENTITY if name in metadata}}


def is_at_rest(entry: Entry) -> bool:
    """Whether the object was at rest when it was packed."""
    return isinstance(entry, Packed) and entry.is_at_rest


class Opener:
    """Parses entries; those that were read last stay parsed, up to ``OPEN_BYTES``."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[Packed, Object, int]] = {}
        """Key: identity of the packed object, which the value keeps alive; the one read last is the last. The number is
        the size of the text.
        """
        self._bytes = 0

    def whole(self, entry: Entry) -> Object:
        """The object of an entry. It is shared with all who read it at the same time."""
        if not isinstance(entry, Packed):
            return entry
        found = self._open.pop(id(entry), None)
        if found is None:
            found = (entry, *entry.opened())
            self._bytes += found[2]
        self._open[id(entry)] = found
        for oldest in [*self._too_many()]:
            self.close(oldest)
        return found[1]

    def glance(self, entry: Entry) -> Object:
        """Like ``whole``, for one who reads all entries: what is parsed for that does not stay parsed."""
        if not isinstance(entry, Packed):
            return entry
        found = self._open.get(id(entry))
        return entry.opened()[0] if found is None else found[1]

    def close(self, entry: Entry) -> None:
        """Drop the parsed form: the entry will not be read again."""
        if (found := self._open.pop(id(entry), None)) is not None:
            self._bytes -= found[2]

    def _too_many(self) -> Iterator[Packed]:
        over = self._bytes - OPEN_BYTES
        for entry, _, size in self._open.values():
            if over <= 0:
                return
            over -= size
            yield entry
