"""One line of a watch, from bytes to an event. An unreadable object does not affect other objects.

Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import orjson

from core.api.sizes import ObjectBounds
from core.kube import reading, remains, scan
from core.kube.errors import error_from_status
from core.kube.reading import NEVER_TOO_MANY_BYTES
from core.kube.remains import NoObjectError
from kubewire import Object, WatchEventType

_HEAD: Final = re.compile(rb'\s*\{\s*"type"\s*:\s*"([A-Z]+)"\s*,\s*"object"\s*:\s*')
"""The form that API servers write."""


_VERSION: Final = b'"resourceVersion":"'
_STORED: Final = (b'{"type":"ADDED"', b'{"type":"MODIFIED"')


class DamagedLineError(ValueError):
    """The line is not a watch event: its sender is not the expected server, or the line was cut off."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change; for ``BOOKMARK`` the object has only its version, for ``ERROR`` it is a ``Status``."""

    type: WatchEventType
    object: Object
    is_small: bool = False
    """Whether the object is known to be neither large nor deep, so that it need not be serialized to find out."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A change of an object that cannot be read at all. ``version``: the version after it; empty: unknown."""

    version: str
    why: str


def stored_version(line: bytes) -> str:
    """The version of an object that was added or changed, without reading the object.

    Empty if the text does not say it beyond doubt: a label, say, may be called ``resourceVersion``, too.
    """
    start = line.find(_VERSION)
    if start < 0 or line.find(_VERSION, start + 1) >= 0 or not line.startswith(_STORED):
        return ""
    end = line.find(b'"', start + len(_VERSION))
    return line[start + len(_VERSION) : end].decode("ascii", "replace")


def event_in(line: bytes, bounds: ObjectBounds, *, managed_fields: bool = True) -> WatchEvent | LeftOut:
    """The event in ``line``; its object is complete, or the readable rest, marked (core.api.unreadable).

    An object may be as deep as the parser allows; the informer, which stores it, checks the depth.

    Args:
        managed_fields: read ``metadata.managedFields``, too.
    Raises:
        DamagedLineError
        ApiError: the line is an ERROR event.
    """
    if len(line) > NEVER_TOO_MANY_BYTES and scan.has_more_values(line, bounds.values):
        return _from_parts(line, f"holds more than {bounds.values} values")
    try:
        value, text = reading.parsed(line, "object", managed_fields=managed_fields)
    except orjson.JSONDecodeError as error:
        return _from_parts(line, f"is not readable JSON ({error.msg})")
    try:
        type_, obj = WatchEventType(value["type"]), value["object"]
    except (ValueError, KeyError, TypeError):
        raise DamagedLineError("it must have the type and object of an event") from None
    if type_ is WatchEventType.ERROR:
        raise error_from_status(obj if isinstance(obj, dict) else {})
    version = _version_of(obj)
    if type_ is WatchEventType.BOOKMARK:
        if not version:
            raise DamagedLineError("a bookmark must have a version")
        return WatchEvent(type_, obj)
    try:
        read = reading.settled(obj, text, bounds, any_depth=True)
    except NoObjectError as error:
        return LeftOut(version, str(error))
    if not version:
        return LeftOut("", "has no version")
    is_small = len(text) <= NEVER_TOO_MANY_BYTES and not reading.may_be_too_deep(text)
    return WatchEvent(type_, read, is_small)


def _from_parts(line: bytes, why: str) -> WatchEvent | LeftOut:
    type_, start = _head_of(line)
    if type_ not in (WatchEventType.ADDED, WatchEventType.MODIFIED, WatchEventType.DELETED):
        raise DamagedLineError("it cannot be read, and names no object")
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
        raise DamagedLineError("it must have an object")
    return _type(type_), start


def _type(text: bytes) -> WatchEventType:
    try:
        return WatchEventType(text.decode("ascii"))
    except ValueError:
        raise DamagedLineError("it must have the type of an event") from None


def _version_of(obj: Any) -> str:
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return version if isinstance(version, str) else ""
