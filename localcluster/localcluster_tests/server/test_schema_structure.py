"""Which schemas are structural, and the messages about those that are not (read off a real API server, 1.37)."""

from __future__ import annotations

from typing import Any

import pytest

from localcluster.server.cause import SchemaError
from localcluster.server.schema_structure import structural_problems, take_as_flawless
from localcluster.server.types import resource_types_of_crd
from localcluster_tests.server.schema_samples import WIDGET_SCHEMA, crd_of

NAMED_ITEM = {"type": "object", "properties": {"n": {"type": "string"}}}

CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("a field without type", {}, [".type: Required value: must not be empty for specified object fields"]),
    ("a list without items", {"type": "array"}, [".items: Required value: must be specified"]),
    (
        "items without type",
        {"type": "array", "items": {}},
        [".items.type: Required value: must not be empty for specified array items"],
    ),
    (
        "an unknown type",
        {"type": "strin"},
        [
            (
                '.type: Unsupported value: "strin": supported values: '
                '"array", "boolean", "integer", "number", "object", "string"'
            )
        ],
    ),
    (
        "properties and additionalProperties",
        {"type": "object", "additionalProperties": {"type": "string"}, "properties": {"b": {"type": "string"}}},
        [".additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
    ),
    (
        "uniqueItems",
        {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
        [".uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"],
    ),
    (
        "a default of the wrong type",
        {"type": "string", "default": 1},
        ['.default: Invalid value: "integer":  in body must be of type string: "integer"'],
    ),
    (
        "a default with unknown fields",
        {"type": "object", "default": {"zz": 1}, "properties": {"b": {"type": "string"}}},
        ['.default: Invalid value: {"zz":1}: must not have unknown fields'],
    ),
    (
        "a type inside a combinator",
        {"type": "object", "properties": {"b": {"type": "string"}}, "allOf": [{"type": "object"}]},
        [".allOf[0].type: Forbidden: must be empty to be structural"],
    ),
    (
        "a list map without keys",
        {"type": "array", "x-kubernetes-list-type": "map", "items": NAMED_ITEM},
        [".x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"],
    ),
    (
        "a list map with a key that is no property",
        {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["q"], "items": NAMED_ITEM},
        ['.x-kubernetes-list-map-keys: Invalid value: ["q"]: entries must all be names of item properties'],
    ),
    (
        "a list map with an optional key",
        {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"], "items": NAMED_ITEM},
        [
            (
                ".items.properties[n].default: Required value: this property is in x-kubernetes-list-map-keys, "
                "so it must have a default or be a required property"
            )
        ],
    ),
    (
        "a set of objects",
        {"type": "array", "x-kubernetes-list-type": "set", "items": NAMED_ITEM},
        [
            (
                ".items.x-kubernetes-map-type: Invalid value: null: "
                "must be atomic as item of a list with x-kubernetes-list-type=set"
            )
        ],
    ),
    (
        "preserve set to false",
        {"type": "object", "x-kubernetes-preserve-unknown-fields": False},
        [".x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"],
    ),
    (
        "a rule that gives no boolean",
        {"type": "string", "x-kubernetes-validations": [{"rule": "size(self)"}]},
        ['.x-kubernetes-validations[0].rule: Invalid value: "size(self)": cel expression must evaluate to a bool'],
    ),
    (
        "a rule without text",
        {"type": "string", "x-kubernetes-validations": [{"rule": " ", "message": "m"}]},
        [".x-kubernetes-validations[0].rule: Required value: rule is not specified"],
    ),
    (
        "a rule over lines without message",
        {"type": "string", "x-kubernetes-validations": [{"rule": "self ==\n'x'"}]},
        [
            (
                ".x-kubernetes-validations[0].message: Required value: "
                "message must be specified if rule contains line breaks"
            )
        ],
    ),
    (
        "a rule with an unknown reason",
        {"type": "string", "x-kubernetes-validations": [{"rule": "self == ''", "reason": "Bogus"}]},
        [
            (
                '.x-kubernetes-validations[0].reason: Unsupported value: "Bogus": supported values: '
                '"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"'
            )
        ],
    ),
    (
        "a rule with a path that leads nowhere",
        {"type": "object", "x-kubernetes-validations": [{"rule": "true", "fieldPath": ".zz"}]},
        ['.x-kubernetes-validations[0].fieldPath: Invalid value: ".zz": must be a valid path'],
    ),
]


def problems_of(field: dict[str, Any]) -> list[str]:
    found = structural_problems({"type": "object", "properties": {"a": field}}, "x")
    return [str(problem).removeprefix("x.properties[a]") for problem in found]


@pytest.mark.parametrize(("field", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_what_is_not_structural_is_named_where_it_stands(field: dict[str, Any], expected: list[str]) -> None:
    assert problems_of(field) == expected


@pytest.mark.parametrize(
    "field",
    [
        {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"type": "object", "additionalProperties": False},
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "object", "properties": {"b": {"type": "string"}}, "anyOf": [{"properties": {"b": {"minLength": 1}}}]},
    ],
)
def test_what_is_structural_has_no_problems(field: dict[str, Any]) -> None:
    assert problems_of(field) == []


def test_a_broken_pattern_is_told_with_the_reason() -> None:
    (problem,) = problems_of({"type": "string", "pattern": "("})
    assert problem.startswith('.pattern: Invalid value: "(": must be a valid regular expression, but isn\'t: ')


def test_the_root_must_be_an_object() -> None:
    (problem,) = structural_problems({"type": "array", "items": {"type": "string"}}, "x")
    assert str(problem) == 'x.type: Invalid value: "array": must be object at the root'


def test_metadata_may_only_be_narrowed_in_its_name() -> None:
    labels = {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}
    (problem,) = structural_problems({"type": "object", "properties": labels}, "x")
    assert problem.field == "x.properties[metadata]"
    name = {"metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 20}}}}
    assert structural_problems({"type": "object", "properties": name}, "x") == []


def test_absurd_nesting_is_refused_instead_of_exhausting_the_stack() -> None:
    nested: dict[str, Any] = {"type": "string"}
    for _ in range(1000):
        nested = {"type": "object", "properties": {"a": nested}}
    found = structural_problems(nested, "x")
    assert [problem.message for problem in found] == [
        "Forbidden: schemas nested deeper than 200 levels are not supported"
    ]


def test_a_definition_with_a_broken_schema_makes_no_records() -> None:
    with pytest.raises(SchemaError) as caught:
        resource_types_of_crd(crd_of({"type": "object", "properties": {"a": {}, "b": {"type": "array"}}}))
    where = "spec.versions[0].schema.openAPIV3Schema.properties"
    assert [problem.field for problem in caught.value.causes] == [f"{where}[a].type", f"{where}[b].items"]


def test_the_sample_schema_is_structural() -> None:
    assert structural_problems(WIDGET_SCHEMA, "x") == []


def test_a_schema_that_its_author_has_checked_is_not_checked_again() -> None:
    schema = {"type": "object", "properties": {"a": {"description": "has no type, and is taken nevertheless"}}}
    assert structural_problems(schema, "x") != []

    take_as_flawless(schema)

    assert structural_problems(schema, "x") == []
