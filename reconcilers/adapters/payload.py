"""The compact JSON of payloads in container environments, byte for byte as the reference's encoder writes it.

Keys sorted, no spaces, ``<``, ``>``, ``&``, U+2028 and U+2029 escaped, integral floats below 1e21 without a point.
Source: StepRun contract 8 ("JSON form"), storage contract 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

_ESCAPES: Final = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}
_TABLE: Final = str.maketrans(_ESCAPES)


def encode(value: Mapping[str, Any]) -> str:
    """``value`` as one line; the escaped characters occur in strings only, so the whole text may be translated."""
    text = orjson.dumps(_plain_numbers(value), option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
    return text.translate(_TABLE)


def _plain_numbers(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case Mapping():
            return {key: _plain_numbers(child) for key, child in value.items()}
        case list() | tuple():
            return [_plain_numbers(child) for child in value]
        case _:
            return value
