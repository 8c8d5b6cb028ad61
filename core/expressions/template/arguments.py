"""Arguments of calls: the types that parameters accept, and the errors of a call. Source: templating contract 7.3."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from core.expressions.errors import EvaluationError, ExpressionError, Fault
from core.expressions.limits import Meter
from core.expressions.template import nodes, values
from core.expressions.template.functions import Function, Parameter
from core.expressions.template.values import ABSENT, Int, StringMap, Value, ValueKind

CALL_FAILURES: Final = (ExpressionError, ValueError, ArithmeticError, RecursionError)
"""The errors that a function may raise."""
TYPED_BY_PARAMETER: Final = (Parameter.INT, Parameter.FLOAT, Parameter.DURATION)
"""Parameters that determine the type of a number literal."""

TAKES_NIL: Final[dict[Parameter, Callable[[], Value]]] = {Parameter.MAP: dict, Parameter.VERSION: lambda: None}
"""Types that have a nil in Go, with the value that stands for it here."""

_INT64: Final = range(-(1 << 63), 1 << 63)


def check_argument(value: Value, parameter: Parameter, function: str, offset: int) -> Value:
    """``value`` if the parameter accepts it.

    Raises:
        EvaluationError: it does not accept it; ``ARGUMENT_TYPE``.
    """
    if value is ABSENT:
        if parameter in TAKES_NIL:  # a nil from a pipeline becomes the nil of the type
            return TAKES_NIL[parameter]()
        value = None
    accepted = False
    match parameter:
        case Parameter.ANY:
            accepted = True
        case Parameter.STRING:
            accepted = isinstance(value, str)
        case Parameter.INT:
            accepted = type(value) is Int
        case Parameter.FLOAT:
            accepted = values.kind_of(value) is ValueKind.FLOAT
            value = values.as_float(value) if accepted else value
        case Parameter.BOOL:
            accepted = isinstance(value, bool)
        case Parameter.MAP:
            accepted = isinstance(value, dict) and not isinstance(value, StringMap)
        case Parameter.TIME:
            accepted = values.type_name(value) == "time.Time"
        case Parameter.DURATION:
            accepted = values.type_name(value) == "time.Duration"
        case Parameter.VERSION:
            accepted = values.type_name(value) == "*semver.Version"
    if accepted:
        return value
    wanted = parameter.name.lower()
    found = "no value" if value is None else values.type_name(value)
    remedy = _CONVERSIONS.get(parameter, "")
    raise EvaluationError(
        f"{function} needs {wanted}, not {found}",
        fault=Fault.ARGUMENT_TYPE,
        subject=function,
        offset=offset,
        remedy=remedy,
    )


_CONVERSIONS: Final = {
    Parameter.STRING: "convert with toString, or give a default",
    Parameter.INT: "convert with int",
    Parameter.FLOAT: "convert with float64",
}


def literal_argument(parameter: Parameter, function: str, number: nodes.Number) -> Value:
    """A number literal as one of ``TYPED_BY_PARAMETER``.

    Raises:
        EvaluationError: it does not fit the type; ``ARGUMENT_TYPE``.
    """
    value = number.value
    if parameter is Parameter.FLOAT:
        return value.real
    if value.whole is None or value.whole not in _INT64:
        wanted = parameter.name.lower()
        raise EvaluationError(
            f"{function} needs {wanted}, not {number.source}",
            fault=Fault.ARGUMENT_TYPE,
            subject=function,
            offset=number.offset,
        )
    return Int(value.whole)


def wrong_count(function: Function, given: int, offset: int) -> EvaluationError:
    """The error of a call with that many arguments."""
    least = len(function.parameters)
    wanted = f"at least {least}" if function.rest else str(least)
    return EvaluationError(
        f"{function.name} takes {wanted} arguments, not {given}",
        fault=Fault.ARITY,
        subject=function.name,
        offset=offset,
    )


def call_failure(error: Exception, function: str, offset: int) -> ExpressionError:
    """The error that a function raised, with the name and the place of the function."""
    if isinstance(error, ExpressionError):
        if error.offset is None:
            error.offset = offset
        if error.fault is Fault.CALL and not error.subject:
            error.subject = function
        return error
    reason = "the value is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return EvaluationError(f"{function}: {reason}", fault=Fault.CALL, subject=function, offset=offset)


def charge(meter: Meter, function: Function, arguments: Iterable[Any]) -> None:
    """Account for the strings that are passed to a function."""
    total = 0
    for argument in arguments:
        if type(argument) is str:
            total += len(argument)
    if total:
        meter.spend_text(total)
        if function.per_character:
            meter.spend(total * function.per_character)
