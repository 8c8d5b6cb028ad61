"""Any value to a number or a string, by Sprig's lenient rules: a value that cannot be read becomes 0.

Source: templating contract 10, "number conversion rules", and 10.2.
"""

from __future__ import annotations

import re
from typing import Final

from core.expressions.template import printing, values
from core.expressions.template.functions import ANY, STRING, Context, FunctionTable
from core.expressions.template.literals import parse_float, parse_number
from core.expressions.template.values import GoObject, Int, Int64, Strings, Value, ValueKind

FUNCTIONS: Final = FunctionTable()

_INTEGER: Final = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO]?(?:_?[0-7])+|0|[1-9](?:_?[0-9])*)"
)
_DECIMAL_WITH_POINT: Final = re.compile(r"([+-]?[0-9]+)\.[0-9]*")
_PLAIN_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_MOST_DIGITS: Final = 20  # more do not fit into 64 bits, except leading zeros
_INT64: Final = range(-(1 << 63), 1 << 63)


def to_int(value: Value) -> int:
    """``value`` as a 64-bit integer; 0 when it has no such form."""
    match values.kind_of(value):
        case ValueKind.BOOL | ValueKind.INT:
            return int(value)
        case ValueKind.FLOAT:
            number = values.as_float(value)
            return int(number) if number == number and abs(number) < float(_INT64.stop) else _INT64.start
        case ValueKind.STRING:
            return _read_int(value)
        case _:
            return _of_name(value)


def to_float(value: Value) -> float:
    """``value`` as a float64; 0 when it has no such form."""
    match values.kind_of(value):
        case ValueKind.BOOL | ValueKind.INT | ValueKind.FLOAT:
            return values.as_float(value)
        case ValueKind.STRING:
            return parse_float(value) or 0.0
        case _:
            return float(_of_name(value))


def read_decimal(text: str) -> int:
    """The integer in ``text``, in base 10; 0 when there is none.

    Beyond 64 bits it is the nearest number, as in Go, whose parser also returns an error that Sprig ignores.
    """
    if not _PLAIN_INTEGER.fullmatch(text):
        return 0
    sign, digits = text[:1] if text[0] in "+-" else "", text.lstrip("+-").lstrip("0")
    number = int(f"{sign}0{digits[:_MOST_DIGITS]}")
    return min(max(number, _INT64.start), _INT64.stop - 1)


def to_texts(value: Value, context: Context) -> Strings:
    """The items of a list as strings, without nil items; a scalar as the only item; no items for nil."""
    if value is None:
        return Strings()
    items = value if isinstance(value, list) else [value]
    context.meter.admit_items(len(items))
    return Strings(printing.default_text(item, context.meter) for item in items if item is not None)


@FUNCTIONS.add("int", takes=(ANY,))
def _int(value: Value) -> Int:
    return Int(values.wrap64(to_int(value)))


@FUNCTIONS.add("int64", takes=(ANY,))
def _int64(value: Value) -> Int64:
    return values.wrap64(to_int(value))


@FUNCTIONS.add("float64", takes=(ANY,))
def _float64(value: Value) -> float:
    return to_float(value)


@FUNCTIONS.add("atoi", takes=(STRING,))
def _atoi(text: str) -> Int:
    return Int(read_decimal(text))


@FUNCTIONS.add("toDecimal", takes=(ANY,), with_context=True)
def _to_decimal(context: Context, value: Value) -> Int64:
    digits = printing.default_text(value, context.meter)
    return Int64(int(digits, 8)) if re.fullmatch(r"[+-]?[0-7]{1,21}", digits) else Int64(0)


@FUNCTIONS.add("toString", takes=(ANY,), with_context=True)
def _to_string(context: Context, value: Value) -> str:
    return printing.default_text(value, context.meter)


@FUNCTIONS.add("toStrings", takes=(ANY,), with_context=True)
def _to_strings(context: Context, value: Value) -> Strings:
    return to_texts(value, context)


def _of_name(value: Value) -> int:
    """The number of a month or a weekday; 0 for other values."""
    return (value.number or 0) if isinstance(value, GoObject) else 0


def _read_int(text: str) -> int:
    with_point = _DECIMAL_WITH_POINT.fullmatch(text)
    digits = with_point[1] if with_point else text
    if not _INTEGER.fullmatch(digits):
        return 0
    try:
        whole = parse_number(digits).whole
    except ValueError:
        return 0
    return whole if whole is not None and whole in _INT64 else 0
