"""The canonical JSON encoding, which determines sizes, hashes and stored bytes.

Compact, keys sorted bytewise. ``<`` ``>`` ``&`` U+2028 U+2029 are escaped, other text is UTF-8. Floats are printed as
Go prints them (``42``, not ``42.0``). Integers keep all digits. Source: SDK contract 2, StepRun contract 8.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any

_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class NotJsonError(TypeError):
    """*user*: a value cannot be written as JSON. ``path`` is its position, dotted; it is empty for the root."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path or 'value'}: {reason}")
        self.path = path


def encode(value: Any) -> bytes:
    """The canonical bytes of a JSON-like value (mappings with string keys, lists, tuples, scalars).

    Raises:
        NotJsonError: a key is not a string, a float is not finite, or a value is of another type.
    """
    return encode_text(value).encode()


def encode_text(value: Any, path: str = "") -> str:
    """``encode`` as a string; error messages prefix their path with ``path``."""
    parts: list[str] = []
    _append(value, path, parts)
    return "".join(parts)


def encode_string(text: str) -> str:
    """One JSON string, quotes included."""
    quoted = encode_basestring(text)
    return _UNSAFE.sub(_escape, quoted) if _UNSAFE.search(quoted) else quoted


def _append(value: Any, path: str, parts: list[str]) -> None:
    if isinstance(value, str):
        parts.append(encode_string(value))
    elif isinstance(value, Mapping):
        _append_mapping(value, path, parts)
    elif isinstance(value, (list, tuple)):
        parts.append("[")
        for index, item in enumerate(value):
            if index:
                parts.append(",")
            _append(item, f"{path}[{index}]", parts)
        parts.append("]")
    else:
        parts.append(_scalar(value, path))


def _append_mapping(value: Mapping[Any, Any], path: str, parts: list[str]) -> None:
    for key in value:
        if not isinstance(key, str):
            raise NotJsonError(path, f"the key {key!r} is {type(key).__name__}; JSON keys must be strings")
    parts.append("{")
    for index, key in enumerate(sorted(value)):
        if index:
            parts.append(",")
        parts.append(encode_string(key))
        parts.append(":")
        _append(value[key], f"{path}.{key}" if path else key, parts)
    parts.append("}")


def _scalar(value: Any, path: str) -> str:
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float(value, path)
    raise NotJsonError(path, f"{type(value).__name__} cannot be written as JSON")


def _float(value: float, path: str) -> str:
    if not math.isfinite(value):
        raise NotJsonError(path, f"{value!r} cannot be written as JSON")
    text = float.__repr__(value)
    magnitude = abs(value)
    if magnitude == 0 or 1e-6 <= magnitude < 1e21:
        if "e" in text:
            from decimal import Decimal

            text = format(Decimal(text), "f")
        return text.removesuffix(".0")
    mantissa, _, exponent = text.partition("e")
    sign = "-" if exponent.startswith("-") else "+"
    return f"{mantissa.removesuffix('.0')}e{sign}{exponent.lstrip('+-').lstrip('0')}"


def _escape(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0], "\ufffd")
