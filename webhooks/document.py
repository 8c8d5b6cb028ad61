"""Reads the bytes of a body into JSON values that are safe to walk through.

The parser refuses ``NaN``, infinite numbers, lone surrogates and bytes that are not UTF-8. Nesting is bounded far below
the recursion limit. The number of values is bounded before anything is parsed, because one byte can become a hundred. A
key that occurs twice is refused, because two readers could use different values. Pure.
"""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

MAX_DEPTH: Final = 254
"""Nesting of lists and objects; the maximum that orjson can write."""
MAX_CHECKED_BYTES: Final = 256 << 10
"""Size up to which a body that is not compact is searched for duplicate keys."""

_GO_ESCAPES: Final = ((b"\\u003c", b"<"), (b"\\u003e", b">"), (b"\\u0026", b"&"))


class UnreadableError(ValueError):
    """The body cannot be read; the message is one sentence for its sender and repeats nothing of the body: *user*."""


def read(raw: bytes, max_values: int) -> dict[str, Any]:
    """The JSON object in ``raw``.

    Raises:
        UnreadableError: it is not a JSON object, or not a safe one.
    """
    if not raw.strip():
        raise UnreadableError("the body is empty; send a review as JSON")
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > max_values:
        raise UnreadableError(f"the body has more than {max_values} values; make the object smaller")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"the body is not valid JSON: {error.msg}, at byte {error.pos}") from None
    try:
        compact = orjson.dumps(value)
    except TypeError:
        raise UnreadableError(f"the body is nested deeper than {MAX_DEPTH} levels; flatten it") from None
    if not isinstance(value, dict):
        raise UnreadableError("the body must be a JSON object; send a review")
    _refuse_doubles(raw, len(compact))
    return value


def _refuse_doubles(raw: bytes, compact_bytes: int) -> None:
    """Refuse duplicate keys. Compact JSON that is not longer than its parsed content cannot have any."""
    if len(raw) <= compact_bytes:
        return
    plain = raw.strip()
    for escaped, character in _GO_ESCAPES:
        plain = plain.replace(escaped, character)
    if len(plain) <= compact_bytes:
        return
    if len(raw) > MAX_CHECKED_BYTES:
        return  # API servers never write a key twice, and no other client's review has an effect
    try:
        json.loads(raw, object_pairs_hook=_without_doubles)
    except RecursionError:
        raise UnreadableError(f"the body is nested deeper than {MAX_DEPTH} levels; flatten it") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) != len({key for key, _ in pairs}):
        raise UnreadableError("the body has an object in which a key occurs twice; remove one of them")
