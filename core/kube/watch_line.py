"""One line of a watch, from bytes to an event. An object that cannot be read costs no other.

Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import orjson

from core.api.sizes import MAX_DEPTH, ObjectBounds
from core.kube import reading, remains, scan
from core.kube.errors import error_from_status
from core.kube.reading import NEVER_TOO_MANY_BYTES
from core.kube.remains import NoObjectError
from kubewire.wire import Object, WatchEventType

_HEAD: Final = re.compile(rb'\s*\{\s*"type"\s*:\s*"([A-Z]+)"\s*,\s*"object"\s*:\s*')
"""As API servers write it."""


class DamagedLineError(ValueError):
    """It is no event of a watch: whoever sent it is not the server that was asked, or broke off."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change; for ``BOOKMARK`` the object carries only its version, for ``ERROR`` it is a ``Status``."""

    type: WatchEventType
    object: Object
    is_small: bool = False
    """Whether the object is known to be neither large nor deep, so that nobody has to write it to find out."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A change of an object of which nothing can be read. ``version``: how far it brings the watch; empty: unknown."""

    version: str
    why: str


def event_in(line: bytes, bounds: ObjectBounds) -> WatchEvent | LeftOut:
    """The event that ``line`` is, its object whole or what is left of it, marked (core.api.unreadable).

    An object may be as deep as the parser reads; the informer, which keeps it, looks at that.

    Raises:
        DamagedLineError
        ApiError: it is an ERROR event.
    """
    if len(line) > NEVER_TOO_MANY_BYTES and scan.has_more_values(line, bounds.values):
        return _from_parts(line, f"holds more than {bounds.values} values")
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _from_parts(line, f"is not readable JSON ({error.msg})")
    try:
        type_, obj = WatchEventType(value["type"]), value["object"]
    except (ValueError, KeyError, TypeError):
        raise DamagedLineError("it has no type and object of an event") from None
    if type_ is WatchEventType.ERROR:
        raise error_from_status(obj if isinstance(obj, dict) else {})
    version = _version_of(obj)
    if type_ is WatchEventType.BOOKMARK:
        if not version:
            raise DamagedLineError("a bookmark without version")
        return WatchEvent(type_, obj)
    try:
        read = reading.settled(obj, line, bounds, any_depth=True)
    except NoObjectError as error:
        return LeftOut(version, str(error))
    if not version:
        return LeftOut("", "has no version")
    is_small = len(line) <= NEVER_TOO_MANY_BYTES and line.count(b"{") + line.count(b"[") <= MAX_DEPTH
    return WatchEvent(type_, read, is_small)


def _from_parts(line: bytes, why: str) -> WatchEvent | LeftOut:
    type_, start = _head_of(line)
    if type_ not in (WatchEventType.ADDED, WatchEventType.MODIFIED, WatchEventType.DELETED):
        raise DamagedLineError("it cannot be read, and is about no object")
    try:
        left = remains.of_bytes(line, why, start)
    except NoObjectError:
        return LeftOut("", why)
    version = _version_of(left)
    return WatchEvent(type_, left) if version else LeftOut("", why)


def _head_of(line: bytes) -> tuple[WatchEventType, int]:
    """The type, and where the object begins."""
    found = _HEAD.match(line)
    if found is not None:
        return _type(found.group(1)), found.end()
    type_, start = b"", -1
    try:
        for key, span in scan.members(line):
            if key == b"type":
                type_ = line[span.start : span.end].strip(b'"')
            elif key == b"object":
                start = span.start
    except scan.ScanError:
        pass
    if start < 0:
        raise DamagedLineError("it has no object")
    return _type(type_), start


def _type(text: bytes) -> WatchEventType:
    try:
        return WatchEventType(text.decode("ascii"))
    except ValueError:
        raise DamagedLineError("it has no type of an event") from None


def _version_of(obj: Any) -> str:
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return version if isinstance(version, str) else ""
