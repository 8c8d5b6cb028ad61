"""The readable rest of an object that cannot be read as a whole, marked as unreadable.

It has the metadata, which is always needed, and the small and sound parts of everything else: whole fields, or the
fields directly in them. A status whose output is too deep keeps its phase and conditions. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

import orjson

from core.api.sizes import MAX_DEPTH
from core.api.unreadable import Unreadable, marked
from core.kube import scan
from kubewire import Object

KEPT_BYTES: Final = 8 << 10
"""Size of one field that is kept."""
KEPT_OF_MAP_BYTES: Final = 64 << 10
"""Total size of the kept fields inside one field."""
_SKIPPED: Final = frozenset({"managedFields"})
_MAPS: Final = frozenset({"labels", "annotations"})
"""Fields of metadata whose readable members are kept, too: they say what an object belongs to."""
_IDENTITY: Final = frozenset({"name", "namespace", "uid", "resourceVersion"})
_LOST: Final = object()
_MAX_NAMED: Final = 64
"""The largest number of fields that a mark names."""


class NoObjectError(ValueError):
    """Not even the metadata can be read: the object cannot be identified."""


class _Source(Protocol):
    """A value that may or may not be readable."""

    def read(self) -> Any:
        """The value, or ``_LOST`` when it is too large, too deep or damaged."""

    def parts(self) -> Iterator[tuple[str, _Source]]:
        """The members of an object, up to the first damage; nothing for any other value."""


def of_bytes(raw: bytes, why: str, start: int = 0) -> Object:
    """The readable rest of the object that begins at ``start``; ``why``: the reason, e.g. ``is nested too deeply``.

    Raises:
        NoObjectError
    """
    return _remains(_Raw(raw, scan.ByteSpan(start, len(raw))), why)


def of_object(obj: Object, why: str, lost: str = "") -> Object:
    """The reduced form of ``obj``, which was read but must not be kept as it is.

    ``lost``: a field that is too large as a whole; only its small fields are kept.

    Raises:
        NoObjectError
    """
    return _remains(_Read(obj, lost), why)


LONGEST_NAME: Final = 253
"""Of an object, in characters; also of every other field that identifies it."""


def is_object(value: Any) -> bool:
    """Whether ``value`` has the fields that identify an object, as every reader expects."""
    metadata = value.get("metadata") if isinstance(value, dict) else None
    if not isinstance(metadata, dict):
        return False
    name, namespace = metadata.get("name"), metadata.get("namespace")
    uid, version = metadata.get("uid"), metadata.get("resourceVersion")
    return (
        isinstance(name, str)
        and 0 < len(name) <= LONGEST_NAME
        and (namespace is None or isinstance(namespace, str))
        and (uid is None or isinstance(uid, str))
        and (version is None or isinstance(version, str))
    )


def _remains(source: _Source, why: str) -> Object:
    kept: Object = {}
    missing: list[tuple[str, ...]] = []
    for name, part in source.parts():
        value = part.read() if name != "metadata" else _LOST
        if value is _LOST:
            value, lost = _members(part)
            if lost is None:
                missing.append((name,))
                continue
            missing += ((name, inner) for inner in lost)
        kept[name] = value
    if not is_object(kept):
        raise NoObjectError(why)
    kept.setdefault("spec", {})
    return marked(kept, Unreadable(tuple(missing[:_MAX_NAMED]), why))


def _members(source: _Source) -> tuple[Object, list[str] | None]:
    """The members of an object that can be kept, and the names of the others; None when the value is not an object."""
    kept: Object = {}
    lost: list[str] = []
    size, is_map = 0, False
    for name, part in source.parts():
        is_map = True
        if name in _SKIPPED:
            continue
        value = part.read() if size < KEPT_OF_MAP_BYTES or name in _IDENTITY else _LOST
        if value is _LOST:
            lost.append(name)
        if value is _LOST and name in _MAPS:
            value = _members(part)[0] or _LOST
        if value is not _LOST:
            kept[name] = value
            size += len(orjson.dumps(value)) + len(name)
    return kept, lost if is_map else None


class _Raw:
    """The bytes of a JSON text."""

    def __init__(self, raw: bytes, span: scan.ByteSpan) -> None:
        self._raw = raw
        self._span = span

    def read(self) -> Any:
        if self._span.length > KEPT_BYTES:
            return _LOST
        try:
            return _sound(orjson.loads(self._raw[self._span.start : self._span.end]))
        except orjson.JSONDecodeError:
            return _LOST

    def parts(self) -> Iterator[tuple[str, _Source]]:
        try:
            for member in scan.members(self._raw, self._span.start):
                try:
                    name = orjson.loads(b'"%s"' % member.key)
                except orjson.JSONDecodeError:
                    continue
                yield name, _Raw(self._raw, member.value)
        except scan.ScanError:
            return


class _Read:
    """A value in memory."""

    def __init__(self, value: Any, lost: str = "") -> None:
        self._value = value
        self._lost = lost

    def read(self) -> Any:
        return _sound(self._value)

    def parts(self) -> Iterator[tuple[str, _Source]]:
        if not isinstance(self._value, Mapping):
            return
        for name, value in self._value.items():
            if isinstance(name, str) and not name.startswith("\0"):
                yield name, _Apart(value) if name == self._lost else _Read(value)


class _Apart(_Read):
    """A value that is not read as a whole."""

    def read(self) -> Any:
        return _LOST


def _sound(value: Any) -> Any:
    """``value`` if it is small and can be written again two levels deeper; otherwise ``_LOST``."""
    try:
        text = orjson.dumps([[value]])
    except TypeError:
        return _LOST
    return value if len(text) <= KEPT_BYTES + len("[[]]") else _LOST


assert MAX_DEPTH == 254, "what orjson writes"
