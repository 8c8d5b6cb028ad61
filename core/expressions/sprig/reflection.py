"""Types of values, and deep equality. Source: templating contract 10.3."""

from __future__ import annotations

from typing import Final

from core.expressions.limits import Meter
from core.expressions.template import values
from core.expressions.template.functions import ANY, STRING, Context, FunctionTable
from core.expressions.template.values import Value

FUNCTIONS: Final = FunctionTable()

_COMPARISON: Final = 2  # ticks


@FUNCTIONS.add("typeOf", takes=(ANY,), takes_missing=True)
def _type_of(value: Value) -> str:
    return values.type_name(value)


@FUNCTIONS.add("kindOf", takes=(ANY,), takes_missing=True)
def _kind_of(value: Value) -> str:
    return values.kind_name(value)


@FUNCTIONS.add("typeIs", takes=(STRING, ANY), takes_missing=True)
def _type_is(name: str, value: Value) -> bool:
    return name == values.type_name(value)


@FUNCTIONS.add("typeIsLike", takes=(STRING, ANY), takes_missing=True)
def _type_is_like(name: str, value: Value) -> bool:
    return values.type_name(value) in (name, f"*{name}")


@FUNCTIONS.add("kindIs", takes=(STRING, ANY), takes_missing=True)
def _kind_is(name: str, value: Value) -> bool:
    return name == values.kind_name(value)


@FUNCTIONS.add("deepEqual", takes=(ANY, ANY), with_context=True, takes_missing=True)
def _deep_equal(context: Context, first: Value, second: Value) -> bool:
    return deep_equal(first, second, context.meter)


def deep_equal(first: Value, second: Value, meter: Meter) -> bool:
    """Same types and same values on all levels: an int never equals a float."""
    meter.spend(_COMPARISON)
    if type(first) is not type(second) and values.type_name(first) != values.type_name(second):
        return False
    if isinstance(first, list):
        if len(first) != len(second) or values.is_nil_list(first) is not values.is_nil_list(second):
            return False
        return all(deep_equal(mine, other, meter) for mine, other in zip(first, second, strict=True))
    if isinstance(first, dict):
        if first.keys() != second.keys():
            return False
        return all(deep_equal(item, second[key], meter) for key, item in first.items())
    if isinstance(first, (int, float)) and not isinstance(first, (bool, values.Int)):
        return values.as_float(first) == values.as_float(second)
    return bool(first == second)
