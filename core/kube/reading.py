"""From the bytes of an answer to objects: each by itself, so that one unreadable object does not affect the others.

An object that is damaged, or deeper or larger than ``core.api.sizes`` allows, is not refused: the readable rest is
returned, marked (core.api.unreadable). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from core.api.sizes import ANY, MAX_DEPTH, ObjectBounds, values_in
from core.api.unreadable import unreadable
from core.kube import remains, scan
from core.kube.managed_fields import parsed_without_managed_fields
from core.kube.remains import NoObjectError
from kubewire import Object

NEVER_TOO_MANY_BYTES: Final = 8 << 10
"""A smaller object exceeds no bound, except that of depth."""

_OPENING: Final = re.compile(rb'\{(?:"(?:apiVersion|kind)":"[^"\\]*",)*"\w+":')
"""How an object begins, up to the first key that all objects of a list need not have in common: owners and entries of
``managedFields`` begin with an ``apiVersion``, too.
"""

TOO_DEEP: Final = f"is nested deeper than {MAX_DEPTH} levels"


class UnreadablePageError(ValueError):
    """The end of an object in a list cannot be found."""


@dataclass(frozen=True, slots=True)
class PageHead:
    """``next_page`` is the token of the next page, empty on the last."""

    resource_version: str
    next_page: str


@dataclass(slots=True)
class Page:
    """``head`` is known after the last of ``objects``. ``left_out``: number of objects that could not be kept at
    all.
    """

    objects: Iterator[Object]
    head: PageHead
    left_out: int = 0


def object_in(raw: bytes, bounds: ObjectBounds = ANY, *, managed_fields: bool = True) -> Object:
    """The object in ``raw``, or the readable rest of it.

    Args:
        managed_fields: read ``metadata.managedFields``, too; here and in all that follows.
    Raises:
        NoObjectError: it is not an object, or has no name.
    """
    why = ""
    if len(raw) > NEVER_TOO_MANY_BYTES and scan.has_more_values(raw, bounds.values):
        why = f"holds more than {bounds.values} values"
    else:
        try:
            value, text = parsed(raw, managed_fields=managed_fields)
        except orjson.JSONDecodeError as error:
            why = f"is not readable JSON ({error.msg})"
        else:
            return settled(value, text, bounds)
    return remains.of_bytes(raw, why)


def parsed(raw: bytes, parent: str = "", *, managed_fields: bool = True) -> tuple[Any, bytes]:
    """The value in ``raw``, and the text that it was parsed from.

    Args:
        parent: the key of the object in ``raw``, if it is part of something else.
    Raises:
        orjson.JSONDecodeError
    """
    return (orjson.loads(raw), raw) if managed_fields else parsed_without_managed_fields(raw, parent)


def settled(value: Any, raw: bytes, bounds: ObjectBounds, *, any_depth: bool = False) -> Object:
    """``value``, parsed from ``raw``, or a reduced form when it must not be kept as it is.

    ``any_depth``: skip the check of the depth, because the caller will write the value and finds out then.

    Raises:
        NoObjectError: it is not an object, or has no name.
    """
    if not remains.is_object(value):
        raise NoObjectError("has no metadata with a name")
    if not any_depth and may_be_too_deep(raw) and not is_writable(value):
        return remains.of_object(value, TOO_DEEP)
    if bounds.status_bytes and len(raw) > NEVER_TOO_MANY_BYTES:
        try:
            status = orjson.dumps(value.get("status"))
        except TypeError:
            return remains.of_object(value, TOO_DEEP)
        if why := why_status_too_large(status, bounds):
            return remains.of_object(value, f"has a status that {why}", lost="status")
    return value  # type: ignore[no-any-return]  # an object by what was checked


def why_status_too_large(status: bytes, bounds: ObjectBounds) -> str:
    """Why a status (compact JSON) is not read: ``has … bytes, … are allowed``; empty when it is within the bounds."""
    if len(status) > bounds.status_bytes:
        return f"has {len(status)} bytes, {bounds.status_bytes} are allowed"
    if values_in(status) > bounds.status_values and (values := _counted(status)) > bounds.status_values:
        return f"has {values} values, {bounds.status_values} are allowed"
    return ""


def may_be_too_deep(raw: bytes) -> bool:
    """Whether a text has enough brackets to be nested too deeply."""
    return len(raw) - len(raw.translate(None, b"{[")) > MAX_DEPTH


def is_writable(value: Any) -> bool:
    """Whether a parsed value can be written again; one that is nested too deeply cannot."""
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def page_in(raw: bytes, bounds: ObjectBounds = ANY, *, managed_fields: bool = True) -> Page:
    """The list in ``raw``. An object is parsed when the caller asks for it, so that only one is in memory twice.

    Raises:
        UnreadablePageError: when an object is read.
    """
    page = Page(iter(()), PageHead("", ""))
    page.objects = _objects_of(raw, bounds, page, managed_fields)
    return page


def _objects_of(raw: bytes, bounds: ObjectBounds, page: Page, managed_fields: bool) -> Iterator[Object]:
    try:
        position = scan.first_member(raw)
        while position is not None:
            key, start = scan.member_at(raw, position)
            if key == b"items" and raw[start : start + 1] == b"[":
                end = yield from _items(raw, start, bounds, page, managed_fields)
            else:
                value = scan.value_at(raw, start)
                end = value.end
                if key == b"metadata":
                    page.head = _head(_loaded(raw, value))
                elif key == b"items" and raw[start:end] != b"null":
                    raise UnreadablePageError("the answer is not a list")
            position = scan.next_member(raw, end)
    except scan.ScanError as error:
        raise UnreadablePageError(f"the list cannot be read: {error}") from None


def _items(
    raw: bytes, start: int, bounds: ObjectBounds, page: Page, managed_fields: bool
) -> Generator[Object, None, int]:
    """The objects of the list that begins at ``start``; returns where it ends.

    Servers write all objects of a list in the same way, so each begins with the same key. If the text up to the next
    such beginning is JSON, it is one object: in a string the quotes would have backslashes, and inside of an object
    a bracket would be open. Only if it is not JSON, the end is found bracket by bracket, which takes ten times as long.
    """
    position, end = scan.first_element(raw, start), start + 1
    opening = None if position is None else _OPENING.match(raw, position)
    beginning = b"," + opening.group() if opening is not None else b""
    while position is not None:
        guess = raw.find(beginning, position) if beginning else -1
        obj = _guessed(raw[position:guess], bounds, managed_fields) if guess > 0 else None
        if obj is not None:
            yield obj
            position = guess + len(b",")
            continue
        end = scan.value_at(raw, position).end
        obj = _object_or_none(raw[position:end], bounds, managed_fields)
        if guess < 0 or guess > end:  # the next object begins in another way, or there is none
            beginning = b""
        if obj is None:
            page.left_out += 1
        else:
            yield obj
        position = scan.next_element(raw, end)
    return scan.closed(raw, end)


def _object_or_none(text: bytes, bounds: ObjectBounds, managed_fields: bool) -> Object | None:
    """As ``object_in``; None instead of ``NoObjectError``."""
    try:
        return object_in(text, bounds, managed_fields=managed_fields)
    except NoObjectError:
        return None


def _guessed(text: bytes, bounds: ObjectBounds, managed_fields: bool) -> Object | None:
    """The object in ``text``; None if that is no JSON, too much of it, or has no name."""
    if len(text) > NEVER_TOO_MANY_BYTES and scan.has_more_values(text, bounds.values):
        return None
    try:
        return settled(*parsed(text, managed_fields=managed_fields), bounds)
    except (orjson.JSONDecodeError, NoObjectError):
        return None


def head_of_broken_page(raw: bytes) -> PageHead | None:
    """The list's metadata, from the text before the damage; None when it is not there."""
    try:
        for key, span in scan.members(raw):
            if key == b"metadata":
                return _head(_loaded(raw, span))
    except scan.ScanError:
        pass
    return None


def _loaded(raw: bytes, span: scan.ByteSpan) -> Any:
    try:
        return orjson.loads(raw[span.start : span.end])
    except orjson.JSONDecodeError as error:
        raise UnreadablePageError(f"the metadata of the list cannot be read: {error.msg}") from None


def _head(metadata: Any) -> PageHead:
    found = metadata if isinstance(metadata, dict) else {}
    return PageHead(str(found.get("resourceVersion") or ""), str(found.get("continue") or ""))


def _counted(text: bytes) -> int:
    """Like ``values_in``, without the contents of strings."""
    return values_in(scan.without_strings(text))


def is_whole(obj: Object) -> bool:
    """Whether ``obj`` was read completely."""
    return unreadable(obj) is None
