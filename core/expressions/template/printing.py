"""Values as text, the way Go prints them (``%v``): action output, ``print``, ``toString``, ``join``.

Source: templating contract 8.1.
"""

from __future__ import annotations

from typing import Final

from core.expressions.limits import Meter
from core.expressions.ordering import ordered
from core.expressions.template import values
from core.expressions.template.values import Int, Int64, Value, ValueKind

NO_VALUE: Final = "<no value>"
NIL: Final = "<nil>"

_FIRST_SCIENTIFIC_EXPONENT: Final = 6
_LOWEST_PLAIN_EXPONENT: Final = -4
_INTEGERS: Final = frozenset({Int, Int64})


def output_text(value: Value, meter: Meter) -> str:
    """The output of ``{{ value }}``."""
    return NO_VALUE if value is None or value is values.ABSENT else default_text(value, meter)


def default_text(value: Value, meter: Meter) -> str:
    """``%v`` of ``value``; nil is ``<nil>``.

    Raises:
        LimitExceededError: the text would be longer than a function may build.
    """
    if isinstance(value, str):
        return value
    if type(value) in _INTEGERS:
        return int.__repr__(value)
    if not isinstance(value, (list, dict)):
        return scalar_text(value)
    parts: list[str] = []
    _Collector(meter, parts).add(value)
    return "".join(parts)


def scalar_text(value: Value) -> str:
    """``%v`` of any value except a list or map."""
    match values.kind_of(value):
        case ValueKind.NIL:
            return NIL
        case ValueKind.BOOL:
            return "true" if value else "false"
        case ValueKind.INT:
            return int.__repr__(value)
        case ValueKind.FLOAT:
            return float_text(values.as_float(value))
        case _:
            return str(value)


def float_text(number: float) -> str:
    """``%v`` of a float64: shortest digits; scientific below 1e-4 and from 1e+06."""
    special = special_float_text(number)
    if special:
        return special
    sign, digits, point = shortest_digits(number)
    exponent = point - 1
    if exponent < _LOWEST_PLAIN_EXPONENT or exponent >= _FIRST_SCIENTIFIC_EXPONENT:
        return sign + scientific_text(digits, exponent)
    return sign + plain_text(digits, point)


def special_float_text(number: float) -> str:
    """``+Inf``, ``-Inf`` or ``NaN``; empty for a finite number."""
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "+Inf" if number > 0 else "-Inf"
    return ""


def shortest_digits(number: float) -> tuple[str, str, int]:
    """Sign, shortest round-trip digits and the position of the decimal point before, inside or behind them.

    >>> shortest_digits(-0.0125)
    ('-', '125', -1)
    """
    text = float.__repr__(number)
    sign = "-" if text.startswith("-") else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0)
    if not digits:
        return sign, "0", 1
    point -= len(whole + fraction) - len(digits)
    return sign, digits.rstrip("0") or "0", point


def plain_text(digits: str, point: int) -> str:
    """The digits with their decimal point, without a trailing one."""
    if point <= 0:
        return "0." + "0" * -point + digits if digits != "0" else "0"
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


def scientific_text(digits: str, exponent: int) -> str:
    """``d.ddde±XX``, at least two exponent digits."""
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


class _Collector:
    """Prints nested values and counts them, so that shared sub-lists cannot grow without limit."""

    def __init__(self, meter: Meter, parts: list[str]) -> None:
        self._meter = meter
        self._parts = parts
        self._length = 0
        self._allowed = meter.limits.text_bytes

    def add(self, value: Value) -> None:
        self._meter.spend(1)
        if isinstance(value, list):
            self._add_list(value)
        elif isinstance(value, dict):
            self._add_map(value)
        else:
            self._write(value if isinstance(value, str) else scalar_text(value))

    def _add_list(self, items: list[Value]) -> None:
        self._write("[")
        for index, item in enumerate(items):
            if index:
                self._write(" ")
            self.add(item)
        self._write("]")

    def _add_map(self, mapping: dict[str, Value]) -> None:
        self._write("map[")
        self._meter.foresee(len(mapping))
        for index, key in enumerate(sorted_keys(mapping)):
            self._write(f" {key}:" if index else f"{key}:")
            self.add(mapping[key])
        self._write("]")

    def _write(self, text: str) -> None:
        self._length += len(text)
        if self._length > self._allowed:
            self._meter.admit_text(self._length)
        self._parts.append(text)


def sorted_keys(mapping: dict[str, Value]) -> list[str]:
    """Keys in bytewise order; all functions here iterate over a map in this order."""
    return ordered(mapping)  # code point order is UTF-8 byte order
