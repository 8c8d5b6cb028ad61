"""What a value looks like, without the value: types, names of fields, sizes and digests. Pure."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

_DEEPEST: Final = 6
_MOST_FIELDS: Final = 40
_MARK: Final = "leftOut"


def shape_of(value: Any, key: bytes) -> Any:
    """The shape of ``value``: lists have the shape of their first item.

    Args:
        key: digests of equal values are equal under the same key. Without the key nobody can find the value by trying,
            so it must be random and forgotten afterwards.
    """
    return {_MARK: "data", "bytes": len(_text(value)), "digest": _digest(value, key), "shape": _shape(value, key, 0)}


def left_out(value: Any, why: str) -> str:
    """A short text in place of a value."""
    return f"[{why}, {len(_text(value))} bytes]"


def _shape(value: Any, key: bytes, depth: int) -> Any:
    match value:
        case None | bool():
            return "null" if value is None else "boolean"
        case int() | float():
            return "number"
        case str():
            return f"string, {len(value.encode())} bytes, {_digest(value, key)}"
        case Mapping():
            if depth >= _DEEPEST:
                return f"object, {len(value)} fields"
            shown = {str(name)[:100]: _shape(each, key, depth + 1) for name, each in list(value.items())[:_MOST_FIELDS]}
            return shown | ({"...": f"{len(value) - _MOST_FIELDS} more"} if len(value) > _MOST_FIELDS else {})
        case list() | tuple():
            items = {"items": len(value)}
            return {**items, "first": _shape(value[0], key, depth + 1)} if value and depth < _DEEPEST else items
        case _:
            return type(value).__name__


def _digest(value: Any, key: bytes) -> str:
    return hmac.digest(key, _text(value), "sha256").hex()[:12]


def _text(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, sort_keys=True, default=str).encode()
