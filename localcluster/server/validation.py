"""A structural schema compiled into a function that lists what is wrong with a value.

``compile_validator(schema)`` walks the schema once; the function it returns costs nothing for paths while all is well
and names them only for what it finds. Wording and order follow the API server (kube-openapi validation).
Not here: CEL rules (rules.py), object metadata (validation_metadata.py), tolerance for old faults
(validation_ratcheting.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import re2

from localcluster.server import cause
from localcluster.server.cause import Cause, CauseReason
from localcluster.server.validation_formats import FORMATS

Schema = Mapping[str, Any]

_INT64 = range(-(2**63), 2**63)
_INT32 = range(-(2**31), 2**31)


@dataclass(slots=True)
class Violation:
    """One fault: where it is, innermost step first, and how to word it once the whole path is known."""

    steps: list[str | int]
    describe: Callable[[str], Cause]

    @property
    def path(self) -> tuple[str | int, ...]:
        return tuple(reversed(self.steps))

    def cause(self) -> Cause:
        return self.describe(cause.path_text(self.path))


Validator = Callable[[Any], list[Violation]]
"""Gives the faults of a value; an empty list, always the same one, when there are none."""

_NOTHING: list[Violation] = []


def compile_validator(schema: Schema) -> Validator:
    """A function listing the violations of ``schema`` in a value; formats, list types and combinators included."""
    checks = [*_type_checks(schema), *_combinators(schema)]
    checks += [check for check in (_enum(schema), _object(schema)) if check is not None]
    nullable = bool(schema.get("nullable"))
    if not checks:
        return lambda _value: _NOTHING
    if len(checks) == 1 and not nullable:
        return checks[0]
    every = tuple(checks)

    def validate(value: Any) -> list[Violation]:
        if nullable and value is None:
            return _NOTHING
        found = _NOTHING
        for check in every:
            faults = check(value)
            if faults:
                found = found + faults if found else faults
        return found

    return validate


def type_name(value: Any) -> str:
    """The JSON type of ``value`` as error messages call it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    return "array" if isinstance(value, list) else "object"


def _one(describe: Callable[[str], Cause]) -> list[Violation]:
    return [Violation([], describe)]


def _in_body(value: Any, detail: str) -> list[Violation]:
    return _one(lambda field: cause.invalid(field, value, f"{field} in body {detail}"))


def _wrong_type(actual: str, wanted: str) -> list[Violation]:
    return _one(lambda field: cause.type_invalid(field, actual, wanted))


def _detached(text: Callable[[str], str]) -> list[Violation]:
    """A fault the API server reports without a field, naming it in the text."""
    return _one(lambda field: Cause(CauseReason.INVALID, f'Invalid value: "": {text(field)}', cause.NO_FIELD))


# --- types -----------------------------------------------------------------------------------------------------------


def _type_checks(schema: Schema) -> list[Validator]:
    if schema.get("x-kubernetes-int-or-string"):
        return [_int_or_string(schema)]
    match schema.get("type"):
        case "string":
            return [_string(schema)]
        case "integer":
            return [_integer(schema)]
        case "number":
            return [_number(schema)]
        case "boolean":
            return [lambda value: _NOTHING if isinstance(value, bool) else _wrong_type(type_name(value), "boolean")]
        case "array":
            return [_array(schema)]
        case "object":
            return [lambda value: _NOTHING if isinstance(value, dict) else _wrong_type(type_name(value), "object")]
        case _:  # inside a combinator no type is stated; each bound then applies to the values it fits
            return _untyped(schema)


def _untyped(schema: Schema) -> list[Validator]:
    checks: list[Validator] = []
    string = _string_bounds(schema)
    if string is not None:
        checks.append(lambda value: string(value) if isinstance(value, str) else _NOTHING)
    bounds = _number_bounds(schema)
    if bounds is not None:
        checks.append(
            lambda value: bounds(value) if isinstance(value, int | float) and not isinstance(value, bool) else _NOTHING
        )
    if any(key in schema for key in ("items", "minItems", "maxItems")):
        array = _array(schema)
        checks.append(lambda value: array(value) if isinstance(value, list) else _NOTHING)
    return checks


def _int_or_string(schema: Schema) -> Validator:
    untyped = _untyped(schema)

    def check(value: Any) -> list[Violation]:
        if isinstance(value, bool) or not isinstance(value, int | str):
            return _wrong_type(type_name(value), "integer,string")
        return _first(untyped, value)

    return check


def _first(checks: Iterable[Validator], value: Any) -> list[Violation]:
    for check in checks:
        faults = check(value)
        if faults:
            return faults
    return _NOTHING


def _string(schema: Schema) -> Validator:
    bounds = _string_bounds(schema)

    def check(value: Any) -> list[Violation]:
        if not isinstance(value, str):
            return _wrong_type(type_name(value), "string")
        return _NOTHING if bounds is None else bounds(value)

    return check


