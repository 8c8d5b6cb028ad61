"""From the bytes of an answer to objects: each by itself, so that one unreadable object does not affect the others.

An object that is damaged, or deeper or larger than ``core.api.sizes`` allows, is not refused: the readable rest is
returned, marked (core.api.unreadable). A text without such objects is parsed as a whole. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from core.api.sizes import ANY, MAX_DEPTH, ObjectBounds, values_in
from core.api.unreadable import unreadable
from core.kube import remains, scan
from core.kube.remains import NoObjectError
from kubewire.wire import Object

WHOLE_PAGE_BYTES: Final = 2 << 20
"""The largest page that is parsed at once; in a larger page each object is parsed by itself, so only one is in memory
twice.
"""
NEVER_TOO_MANY_BYTES: Final = 8 << 10
"""A smaller object exceeds no bound, except that of depth."""

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


def object_in(raw: bytes, bounds: ObjectBounds = ANY) -> Object:
    """The object in ``raw``, or the readable rest of it.

    Raises:
        NoObjectError: it is not an object, or has no name.
    """
    why = ""
    if len(raw) > NEVER_TOO_MANY_BYTES and scan.has_more_values(raw, bounds.values):
        why = f"holds more than {bounds.values} values"
    else:
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            why = f"is not readable JSON ({error.msg})"
        else:
            return settled(value, raw, bounds)
    return remains.of_bytes(raw, why)


def settled(value: Any, raw: bytes, bounds: ObjectBounds, *, any_depth: bool = False) -> Object:
    """``value``, parsed from ``raw``, or a reduced form when it must not be kept as it is.

    ``any_depth``: skip the check of the depth, because the caller will write the value and finds out then.

    Raises:
        NoObjectError: it is not an object, or has no name.
    """
    if not remains.is_object(value):
        raise NoObjectError("has no metadata with a name")
    if not any_depth and not is_writable(value):
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


def is_writable(value: Any) -> bool:
    """Whether a parsed value can be written again; one that is nested too deeply cannot."""
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def page_in(raw: bytes, bounds: ObjectBounds = ANY) -> Page:
    """The list in ``raw``; each object is read when the caller asks for it.

    Raises:
        UnreadablePageError: raised here, or when an object is read.
    """
    if len(raw) <= WHOLE_PAGE_BYTES:
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            pass
        else:
            return _parsed_page(value, bounds)
    page = Page(iter(()), PageHead("", ""))
    page.objects = _split(raw, bounds, page)
    return page


def _parsed_page(value: Any, bounds: ObjectBounds) -> Page:
    items = value.get("items") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(items, (list, type(None))):
        raise UnreadablePageError("the answer is not a list")
    page = Page(iter(()), _head(value.get("metadata")))
    page.objects = _parsed_objects(items or [], bounds, page)
    return page


def _parsed_objects(items: list[Any], bounds: ObjectBounds, page: Page) -> Iterator[Object]:
    for item in items:
        try:
            text = orjson.dumps(item)
        except TypeError:
            text = b""
        try:
            if not text:
                yield _too_deep(item)
            elif len(text) <= NEVER_TOO_MANY_BYTES:
                yield _named(item)
            elif scan.has_more_values(text, bounds.values):
                yield remains.of_bytes(text, f"holds more than {bounds.values} values")
            else:
                yield settled(item, text, bounds)
        except NoObjectError:
            page.left_out += 1


def _too_deep(item: Any) -> Object:
    if not isinstance(item, dict):
        raise NoObjectError(TOO_DEEP)
    return remains.of_object(item, TOO_DEEP)


def _named(item: Any) -> Object:
    if not remains.is_object(item):
        raise NoObjectError("has no metadata with a name")
    return item  # type: ignore[no-any-return]  # an object by what was checked


def _split(raw: bytes, bounds: ObjectBounds, page: Page) -> Iterator[Object]:
    try:
        for key, span in scan.members(raw):
            if key == b"metadata":
                page.head = _head(_loaded(raw, span))
            elif key == b"items" and raw[span.start : span.start + 1] == b"[":
                for place in scan.elements(raw, span.start):
                    try:
                        yield object_in(raw[place.start : place.end], bounds)
                    except NoObjectError:
                        page.left_out += 1
    except scan.ScanError as error:
        raise UnreadablePageError(f"the list cannot be read: {error}") from None


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
