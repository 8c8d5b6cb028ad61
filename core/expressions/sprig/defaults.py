"""Choosing a value: defaults, the first one that is not empty, one of two. Source: templating contract 10.3."""

from __future__ import annotations

from typing import Final, NoReturn

from core.expressions.template import values
from core.expressions.template.functions import ANY, BOOL, STRING, FunctionTable
from core.expressions.template.values import Value

FUNCTIONS: Final = FunctionTable()


@FUNCTIONS.add("empty", takes=(ANY,), takes_missing=True)
def is_empty(value: Value) -> bool:
    """Nil, false, 0, an empty string, list or map."""
    return not values.is_true(value)


@FUNCTIONS.add("default", takes=(ANY,), rest=ANY, takes_missing=True)
def _default(fallback: Value, *given: Value) -> Value:
    return given[0] if given and values.is_true(given[0]) else fallback


@FUNCTIONS.add("coalesce", rest=ANY, takes_missing=True)
def _coalesce(*given: Value) -> Value:
    return next((value for value in given if values.is_true(value)), None)


@FUNCTIONS.add("all", rest=ANY, takes_missing=True)
def _all(*given: Value) -> bool:
    return all(values.is_true(value) for value in given)


@FUNCTIONS.add("any", rest=ANY, takes_missing=True)
def _any(*given: Value) -> bool:
    return any(values.is_true(value) for value in given)


@FUNCTIONS.add("ternary", takes=(ANY, ANY, BOOL), takes_missing=True)
def _ternary(yes: Value, no: Value, condition: bool) -> Value:
    return yes if condition else no


@FUNCTIONS.add("fail", takes=(STRING,))
def _fail(message: str) -> NoReturn:
    raise ValueError(message)


@FUNCTIONS.add("required", takes=(STRING, ANY), takes_missing=True)
def _required(message: str, value: Value) -> Value:
    """Helm's ``required``: the value, or an error with the message when the value is nil or an empty string."""
    if value is None or value == "":
        raise ValueError(message)
    return value