def _string_bounds(schema: Schema) -> Callable[[str], list[Violation]] | None:
    """Length, pattern and format of a string; only the first fault is told, as the API server does."""
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    pattern_text, format_name = schema.get("pattern"), schema.get("format")
    pattern = re2.compile(pattern_text) if pattern_text else None
    is_format = FORMATS.get(format_name) if format_name else None
    if longest is None and shortest is None and pattern is None and is_format is None:
        return None

    def check(value: str) -> list[Violation]:
        if longest is not None and len(value) > longest:
            limit = longest
            return _one(lambda field: cause.too_long(field, limit))
        if shortest is not None and len(value) < shortest:
            return _in_body(value, f"should be at least {shortest} chars long")
        if pattern is not None and pattern.search(value) is None:
            return _in_body(value, f"should match '{pattern_text}'")
        if is_format is not None and not is_format(value):
            return _not_of_format(value, str(format_name))
        return _NOTHING

    return check


def _not_of_format(value: str, format_name: str) -> list[Violation]:
    def describe(field: str) -> Cause:
        quoted = cause.shown(value)
        text = f"Invalid value: {quoted}: {field} in body must be of type {format_name}: {quoted}"
        return Cause(CauseReason.TYPE_INVALID, text, field)

    return _one(describe)


def _integer(schema: Schema) -> Validator:
    bounds = _number_bounds(schema)
    narrow = schema.get("format") == "int32"

    def check(value: Any) -> list[Violation]:
        if type_name(value) != "integer":
            return _wrong_type(type_name(value), "integer")
        if int(value) not in _INT64:
            return _wrong_type("float64", "int64")
        if narrow and int(value) not in _INT32:
            return _detached(lambda field: f"Checked value must be of type integer with format int32 in {field}")
        return _NOTHING if bounds is None else bounds(value)

    return check


def _number(schema: Schema) -> Validator:
    bounds = _number_bounds(schema)

    def check(value: Any) -> list[Violation]:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return _wrong_type(type_name(value), "number")
        return _NOTHING if bounds is None else bounds(value)

    return check


def _number_bounds(schema: Schema) -> Callable[[int | float], list[Violation]] | None:
    low, high, factor = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if low is None and high is None and factor is None:
        return None
    above, below = bool(schema.get("exclusiveMinimum")), bool(schema.get("exclusiveMaximum"))

    def check(value: int | float) -> list[Violation]:
        found: list[Violation] = _NOTHING
        if factor is not None and not _is_multiple(value, factor):
            found = found + _in_body(value, f"should be a multiple of {cause.shown(factor)}")
        if high is not None and (value > high or (below and value == high)):
            bound = "less than" if below else "less than or equal to"
            found = found + _in_body(value, f"should be {bound} {cause.shown(high)}")
        if low is not None and (value < low or (above and value == low)):
            bound = "greater than" if above else "greater than or equal to"
            found = found + _in_body(value, f"should be {bound} {cause.shown(low)}")
        return found

    return check


def _is_multiple(value: int | float, factor: int | float) -> bool:
    if isinstance(value, int) and isinstance(factor, int):
        return value % factor == 0
    quotient = value / factor
    return math.isclose(quotient, round(quotient), rel_tol=1e-9, abs_tol=1e-9)


# --- arrays ----------------------------------------------------------------------------------------------------------


def _array(schema: Schema) -> Validator:
    least, most = schema.get("minItems"), schema.get("maxItems")
    items = compile_validator(schema["items"]) if isinstance(schema.get("items"), Mapping) else None
    unique = _uniqueness(schema)

    def check(value: Any) -> list[Violation]:
        if not isinstance(value, list):
            return _wrong_type(type_name(value), "array")
        found: list[Violation] = _NOTHING
        if items is not None:
            for index, item in enumerate(value):
                faults = items(item)
                if faults:
                    found = found + _under(index, faults)
        if least is not None and len(value) < least:
            found = found + _in_body(len(value), f"should have at least {least} items")
        if most is not None and len(value) > most:
            limit, count = most, len(value)
            found = found + _one(lambda field: cause.too_many(field, count, limit))
        if unique is not None:
            found = found + unique(value)
        return found

    return check


def _under(step: str | int, faults: list[Violation]) -> list[Violation]:
    for fault in faults:
        fault.steps.append(step)
    return faults


def _uniqueness(schema: Schema) -> Callable[[list[Any]], list[Violation]] | None:
    match schema.get("x-kubernetes-list-type"):
        case "set":
            return lambda items: _duplicates(items, lambda item: item)
        case "map":
            keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
            properties = (schema.get("items") or {}).get("properties") or {}
            defaults = {key: properties[key]["default"] for key in keys if "default" in properties.get(key, ())}

            def key_of(item: Any) -> Any:
                if not isinstance(item, dict):
                    return None
                return {key: item.get(key, defaults.get(key)) for key in keys if key in item or key in defaults}

            return lambda items: _not_objects(items) + _duplicates(items, key_of)
        case _:
            return None


