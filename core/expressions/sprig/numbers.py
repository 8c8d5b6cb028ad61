"""Arithmetic: integers wrap at 64 bits; decimals are exact when the result can be. Source: templating contract 10.2."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from decimal import Context as DecimalContext
from functools import reduce
from typing import Final

from core.expressions.sprig.conversion import to_float, to_int
from core.expressions.template import values
from core.expressions.template.functions import ANY, FLOAT, INT, Context, FunctionTable
from core.expressions.template.values import Int, Int64, Value

FUNCTIONS: Final = FunctionTable()

_PRECISION: Final = DecimalContext(prec=700, rounding=ROUND_HALF_UP)  # exact for sums and products of a few float64
_QUOTIENT_STEP: Final = Decimal("1e-16")
_MOST_PLACES: Final = 308
_HALF: Final = 0.5


@FUNCTIONS.add("add", rest=ANY)
def _add(*terms: Value) -> Int64:
    return values.wrap64(sum(to_int(term) for term in terms))


@FUNCTIONS.add("add1", takes=(ANY,))
def _add1(term: Value) -> Int64:
    return values.wrap64(to_int(term) + 1)


@FUNCTIONS.add("sub", takes=(ANY, ANY))
def _sub(first: Value, second: Value) -> Int64:
    return values.wrap64(to_int(first) - to_int(second))


@FUNCTIONS.add("mul", takes=(ANY,), rest=ANY)
def _mul(first: Value, *others: Value) -> Int64:
    return reduce(lambda product, factor: values.wrap64(product * to_int(factor)), others, Int64(to_int(first)))


@FUNCTIONS.add("div", takes=(ANY, ANY))
def _div(first: Value, second: Value) -> Int64:
    return values.wrap64(_truncated(to_int(first), to_int(second)))


@FUNCTIONS.add("mod", takes=(ANY, ANY))
def _mod(first: Value, second: Value) -> Int64:
    dividend, divisor = to_int(first), to_int(second)
    return values.wrap64(dividend - _truncated(dividend, divisor) * divisor)


@FUNCTIONS.add("max", "biggest", takes=(ANY,), rest=ANY)
def _max(first: Value, *others: Value) -> Int64:
    return Int64(max(to_int(value) for value in (first, *others)))


@FUNCTIONS.add("min", takes=(ANY,), rest=ANY)
def _min(first: Value, *others: Value) -> Int64:
    return Int64(min(to_int(value) for value in (first, *others)))


@FUNCTIONS.add("maxf", takes=(ANY,), rest=ANY)
def _maxf(first: Value, *others: Value) -> float:
    """Infinity before NaN before all others; 0 is greater than -0."""
    return _extreme(max, math.inf, (first, *others))


@FUNCTIONS.add("minf", takes=(ANY,), rest=ANY)
def _minf(first: Value, *others: Value) -> float:
    return _extreme(min, -math.inf, (first, *others))


def _extreme(choose: Callable[..., float], end: float, arguments: tuple[Value, ...]) -> float:
    numbers = [to_float(argument) for argument in arguments]
    if end in numbers:
        return end
    if any(map(math.isnan, numbers)):
        return math.nan
    return choose(numbers, key=lambda number: (number, math.copysign(1.0, number)))


@FUNCTIONS.add("addf", rest=ANY)
def _addf(*terms: Value) -> float:
    return _decimal_fold(_PRECISION.add, Decimal(0), *terms)


@FUNCTIONS.add("add1f", takes=(ANY,))
def _add1f(term: Value) -> float:
    return _decimal_fold(_PRECISION.add, Decimal(1), term)


@FUNCTIONS.add("subf", takes=(ANY,), rest=ANY)
def _subf(first: Value, *others: Value) -> float:
    return _decimal_fold(_PRECISION.subtract, _decimal(first), *others)


@FUNCTIONS.add("mulf", takes=(ANY,), rest=ANY)
def _mulf(first: Value, *others: Value) -> float:
    return _decimal_fold(_PRECISION.multiply, _decimal(first), *others)


@FUNCTIONS.add("divf", takes=(ANY,), rest=ANY)
def _divf(first: Value, *others: Value) -> float:
    return _decimal_fold(_quotient, _decimal(first), *others)


@FUNCTIONS.add("ceil", takes=(ANY,))
def _ceil(value: Value) -> float:
    return _whole(math.ceil, to_float(value))


@FUNCTIONS.add("floor", takes=(ANY,))
def _floor(value: Value) -> float:
    return _whole(math.floor, to_float(value))


@FUNCTIONS.add("round", takes=(ANY, INT), rest=FLOAT)
def _round(value: Value, places: int, *threshold: float) -> float:
    """Rounds up when the signed fraction of value·10^places reaches the threshold, otherwise down."""
    number = to_float(value)
    reach = threshold[0] if threshold else _HALF
    scale = math.pow(10.0, places) if abs(places) <= _MOST_PLACES else math.inf if places > 0 else 0.0
    scaled = number * scale
    if not math.isfinite(scaled) or scale == 0:
        return math.nan if scale in (0, math.inf) else scaled
    return _whole(math.ceil if math.fmod(scaled, 1.0) >= reach else math.floor, scaled) / scale


def _whole(rounding: Callable[[float], int], number: float) -> float:
    """The rounded number, with the sign of zero kept."""
    if not math.isfinite(number):
        return number
    whole = float(rounding(number))
    return whole or math.copysign(whole, number)


@FUNCTIONS.add("randInt", takes=(INT, INT), with_context=True, deterministic=False)
def _rand_int(context: Context, low: int, high: int) -> Int:
    if high <= low:
        raise ValueError("the upper bound must be greater than the lower bound")
    return Int(context.random.randrange(low, high))


def _truncated(dividend: int, divisor: int) -> int:
    if divisor == 0:
        raise ZeroDivisionError("division by zero")
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def _decimal(value: Value) -> Decimal:
    number = to_float(value)
    if not math.isfinite(number):
        raise ValueError("NaN and infinity are not decimals")
    return Decimal(float.__repr__(number))


def _quotient(dividend: Decimal, divisor: Decimal) -> Decimal:
    if divisor == 0:
        raise ZeroDivisionError("division by zero")
    try:
        return _PRECISION.quantize(_PRECISION.divide(dividend, divisor), _QUOTIENT_STEP)
    except InvalidOperation as error:
        raise ValueError("the quotient is out of range") from error


def _decimal_fold(operate: Callable[[Decimal, Decimal], Decimal], start: Decimal, *others: Value) -> float:
    return float(reduce(operate, (_decimal(other) for other in others), start)) + 0.0  # no -0
