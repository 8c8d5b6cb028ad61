"""The compact JSON of payloads in container environments, byte for byte as the reference's encoder writes it.

Keys sorted, no spaces; ``<``, ``>``, ``&``, U+2028 and U+2029 escaped; floats as in Go. Whole numbers of up to 64 bits
keep all their digits (the reference converts them to a double and loses digits beyond 2^53). Pure.
Source: StepRun contract 8 ("JSON form"), SDK contract 2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

_ESCAPES: Final = str.maketrans(
    {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
)
_MAYBE_FLOAT: Final = re.compile(rb"[:,\[]-?\d+[.e]")
"""In compact JSON: every place where a float may be, inside an object or list; some strings match it as well."""
_CONTAINER_OR_TEXT: Final = (b"{", b"[", b'"')
_INTEGERS: Final = range(-(2**63), 2**64)
_FIRST_EXPONENT_FORM: Final = 1e21
_LAST_EXPONENT_FORM: Final = 1e-6


class NotSerializableError(ValueError):
    """The value cannot be written as JSON, e.g. a number that is infinite."""


def encode(value: Any) -> str:
    """``value`` as one line.

    Raises:
        NotSerializableError: it has a value that JSON cannot represent.
    """
    text = _without_floats(value)
    if text is None:
        try:
            text = orjson.dumps(_with_go_numbers(value), option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError as error:
            raise NotSerializableError(f"the payload cannot be written as JSON: {error}") from None
    # These characters occur inside strings only, so they may be replaced in the whole text.
    return text.decode().translate(_ESCAPES)


def _without_floats(value: Any) -> bytes | None:
    """The JSON of a value without floats, which is the library's output; ``None`` if there may be floats."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None
    if b"null" in text:  # the result for an infinite float
        return None
    return text if text.startswith(_CONTAINER_OR_TEXT) and not _MAYBE_FLOAT.search(text) else None


def _with_go_numbers(value: Any) -> Any:
    match value:
        case bool():
            return value
        case float():
            return orjson.Fragment(go_float(value).encode())
        case int() if value not in _INTEGERS:
            return orjson.Fragment(go_float(_as_double(value)).encode())
        case Mapping():
            return {key: _with_go_numbers(child) for key, child in value.items()}
        case list() | tuple():
            return [_with_go_numbers(child) for child in value]
        case _:
            return value


def go_float(value: float) -> str:
    """The shortest decimal that reads back as ``value``, with an exponent only below 1e-6 and from 1e21."""
    if not math.isfinite(value):
        raise NotSerializableError(f"the payload cannot be written as JSON: {value} is not a JSON number")
    sign = "-" if math.copysign(1, value) < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if not digits:
        return f"{sign}0"
    if not _LAST_EXPONENT_FORM <= abs(value) < _FIRST_EXPONENT_FORM:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{point - 1:+d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    return f"{sign}{digits[:point]}.{digits[point:]}"


def _as_double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise NotSerializableError(
            "the payload cannot be written as JSON: a whole number is too large for a float"
        ) from None
