"""Values as JSON text, byte for byte as Go's encoder writes it, and JSON text as values.

Maps have sorted keys and no spaces; floats are plain between 1e-6 and 1e21. Source: templating contract 8.2.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring
from typing import Final

import orjson

from core.expressions.limits import Meter
from core.expressions.template import printing, values
from core.expressions.template.values import GoObject, Kind, NilList, Value

_LOWEST_PLAIN: Final = 1e-6
_FIRST_SCIENTIFIC: Final = 1e21
_ALWAYS_ESCAPED: Final = str.maketrans({"\u2028": "\\u2028", "\u2029": "\\u2029"})
_HTML_ESCAPED: Final = str.maketrans(
    {"\u2028": "\\u2028", "\u2029": "\\u2029", "<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
)
_NEEDS_ESCAPES: Final = re.compile("[<>&\u2028\u2029]")
_INDENT: Final = "  "


def encode(value: Value, meter: Meter, *, html: bool = True, pretty: bool = False) -> str:
    """The JSON text of ``value``; ``html`` also escapes ``<``, ``>`` and ``&``.

    Raises:
        ValueError: NaN or infinity somewhere inside.
        LimitExceededError: the text would be longer than a function may build.
    """
    encoder = _Encoder(meter, html=html, pretty=pretty)
    encoder.add(value, 0)
    return "".join(encoder.parts)


def decode(text: str) -> Value:
    """The value of one JSON document, white space around it ignored.

    Raises:
        ValueError: not exactly one JSON document.
    """
    return orjson.loads(text.strip(" \t\r\n"))


def float_text(number: float) -> str:
    """A float64 as Go's JSON encoder writes it: ``5``, ``0.000001``, ``1e-7``, ``1e+21``.

    Raises:
        ValueError: NaN or infinity.
    """
    if printing.special_float_text(number):
        raise ValueError("JSON has no NaN and no infinity")
    sign, digits, point = printing.shortest_digits(number)
    if number != 0 and not _LOWEST_PLAIN <= abs(number) < _FIRST_SCIENTIFIC:
        text = sign + printing.scientific_text(digits, point - 1)
        return f"{text[:-2]}{text[-1]}" if text[-4:-1] == "e-0" else text
    return sign + printing.plain_text(digits, point)


class _Encoder:
    def __init__(self, meter: Meter, *, html: bool, pretty: bool) -> None:
        self.parts: list[str] = []
        self._meter = meter
        self._escapes = _HTML_ESCAPED if html else _ALWAYS_ESCAPED
        self._pretty = pretty
        self._length = 0

    def add(self, value: Value, depth: int) -> None:
        self._meter.spend(1)
        if isinstance(value, NilList):
            self._write("null")
        elif isinstance(value, list):
            self._add_list(value, depth)
        elif isinstance(value, dict):
            self._add_map(value, depth)
        else:
            self._write(self._scalar(value))

    def _scalar(self, value: Value) -> str:
        if isinstance(value, str):
            return self._string(value)
        match values.kind_of(value):
            case Kind.NIL:
                return "null"
            case Kind.BOOL:
                return "true" if value else "false"
            case Kind.INT:
                return int.__repr__(value)
            case Kind.FLOAT:
                return float_text(values.as_float(value))
            case _:
                return self._object(value)

    def _object(self, value: GoObject) -> str:
        encoded = value.json_value()
        return int.__repr__(encoded) if isinstance(encoded, int) else self._string(encoded)

    def _string(self, text: str) -> str:
        encoded = encode_basestring(values.clean_text(text))
        return encoded.translate(self._escapes) if _NEEDS_ESCAPES.search(encoded) else encoded

    def _add_list(self, items: list[Value], depth: int) -> None:
        self._write("[")
        for index, item in enumerate(items):
            self._separate(index, depth + 1)
            self.add(item, depth + 1)
        self._close("]", depth, empty=not items)

    def _add_map(self, mapping: dict[str, Value], depth: int) -> None:
        self._write("{")
        for index, key in enumerate(printing.sorted_keys(mapping)):
            self._separate(index, depth + 1)
            self._write(self._string(key) + (": " if self._pretty else ":"))
            self.add(mapping[key], depth + 1)
        self._close("}", depth, empty=not mapping)

    def _separate(self, index: int, depth: int) -> None:
        if index:
            self._write(",")
        if self._pretty:
            self._write("\n" + _INDENT * depth)

    def _close(self, mark: str, depth: int, *, empty: bool) -> None:
        self._write(mark if empty or not self._pretty else "\n" + _INDENT * depth + mark)

    def _write(self, text: str) -> None:
        self._length += len(text)
        if self._length > self._meter.limits.text_bytes:
            self._meter.admit_text(self._length)
        self.parts.append(text)
