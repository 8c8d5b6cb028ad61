"""Go literals: strings, characters and numbers, from source text to values.

Every function raises ``ValueError`` with a message for the author of the template. Source: templating contract 7.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from core.expressions.template import values

_SIMPLE_ESCAPES: Final = {
    "a": b"\a",
    "b": b"\b",
    "f": b"\f",
    "n": b"\n",
    "r": b"\r",
    "t": b"\t",
    "v": b"\v",
    "\\": b"\\",
}
_ESCAPE: Final = re.compile(
    r"\\(?:(?P<simple>[abfnrtv\\'\"])|(?P<octal>[0-7]{3})|x(?P<hex>[0-9a-fA-F]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<bad>.|\Z))",
    re.DOTALL,
)
_DECIMAL: Final = re.compile(r"0|[1-9](?:_?[0-9])*")
_OCTAL: Final = re.compile(r"0[oO]?(?:_?[0-7])+")
_HEX: Final = re.compile(r"0[xX](?:_?[0-9a-fA-F])+")
_BINARY: Final = re.compile(r"0[bB](?:_?[01])+")
_DECIMAL_FLOAT: Final = re.compile(
    r"(?:[0-9](?:_?[0-9])*\.?(?:[0-9](?:_?[0-9])*)?|\.[0-9](?:_?[0-9])*)(?:[eE][+-]?[0-9]+)?"
)
_HEX_FLOAT: Final = re.compile(r"0[xX](?:_?[0-9a-fA-F])*\.?(?:[0-9a-fA-F](?:_?[0-9a-fA-F])*)?[pP][+-]?[0-9]+")
_INT64: Final = range(-(1 << 63), 1 << 63)
_UINT64_END: Final = 1 << 64
_LAST_CODE_POINT: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)
_MAX_BYTE: Final = 0xFF
_MAX_NUMBER_CHARACTERS: Final = 400  # Python refuses to convert thousands of digits; no number needs so many


@dataclass(frozen=True, slots=True)
class NumberValue:
    """The possible values of a number literal: an integer, a float, or either.

    ``whole`` is set when the value is integral; ``real`` is its float form. ``is_float`` says which of the two is the
    default, when the context does not decide.
    """

    whole: int | None
    real: float
    is_float: bool


def unquote(text: str) -> str:
    """The value of a double-quoted or back-quoted literal, quotes included in ``text``."""
    if text.startswith("`"):
        return text[1:-1].replace("\r", "")
    return _unescape(text[1:-1], '"')


def unquote_key(text: str) -> str:
    """The value of a single-quoted subscript key; like a string literal, with ``\\'`` instead of ``\\"``."""
    return _unescape(text[1:-1], "'")


def unquote_character(text: str) -> int:
    """The code point of a character constant such as ``'a'`` or ``'\\n'``."""
    body = text[1:-1]
    escape = _ESCAPE.fullmatch(body)
    if escape and (digits := escape["octal"] or escape["hex"]):
        code = int(digits, 8 if escape["octal"] else 16)
        if code <= _MAX_BYTE:
            return code
    value = _unescape(body, "'")
    if len(value) != 1:
        raise ValueError(f"{text} is not one character; write a string in double quotes")
    return ord(value)


def parse_number(text: str) -> NumberValue:
    """The value of a number literal."""
    if len(text) > _MAX_NUMBER_CHARACTERS:
        raise ValueError("a number literal has too many digits")
    if text.endswith("i") and not text.lower().startswith(("0x", "+0x", "-0x")):
        raise ValueError(f"complex numbers such as {text} are not supported")
    sign = -1 if text.startswith("-") else 1
    body = text.lstrip("+-") if text[:1] in "+-" else text
    whole = _parse_integer(body)
    if whole is not None:
        if not _INT64.start <= sign * whole < _UINT64_END:
            raise ValueError(f"{text} does not fit into 64 bits")
        return NumberValue(sign * whole, float(sign * whole), is_float=False)
    real = _parse_float(body)
    if real is None:
        raise ValueError(f"{text} is not a number")
    if not any(mark in text for mark in ".eEpP"):
        raise ValueError(f"{text} is not an integer; a leading 0 means octal")
    if real == float("inf"):
        raise ValueError(f"{text} is beyond the range of numbers")
    real *= sign
    integral = real.is_integer() and int(real) in _INT64
    return NumberValue(int(real) if integral else None, real, is_float=True)


def parse_float(text: str) -> float | None:
    """The float in ``text``, as ``strconv.ParseFloat`` reads it; ``None`` when it is not a float."""
    sign = -1.0 if text.startswith("-") else 1.0
    body = text[1:] if text[:1] in ("+", "-") else text
    if len(text) > _MAX_NUMBER_CHARACTERS:
        return None
    if body.lower() in ("inf", "infinity"):
        return sign * float("inf")
    if text.lower() == "nan":
        return float("nan")
    real = _parse_float(body)
    return None if real is None else sign * real


def _parse_integer(body: str) -> int | None:
    digits = body.replace("_", "")
    if _DECIMAL.fullmatch(body):
        return int(digits)
    if _HEX.fullmatch(body):
        return int(digits, 16)
    if _BINARY.fullmatch(body):
        return int(digits, 2)
    if _OCTAL.fullmatch(body):
        return int(digits.lstrip("0").lstrip("oO") or "0", 8)
    return None


def _parse_float(body: str) -> float | None:
    if _DECIMAL_FLOAT.fullmatch(body):
        return float(body.replace("_", ""))
    if _HEX_FLOAT.fullmatch(body):
        try:
            return float.fromhex(body.replace("_", ""))
        except (ValueError, OverflowError):
            return None
    return None


def _unescape(body: str, quote: str) -> str:
    if "\\" not in body:
        return body
    parts: list[bytes] = []
    position = 0
    for escape in _ESCAPE.finditer(body):
        parts.append(values.to_bytes(body[position : escape.start()]))
        parts.append(_escaped_bytes(escape, quote))
        position = escape.end()
    parts.append(values.to_bytes(body[position:]))
    return values.from_bytes(b"".join(parts))


def _escaped_bytes(escape: re.Match[str], quote: str) -> bytes:
    if simple := escape["simple"]:
        if simple in "'\"":
            if simple == quote:
                return simple.encode()
        else:
            return _SIMPLE_ESCAPES[simple]
    elif digits := escape["octal"] or escape["hex"]:
        code = int(digits, 8 if escape["octal"] else 16)
        if code <= _MAX_BYTE:
            return bytes([code])
    elif digits := escape["short"] or escape["long"]:
        code = int(digits, 16)
        if code <= _LAST_CODE_POINT and code not in _SURROGATES:
            return chr(code).encode()
    raise ValueError(f"{escape[0]!r} is not an escape; write a backslash as \\\\")
