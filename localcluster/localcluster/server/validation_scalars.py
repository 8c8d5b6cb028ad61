"""Validation of strings, numbers and booleans against a schema."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import re2

from localcluster.server import cause
from localcluster.server.cause import Cause, CauseReason
from localcluster.server.validation_formats import FORMATS
from localcluster.server.violation import NOTHING, Validator, Violation, detached, in_body, one, type_name, wrong_type

Schema = Mapping[str, Any]

_REMEMBERED = 256
_REMEMBERED_LENGTH = 128
_INT64 = range(-(2**63), 2**63)
_INT32 = range(-(2**31), 2**31)


def scalar_check(schema: Schema) -> Validator | None:
    """The check of a schema whose type is a scalar or int-or-string; None for any other schema."""
    if schema.get("x-kubernetes-int-or-string"):
        return _int_or_string(schema)
    match schema.get("type"):
        case "string":
            return _string(schema)
        case "integer":
            return _integer(schema)
        case "number":
            return _number(schema)
        case "boolean":
            return lambda value: NOTHING if isinstance(value, bool) else wrong_type(type_name(value), "boolean")
        case _:
            return None


def untyped_checks(schema: Schema) -> list[Validator]:
    """Checks of a schema without a type: each limit applies only to values of its type."""
    checks: list[Validator] = []
    string = _string_bounds(schema)
    if string is not None:
        checks.append(lambda value: string(value) if isinstance(value, str) else NOTHING)
    bounds = _number_bounds(schema)
    if bounds is not None:
        checks.append(
            lambda value: bounds(value) if isinstance(value, int | float) and not isinstance(value, bool) else NOTHING
        )
    return checks


def _int_or_string(schema: Schema) -> Validator:
    untyped = untyped_checks(schema)

    def check(value: Any) -> list[Violation]:
        if isinstance(value, bool) or not isinstance(value, int | str):
            return wrong_type(type_name(value), "integer,string")
        return _first(untyped, value)

    return check


def _first(checks: Iterable[Validator], value: Any) -> list[Violation]:
    for check in checks:
        faults = check(value)
        if faults:
            return faults
    return NOTHING


def _string(schema: Schema) -> Validator:
    bounds = _string_bounds(schema)

    def check(value: Any) -> list[Violation]:
        if not isinstance(value, str):
            return wrong_type(type_name(value), "string")
        return NOTHING if bounds is None else bounds(value)

    return check


def _string_bounds(schema: Schema) -> Callable[[str], list[Violation]] | None:
    """Length, pattern and format of a string; reports only the first fault, as the API server does."""
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    pattern_text, format_name = schema.get("pattern"), schema.get("format")
    matches = _remembering(_matching(pattern_text)) if pattern_text else None
    is_format = _remembering(FORMATS[format_name]) if format_name in FORMATS else None
    if longest is None and shortest is None and matches is None and is_format is None:
        return None

    def check(value: str) -> list[Violation]:
        if longest is not None and len(value) > longest:
            limit = longest
            return one(lambda field: cause.too_long(field, limit))
        if shortest is not None and len(value) < shortest:
            return in_body(value, f"should be at least {shortest} chars long")
        if matches is not None and not matches(value):
            return in_body(value, f"should match '{pattern_text}'")
        if is_format is not None and not is_format(value):
            return _not_of_format(value, str(format_name))
        return NOTHING

    return check


def _matching(pattern_text: str) -> Callable[[str], bool]:
    pattern = re2.compile(pattern_text)
    return lambda value: pattern.search(value) is not None


def _remembering(check: Callable[[str], bool]) -> Callable[[str], bool]:
    """``check`` with a cache for short strings: the same names, reasons and times occur again and again."""
    remembered = functools.lru_cache(maxsize=_REMEMBERED)(check)
    return lambda value: remembered(value) if len(value) <= _REMEMBERED_LENGTH else check(value)


def _not_of_format(value: str, format_name: str) -> list[Violation]:
    def describe(field: str) -> Cause:
        quoted = cause.shown(value)
        text = f"Invalid value: {quoted}: {field} in body must be of type {format_name}: {quoted}"
        return Cause(CauseReason.TYPE_INVALID, text, field)

    return one(describe)


def _integer(schema: Schema) -> Validator:
    bounds = _number_bounds(schema)
    narrow = schema.get("format") == "int32"

    def check(value: Any) -> list[Violation]:
        if type_name(value) != "integer":
            return wrong_type(type_name(value), "integer")
        if int(value) not in _INT64:
            return wrong_type("float64", "int64")
        if narrow and int(value) not in _INT32:
            return detached(lambda field: f"Checked value must be of type integer with format int32 in {field}")
        return NOTHING if bounds is None else bounds(value)

    return check


def _number(schema: Schema) -> Validator:
    bounds = _number_bounds(schema)

    def check(value: Any) -> list[Violation]:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return wrong_type(type_name(value), "number")
        return NOTHING if bounds is None else bounds(value)

    return check


def _number_bounds(schema: Schema) -> Callable[[int | float], list[Violation]] | None:
    low, high, factor = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if low is None and high is None and factor is None:
        return None
    above, below = bool(schema.get("exclusiveMinimum")), bool(schema.get("exclusiveMaximum"))

    def check(value: int | float) -> list[Violation]:
        found: list[Violation] = NOTHING
        if factor is not None and not _is_multiple(value, factor):
            found = found + in_body(value, f"should be a multiple of {cause.shown(factor)}")
        if high is not None and (value > high or (below and value == high)):
            bound = "less than" if below else "less than or equal to"
            found = found + in_body(value, f"should be {bound} {cause.shown(high)}")
        if low is not None and (value < low or (above and value == low)):
            bound = "greater than" if above else "greater than or equal to"
            found = found + in_body(value, f"should be {bound} {cause.shown(low)}")
        return found

    return check


def _is_multiple(value: int | float, factor: int | float) -> bool:
    if isinstance(value, int) and isinstance(factor, int):
        return value % factor == 0
    quotient = value / factor
    return math.isclose(quotient, round(quotient), rel_tol=1e-9, abs_tol=1e-9)
