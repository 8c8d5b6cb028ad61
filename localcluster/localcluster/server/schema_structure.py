"""Checks whether a schema is structural, which is required to prune, default and publish it.

A problem is reported with its exact path in the document
(``spec.versions[0].schema.openAPIV3Schema.properties[spec].type``). A real API server has the same wording, but uses
the path ``spec.validation…`` when all versions share one schema. Source: structural schemas of CustomResourceDefinition
v1.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import re2

from localcluster.server import cause, rules, rules_cel, rules_fields
from localcluster.server.cause import Cause, CauseReason
from localcluster.server.pruning import compile_pruner
from localcluster.server.validation import compile_validator

Schema = Mapping[str, Any]

KEYWORDS = frozenset(
    {"$ref", "$schema", "additionalItems", "additionalProperties", "allOf", "anyOf", "default", "definitions"}
    | {
        "dependencies",
        "description",
        "enum",
        "example",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "externalDocs",
        "format",
    }
    | {"id", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties"}
    | {"minimum", "multipleOf", "not", "nullable", "oneOf", "pattern", "patternProperties", "properties", "required"}
    | {"title", "type", "uniqueItems", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"}
    | {"x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type"}
    | {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations"}
)
"""Every keyword that a CustomResourceDefinition has; others are unknown fields of the definition."""

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "id")
_NOT_IN_COMBINATORS = ("additionalProperties", "default", "description", "nullable", "title", "type")
_NOT_IN_COMBINATORS_EXTENSIONS = (
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
)
_RULE_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_MAX_DEPTH = 200
"""Deeper schemas are refused: no real schema is so deep, and all code that reads a schema is recursive."""
_MOST_REMEMBERED = 256
_flawless: set[bytes] = set()
"""Digests of schemas without a problem. Each write of a definition, also of its status, checks all its schemas.
That takes milliseconds, and mostly the schemas have not changed."""


def structural_problems(schema: Schema, where: str) -> list[Cause]:
    """Every reason why ``schema``, which is at ``where`` in a document, is not structural."""
    if schema.get("type") != "object":
        given = schema.get("type", "")
        problem = cause.invalid(f"{where}.type", given, "must be object at the root")
        return [problem if given else cause.required(f"{where}.type", "must not be empty at the root")]
    digest = _digest_of(schema)
    if digest in _flawless:
        return []
    problems = [*_problems(schema, where, level="root", depth=0)]
    if not problems and digest is not None:
        if len(_flawless) >= _MOST_REMEMBERED:
            _flawless.clear()
        _flawless.add(digest)
    return problems


def take_as_flawless(schema: Schema) -> None:
    """Spare the check of ``schema``: its author has found before that it has no problems."""
    if (digest := _digest_of(schema)) is not None:
        _flawless.add(digest)


def _digest_of(schema: Schema) -> bytes | None:
    """A digest of the schema; None if it is not JSON, or too deep for JSON."""
    try:
        return hashlib.sha256(orjson.dumps(schema)).digest()
    except TypeError:
        return None


def _problems(schema: Schema, where: str, *, level: str, depth: int) -> Iterator[Cause]:
    """Problems of the structural part; ``level`` is root, field or item."""
    if depth > _MAX_DEPTH:
        yield cause.forbidden(where, f"schemas nested deeper than {_MAX_DEPTH} levels are not supported")
        return
    yield from _unsupported(schema, where)
    yield from _type_problems(schema, where, level)
    yield from _extension_problems(schema, where)
    yield from _list_problems(schema, where)
    yield from _value_problems(schema, where)
    yield from _combinator_problems(schema, where, depth)
    if level == "root":
        yield from _metadata_problems(schema, where)
    for name, sub in (schema.get("properties") or {}).items():
        yield from _problems(sub, f"{where}.properties[{name}]", level="field", depth=depth + 1)
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        if schema.get("properties"):
            detail = "additionalProperties and properties are mutual exclusive"
            yield cause.forbidden(f"{where}.additionalProperties", detail)
        if level == "root":
            yield cause.forbidden(f"{where}.additionalProperties", "must not be used at the root")
        yield from _problems(additional, f"{where}.additionalProperties", level="field", depth=depth + 1)
    items = schema.get("items")
    if isinstance(items, Mapping):
        yield from _problems(items, f"{where}.items", level="item", depth=depth + 1)
    if "default" in schema:
        yield from _default_problems(schema, f"{where}.default")
    yield from _rule_problems(schema, where)


def _unsupported(schema: Schema, where: str) -> Iterator[Cause]:
    for keyword in _UNSUPPORTED:
        if schema.get(keyword):
            yield cause.forbidden(f"{where}.{keyword}", f"{keyword} is not supported")
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield cause.forbidden(f"{where}.uniqueItems", detail)


def _type_problems(schema: Schema, where: str, level: str) -> Iterator[Cause]:
    given = schema.get("type", "")
    if schema.get("x-kubernetes-int-or-string"):
        return
    if not given:
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            place = "array items" if level == "item" else "object fields"
            yield cause.required(f"{where}.type", f"must not be empty for specified {place}")
        return
    if given not in _TYPES:
        yield cause.not_supported(f"{where}.type", given, list(_TYPES))
    if given == "array" and not isinstance(schema.get("items"), Mapping):
        if isinstance(schema.get("items"), list):
            yield cause.forbidden(f"{where}.items", "items must be a schema object and not an array")
        else:
            yield cause.required(f"{where}.items", "must be specified")


def _extension_problems(schema: Schema, where: str) -> Iterator[Cause]:
    given = schema.get("type", "")
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        field = f"{where}.x-kubernetes-preserve-unknown-fields"
        yield cause.invalid(field, False, "must be true or undefined")
    if schema.get("x-kubernetes-embedded-resource"):
        if not schema.get("properties") and not schema.get("x-kubernetes-preserve-unknown-fields"):
            detail = (
                "must not be empty if x-kubernetes-embedded-resource is true "
                "without x-kubernetes-preserve-unknown-fields"
            )
            yield cause.required(f"{where}.properties", detail)
        if given != "object":
            detail = "must be object if x-kubernetes-embedded-resource is true"
            yield cause.invalid(f"{where}.type", given, detail)
    map_type = schema.get("x-kubernetes-map-type")
    if map_type is not None:
        if map_type not in ("atomic", "granular"):
            yield cause.not_supported(f"{where}.x-kubernetes-map-type", map_type, ["atomic", "granular"])
        if given != "object":
            yield cause.invalid(f"{where}.type", given, "must be object if x-kubernetes-map-type is specified")


def _list_problems(schema: Schema, where: str) -> Iterator[Cause]:
    list_type = schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys") or []
    keys_field = f"{where}.x-kubernetes-list-map-keys"
    if list_type is None:
        if keys:
            field = f"{where}.x-kubernetes-list-type"
            yield cause.required(field, "must be map if x-kubernetes-list-map-keys is non-empty")
        return
    if list_type not in ("atomic", "set", "map"):
        yield cause.not_supported(f"{where}.x-kubernetes-list-type", list_type, ["atomic", "set", "map"])
    if schema.get("type") != "array":
        detail = "must be array if x-kubernetes-list-type is specified"
        yield cause.invalid(f"{where}.type", schema.get("type", ""), detail)
        return
    items = schema.get("items")
    if not isinstance(items, Mapping):
        return
    if list_type == "map":
        if not keys:
            yield cause.required(keys_field, "must not be empty if x-kubernetes-list-type is map")
        yield from _map_key_problems(items, keys, where)
    if list_type == "set" and items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        field = f"{where}.items.x-kubernetes-map-type"
        given = items.get("x-kubernetes-map-type")
        yield cause.invalid(field, given, "must be atomic as item of a list with x-kubernetes-list-type=set")


def _map_key_problems(items: Schema, keys: list[str], where: str) -> Iterator[Cause]:
    properties = items.get("properties") or {}
    keys_field = f"{where}.x-kubernetes-list-map-keys"
    if items.get("type") != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        yield cause.invalid(f"{where}.items.type", items.get("type", ""), detail)
        return
    if any(key not in properties for key in keys):
        yield cause.invalid(keys_field, keys, "entries must all be names of item properties")
        return
    required = items.get("required") or ()
    for key in keys:
        if key not in required and "default" not in properties[key]:
            detail = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
            yield cause.required(f"{where}.items.properties[{key}].default", detail)
        if properties[key].get("type") in ("array", "object"):
            detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield cause.invalid(f"{where}.items.properties[{key}].type", properties[key]["type"], detail)


def _value_problems(schema: Schema, where: str) -> Iterator[Cause]:
    pattern = schema.get("pattern")
    if not pattern:
        return
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        detail = f"must be a valid regular expression, but isn't: error parsing regexp: {reason}"
        yield cause.invalid(f"{where}.pattern", pattern, detail)


def _combinator_problems(schema: Schema, where: str, depth: int) -> Iterator[Cause]:
    is_int_or_string = bool(schema.get("x-kubernetes-int-or-string"))
    for keyword in ("allOf", "anyOf", "oneOf"):
        for index, part in enumerate(schema.get(keyword) or ()):
            place = f"{where}.{keyword}[{index}]"
            yield from _value_part_problems(part, place, depth + 1, may_have_type=is_int_or_string)
    if isinstance(schema.get("not"), Mapping):
        yield from _value_part_problems(schema["not"], f"{where}.not", depth + 1, may_have_type=False)


def _value_part_problems(part: Schema, where: str, depth: int, *, may_have_type: bool) -> Iterator[Cause]:
    """Problems of a schema inside a combinator, which may only validate values and not define their structure."""
    if depth > _MAX_DEPTH:
        yield cause.forbidden(where, f"schemas nested deeper than {_MAX_DEPTH} levels are not supported")
        return
    for keyword in (*_NOT_IN_COMBINATORS, *_NOT_IN_COMBINATORS_EXTENSIONS):
        if keyword == "type" and may_have_type:
            continue
        if keyword in part and part[keyword] not in ("", None, False):
            yield cause.forbidden(f"{where}.{keyword}", "must be empty to be structural")
    yield from _value_problems(part, where)
    for name, sub in (part.get("properties") or {}).items():
        yield from _value_part_problems(sub, f"{where}.properties[{name}]", depth + 1, may_have_type=False)
    if isinstance(part.get("items"), Mapping):
        yield from _value_part_problems(part["items"], f"{where}.items", depth + 1, may_have_type=False)
    for keyword in ("allOf", "anyOf", "oneOf"):
        for index, sub in enumerate(part.get(keyword) or ()):
            place = f"{where}.{keyword}[{index}]"
            yield from _value_part_problems(sub, place, depth + 1, may_have_type=may_have_type)
    if isinstance(part.get("not"), Mapping):
        yield from _value_part_problems(part["not"], f"{where}.not", depth + 1, may_have_type=False)


def _metadata_problems(schema: Schema, where: str) -> Iterator[Cause]:
    metadata = (schema.get("properties") or {}).get("metadata")
    if not isinstance(metadata, Mapping):
        return
    field = f"{where}.properties[metadata]"
    if metadata.get("type", "object") != "object":
        yield cause.invalid(f"{field}.type", metadata["type"], "must be object")
    if set(metadata.get("properties") or ()) - {"name", "generateName"}:
        detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield cause.forbidden(field, detail)


def _default_problems(schema: Schema, where: str) -> Iterator[Cause]:
    default = copy.deepcopy(schema["default"])
    if default is None and not schema.get("nullable"):
        yield cause.invalid(where, None, "must not be null")
        return
    pruner = compile_pruner(schema)
    if pruner is not None and pruner(default):
        yield cause.invalid(where, schema["default"], "must not have unknown fields")
        return
    try:
        faults = compile_validator(schema)(schema["default"])
    except re2.error:
        return  # another check reports the broken pattern
    for fault in faults:
        found = fault.cause()
        inside = "" if found.field == cause.NO_FIELD else f".{found.field}"
        yield Cause(found.reason, found.message.replace(cause.NO_FIELD, ""), where + inside)


def _rule_problems(schema: Schema, where: str) -> Iterator[Cause]:
    for index, raw in enumerate(schema.get("x-kubernetes-validations") or ()):
        field = f"{where}.x-kubernetes-validations[{index}]"
        source, message = raw.get("rule") or "", raw.get("message") or ""
        if message and not message.strip():
            yield cause.invalid(f"{field}.message", message, "must be non-empty if specified")
        if "optionalOldSelf" in raw and not rules_cel.mentions(source, "oldSelf"):
            detail = "may not be set if oldSelf is not used in rule"
            yield cause.invalid(f"{field}.optionalOldSelf", raw["optionalOldSelf"], detail)
        if not source.strip():
            yield cause.required(f"{field}.rule", "rule is not specified")
            continue
        if "\n" in source.strip() and not message:
            yield cause.required(f"{field}.message", "message must be specified if rule contains line breaks")
        if "\n" in message.strip():
            yield cause.invalid(f"{field}.message", message, "message must not contain line breaks")
        reason = raw.get("reason")
        if reason and reason not in _RULE_REASONS:
            yield cause.not_supported(f"{field}.reason", reason, list(_RULE_REASONS))
            continue
        yield from _expression_problems(raw, field, schema)
        path = rules.field_path_steps(raw.get("fieldPath") or "")
        if not _leads_somewhere(schema, path):
            yield cause.invalid(f"{field}.fieldPath", raw.get("fieldPath"), "must be a valid path")


def _expression_problems(raw: Schema, field: str, schema: Schema) -> Iterator[Cause]:
    optional_old = bool(raw.get("optionalOldSelf"))
    for key in ("rule", "messageExpression"):
        for name in rules_fields.undefined(raw.get(key) or "", schema):
            detail = f"Invalid value: {cause.shown(raw[key])}: compilation failed: undefined field '{name}'"
            yield Cause(CauseReason.INVALID, detail, f"{field}.{key}")
    try:
        rules_cel.compile_expression(raw["rule"], result="bool", optional_old=optional_old)
    except rules_cel.CelSyntaxError as error:
        yield Cause(CauseReason.INVALID, f"Invalid value: {cause.shown(raw['rule'])}: {error}", f"{field}.rule")
    expression = raw.get("messageExpression")
    if not expression:
        return
    try:
        rules_cel.compile_expression(expression, result="string", optional_old=optional_old)
    except rules_cel.CelSyntaxError as error:
        detail = str(error).replace("cel expression", "messageExpression")
        yield Cause(
            CauseReason.INVALID, f"Invalid value: {cause.shown(expression)}: {detail}", f"{field}.messageExpression"
        )


def _leads_somewhere(schema: Schema, path: tuple[str, ...]) -> bool:
    for step in path:
        found = (schema.get("properties") or {}).get(step, schema.get("additionalProperties"))
        if not isinstance(found, Mapping):
            return False
        schema = found
    return True