def _not_objects(items: list[Any]) -> list[Violation]:
    return [Violation([index], _not_an_object(item)) for index, item in enumerate(items) if not isinstance(item, dict)]


def _not_an_object(item: Any) -> Callable[[str], Cause]:
    return lambda field: cause.invalid(field, item, "must be an object for an array of list-type map")


def _duplicates(items: list[Any], key_of: Callable[[Any], Any]) -> list[Violation]:
    seen: set[str] = set()
    found: list[Violation] = []
    for index, item in enumerate(items):
        key = key_of(item)
        if key is None:
            continue
        identity = comparable(key)
        if identity in seen:
            found.append(Violation([index], _duplicate_of(key)))
        seen.add(identity)
    return found


def _duplicate_of(key: Any) -> Callable[[str], Cause]:
    return lambda field: cause.duplicate(field, key)


def comparable(value: Any) -> str:
    """A text that two JSON values share exactly when they are equal; true and 1 differ, 1 and 1.0 do not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        return f'"{value}'
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


# --- objects ---------------------------------------------------------------------------------------------------------


def _object(schema: Schema) -> Validator | None:
    required = tuple(schema.get("required") or ())
    if schema.get("x-kubernetes-embedded-resource"):
        required = tuple(dict.fromkeys((*required, "apiVersion", "kind")))
    properties = {name: compile_validator(sub) for name, sub in (schema.get("properties") or {}).items()}
    additional = schema.get("additionalProperties")
    rest = compile_validator(additional) if isinstance(additional, Mapping) else None
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    if not required and not properties and rest is None and least is None and most is None:
        return None

    def check(value: Any) -> list[Violation]:
        if not isinstance(value, dict):
            return _NOTHING
        found: list[Violation] = _NOTHING
        for name in required:
            if name not in value:
                found = [*found, Violation([name], cause.required)]
        for name, item in value.items():
            validate = properties.get(name, rest)
            if validate is not None:
                faults = validate(item)
                if faults:
                    found = found + _under(name, faults)
        if least is not None and len(value) < least:
            found = found + _in_body(len(value), f"should have at least {least} properties")
        if most is not None and len(value) > most:
            limit, count = most, len(value)
            found = found + _one(lambda field: cause.too_many(field, count, limit))
        return found

    return check


# --- whatever the type -----------------------------------------------------------------------------------------------


def _enum(schema: Schema) -> Validator | None:
    options = schema.get("enum")
    if options is None:
        return None
    allowed = frozenset(comparable(option) for option in options)
    strings = frozenset(option for option in options if isinstance(option, str))
    listed = list(options)

    def check(value: Any) -> list[Violation]:
        if isinstance(value, str):
            if value in strings:
                return _NOTHING
        elif comparable(value) in allowed:
            return _NOTHING
        return _one(lambda field: cause.not_supported(field, value, listed))

    return check


def _combinators(schema: Schema) -> list[Validator]:
    checks: list[Validator] = []
    if any_of := schema.get("anyOf"):
        checks.append(_any_of([compile_validator(option) for option in any_of]))
    if one_of := schema.get("oneOf"):
        checks.append(_one_of([compile_validator(option) for option in one_of]))
    if all_of := schema.get("allOf"):
        checks.append(_all_of([compile_validator(option) for option in all_of]))
    if (negated := schema.get("not")) is not None:
        checks.append(_not(compile_validator(negated)))
    return checks


def _any_of(options: list[Validator]) -> Validator:
    def check(value: Any) -> list[Violation]:
        closest: list[Violation] | None = None
        for option in options:
            faults = option(value)
            if not faults:
                return _NOTHING
            if closest is None or len(faults) < len(closest):
                closest = faults
        told = _detached(lambda field: f'"{field}" must validate at least one schema (anyOf)')
        return told + (closest or [])

    return check


def _one_of(options: list[Validator]) -> Validator:
    def check(value: Any) -> list[Violation]:
        results = [option(value) for option in options]
        valid = sum(1 for faults in results if not faults)
        if valid == 1:
            return _NOTHING
        told = f"Found {valid} valid alternatives" if valid else "Found none valid"
        closest = [] if valid else min(results, key=len, default=[])
        text = "must validate one and only one schema (oneOf). "
        return _detached(lambda field: f'"{field}" {text}{told}') + closest

    return check


def _all_of(parts: list[Validator]) -> Validator:
    def check(value: Any) -> list[Violation]:
        found = [fault for part in parts for fault in part(value)]
        if not found:
            return _NOTHING
        return found + _detached(lambda field: f'"{field}" must validate all the schemas (allOf)')

    return check


def _not(part: Validator) -> Validator:
    def check(value: Any) -> list[Violation]:
        if part(value):
            return _NOTHING
        return _detached(lambda field: f'"{field}" must not validate the schema (not)')

    return check
