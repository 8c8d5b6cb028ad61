"""Compiles a structural schema into a function that lists the faults of a value.

``compile_validator(schema)`` reads the schema once. The function that it returns makes paths only for faults, so a
valid value costs nothing for them. Wording and order follow the API server (kube-openapi validation).
Not here: CEL rules (rules.py), object metadata (objectmeta.py), tolerance for old faults (validation_ratcheting.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from localcluster.server import cause
from localcluster.server.cause import Cause
from localcluster.server.validation_scalars import scalar_check, untyped_checks
from localcluster.server.violation import NOTHING, Validator, Violation, detached, in_body, one, type_name, wrong_type

Schema = Mapping[str, Any]


def compile_validator(schema: Schema) -> Validator:
    """A function that lists the violations of ``schema`` in a value, including formats, list types and combinators."""
    checks = [*_type_checks(schema), *_combinators(schema)]
    checks += [check for check in (_enum(schema), _object(schema)) if check is not None]
    nullable = bool(schema.get("nullable"))
    if not checks:
        return lambda _value: NOTHING
    if len(checks) == 1 and not nullable:
        return checks[0]
    every = tuple(checks)

    def validate(value: Any) -> list[Violation]:
        if nullable and value is None:
            return NOTHING
        found = NOTHING
        for check in every:
            faults = check(value)
            if faults:
                found = found + faults if found else faults
        return found

    return validate


def _type_checks(schema: Schema) -> list[Validator]:
    scalar = scalar_check(schema)
    if scalar is not None:
        return [scalar]
    match schema.get("type"):
        case "array":
            return [_array(schema)]
        case "object":
            return [lambda value: NOTHING if isinstance(value, dict) else wrong_type(type_name(value), "object")]
        case _:
            return [*untyped_checks(schema), *_untyped_array(schema)]


def _untyped_array(schema: Schema) -> list[Validator]:
    if not any(key in schema for key in ("items", "minItems", "maxItems")):
        return []
    array = _array(schema)
    return [lambda value: array(value) if isinstance(value, list) else NOTHING]


# --- arrays ----------------------------------------------------------------------------------------------------------


def _array(schema: Schema) -> Validator:
    least, most = schema.get("minItems"), schema.get("maxItems")
    items = compile_validator(schema["items"]) if isinstance(schema.get("items"), Mapping) else None
    unique = _uniqueness(schema)

    def check(value: Any) -> list[Violation]:
        if not isinstance(value, list):
            return wrong_type(type_name(value), "array")
        found: list[Violation] = NOTHING
        if items is not None:
            for index, item in enumerate(value):
                faults = items(item)
                if faults:
                    found = found + _under(index, faults)
        if least is not None and len(value) < least:
            found = found + in_body(len(value), f"should have at least {least} items")
        if most is not None and len(value) > most:
            limit, count = most, len(value)
            found = found + one(lambda field: cause.too_many(field, count, limit))
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
    """A string that two JSON values share exactly when they are equal; true and 1 differ, 1 and 1.0 do not."""
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
            return NOTHING
        found: list[Violation] = NOTHING
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
            found = found + in_body(len(value), f"should have at least {least} properties")
        if most is not None and len(value) > most:
            limit, count = most, len(value)
            found = found + one(lambda field: cause.too_many(field, count, limit))
        return found

    return check


# --- for every type --------------------------------------------------------------------------------------------------


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
                return NOTHING
        elif comparable(value) in allowed:
            return NOTHING
        return one(lambda field: cause.not_supported(field, value, listed))

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
                return NOTHING
            if closest is None or len(faults) < len(closest):
                closest = faults
        errors = detached(lambda field: f'"{field}" must validate at least one schema (anyOf)')
        return errors + (closest or [])

    return check


def _one_of(options: list[Validator]) -> Validator:
    def check(value: Any) -> list[Violation]:
        results = [option(value) for option in options]
        valid = sum(1 for faults in results if not faults)
        if valid == 1:
            return NOTHING
        count = f"Found {valid} valid alternatives" if valid else "Found none valid"
        closest = [] if valid else min(results, key=len, default=[])
        text = "must validate one and only one schema (oneOf). "
        return detached(lambda field: f'"{field}" {text}{count}') + closest

    return check


def _all_of(parts: list[Validator]) -> Validator:
    def check(value: Any) -> list[Violation]:
        found = [fault for part in parts for fault in part(value)]
        if not found:
            return NOTHING
        return found + detached(lambda field: f'"{field}" must validate all the schemas (allOf)')

    return check


def _not(part: Validator) -> Validator:
    def check(value: Any) -> list[Violation]:
        if part(value):
            return NOTHING
        return detached(lambda field: f'"{field}" must not validate the schema (not)')

    return check
