"""Values as JSON text, byte for byte as Go's encoder writes it; and JSON text as values.

Maps have sorted keys and no spaces; floats are plain between 1e-6 and 1e21. Source: templating contract 8.2.
"""

from __future__ import annotations

import json
import math
import re
from json.encoder import encode_basestring
from typing import Final

import orjson

from core.expressions.limits import Meter
from core.expressions.template import printing, values
from core.expressions.template.values import GoObject, Value, ValueKind

_LOWEST_PLAIN: Final = 1e-6
_FIRST_SCIENTIFIC: Final = 1e21
_ALWAYS_ESCAPED: Final = str.maketrans({"\u2028": "\\u2028", "\u2029": "\\u2029"})
_HTML_ESCAPED: Final = str.maketrans(
    {"\u2028": "\\u2028", "\u2029": "\\u2029", "<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
)
_NEEDS_ESCAPES: Final = re.compile("[<>&\u2028\u2029]")
_HALF: Final = re.compile("[\ud800-\udfff]")
_INDENT: Final = "  "


def encode(value: Value, meter: Meter, *, html: bool = True, pretty: bool = False) -> str:
    """The JSON text of ``value``; ``html`` also escapes ``<``, ``>`` and ``&``.

    Raises:
        ValueError: NaN or infinity is somewhere inside.
        LimitExceededError: the text would be longer than a function may build.
    """
    encoder = _Encoder(meter, html=html, pretty=pretty)
    encoder.add(value, 0)
    return "".join(encoder.parts)


def decode(text: str) -> Value:
    """The value of one JSON document; white space around it is ignored.

    Raises:
        ValueError: not exactly one JSON document.
    """
    document = values.clean_text(text.strip(" \t\r\n"))
    try:
        value = orjson.loads(document)
    except ValueError:
        if "\\u" not in document:
            raise
        return _without_halves(_loads(document))  # orjson refuses half of a surrogate pair, and Go replaces it
    return _loads(document) if "-0" in document else value


def _loads(document: str) -> Value:
    """A document, parsed by Python's decoder because of a negative zero: orjson reads an integer, and Go reads a
    float64.

    Raises:
        ValueError: not JSON.
    """
    try:
        return json.loads(
            document,
            parse_int=lambda digits: -0.0 if digits == "-0" else int(digits),
            parse_float=_finite,
            parse_constant=_finite,
        )
    except RecursionError as error:
        raise ValueError("the document is nested too deeply") from error


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isfinite(number):
        return number
    raise ValueError("a number is beyond the range of numbers")


def _without_halves(value: Value) -> Value:
    if isinstance(value, str):
        return _HALF.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_without_halves(item) for item in value]
    if isinstance(value, dict):
        return {_without_halves(key): _without_halves(item) for key, item in value.items()}
    return value


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
        self._allowed = meter.limits.text_bytes

    def add(self, value: Value, depth: int) -> None:
        self._meter.spend(1)
        if values.is_nil_list(value):
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
            case ValueKind.NIL:
                return "null"
            case ValueKind.BOOL:
                return "true" if value else "false"
            case ValueKind.INT:
                return int.__repr__(value)
            case ValueKind.FLOAT:
                return float_text(values.as_float(value))
            case _:
                return self._object(value)

    def _object(self, value: GoObject) -> str:
        encoded = value.json_value()
        return int.__repr__(encoded) if isinstance(encoded, int) else self._string(encoded)

    def _string(self, text: str) -> str:
        encoded = encode_basestring(text)
        if not text.isascii():
            encoded = values.STRAY_BYTE.sub(r"\\ufffd", values.from_bytes(values.to_bytes(encoded)))
        return encoded.translate(self._escapes) if _NEEDS_ESCAPES.search(encoded) else encoded

    def _add_list(self, items: list[Value], depth: int) -> None:
        self._write("[")
        for index, item in enumerate(items):
            self._separate(index, depth + 1)
            self.add(item, depth + 1)
        self._close("]", depth, empty=not items)

    def _add_map(self, mapping: dict[str, Value], depth: int) -> None:
        self._write("{")
        self._meter.foresee(len(mapping))
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
        if self._length > self._allowed:
            self._meter.admit_text(self._length)
        self.parts.append(text)
