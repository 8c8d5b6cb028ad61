"""Which parts of a value go to the object store, so that what remains stays small. Pure.

It plans all objects first; the caller writes them, and publishes the remaining value last. So each stored object has
a reference, and each reference an object. Sizes are those of the canonical JSON. Source: SDK contract 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bubu_contract.references import STORAGE_CONTENT_TYPE, STORAGE_REFERENCE
from core.api.canonical import encode
from core.expressions.paths import has_reference, is_reference
from core.payloads.address import ObjectPlace, content_key

MAX_MIXED_BYTES: Final = 256 * 1024
"""A list or object that is larger, although its large parts are stored, is stored as a whole."""


@dataclass(frozen=True, slots=True)
class OffloadBounds:
    """What may stay inline.

    Attributes:
        total_bytes: size of the whole value, at least ``inline_bytes``. A smaller value stays as it is. If the
            remaining value is larger, one reference replaces it.
        inline_bytes: size of one part of a value that is larger: of a string, of a list or object without stored parts.
        depth: nesting; what is nested deeper is stored.
    """

    total_bytes: int
    inline_bytes: int
    depth: int = 32


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """One object to store."""

    key: str
    content: bytes


@dataclass(frozen=True, slots=True)
class OffloadPlan:
    """``remaining``: the value with references. ``objects`` must be stored before it is published."""

    remaining: Any
    objects: tuple[PlannedObject, ...] = ()


def plan(value: Any, place: ObjectPlace, bounds: OffloadBounds) -> OffloadPlan:
    """
    Raises:
        NotJsonError: ``value`` has a part that JSON cannot represent.
        PayloadError: ``place`` is not safe.
    """
    if size_bytes(value) <= bounds.total_bytes:
        return OffloadPlan(value)
    planner = _Planner(place, bounds)
    planned = planner.part(value, (), 0)
    if size_bytes(planned.remaining) <= bounds.total_bytes or is_reference(planned.remaining):
        return planned
    whole = planner.stored(planned.remaining, (place.folder.removesuffix("s"),), "json")
    return OffloadPlan(whole.remaining, (*planned.objects, *whole.objects))


def size_bytes(value: Any) -> int:
    """Size of the canonical JSON."""
    text = encode(value)
    return len(text) if text.isascii() else len(text.encode())


class _Planner:
    def __init__(self, place: ObjectPlace, bounds: OffloadBounds) -> None:
        self._place = place
        self._bounds = bounds

    def part(self, value: Any, path: tuple[str | int, ...], depth: int) -> OffloadPlan:
        """``value``, which is larger than ``inline_bytes``."""
        if isinstance(value, str):
            too_large = len(value.encode(errors="replace")) > self._bounds.inline_bytes
            return self.stored(value, path, "raw") if too_large else OffloadPlan(value)
        if is_reference(value):
            return OffloadPlan(value)
        if not isinstance(value, Mapping | list) or depth >= self._bounds.depth:
            return self.stored(value, path, "json")
        parts = {
            key: self.part(child, (*path, key), depth + 1)
            for key, child in _items(value)
            if size_bytes(child) > self._bounds.inline_bytes
        }
        remaining = _with(value, {key: part.remaining for key, part in parts.items()})
        if not any(part.objects for part in parts.values()) and not has_reference(value):
            return self.stored(value, path, "json")
        if size_bytes(remaining) > MAX_MIXED_BYTES:
            return self.stored(value, path, "json")
        return OffloadPlan(remaining, tuple(each for part in parts.values() for each in part.objects))

    def stored(self, value: Any, path: tuple[str | int, ...], kind: str) -> OffloadPlan:
        """``kind``: ``json``, or ``raw`` for a string."""
        content = wrapped(value, kind)
        key = content_key(self._place, path, content)
        content_type = "text/plain" if kind == "raw" else "application/json"
        reference = {STORAGE_REFERENCE: key, STORAGE_CONTENT_TYPE: content_type}
        return OffloadPlan(reference, (PlannedObject(key, content),))


def wrapped(value: Any, kind: str) -> bytes:
    """The bytes of a stored object: ``{"contentType":"json","data":…}``. Source: SDK contract 2."""
    return f'{{"contentType":"{kind}","data":{encode(value)}}}'.encode()


def _items(value: Mapping[str, Any] | list[Any]) -> Iterable[tuple[str | int, Any]]:
    return value.items() if isinstance(value, Mapping) else enumerate(value)


def _with(value: Mapping[str, Any] | list[Any], changed: Mapping[str | int, Any]) -> Any:
    if isinstance(value, Mapping):
        return {**value, **changed}
    return [changed.get(index, child) for index, child in enumerate(value)]
