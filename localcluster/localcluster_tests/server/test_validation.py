"""Field errors in the words of the API server. Every expectation here was read off a real one (1.37)."""

from __future__ import annotations

from typing import Any

import pytest

from localcluster.server import schema, validation
from localcluster_tests.server.schema_samples import WIDGET_SCHEMA, record_of, widget

WIDGETS = record_of(WIDGET_SCHEMA)
NOT_ASKED = (
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)

BLOCKING: list[tuple[str, dict[str, Any], list[str]]] = [
    ("a required field", {"color": None}, ["spec.color: Required value"]),
    (
        "a value outside an enum",
        {"color": "pink"},
        ['spec.color: Unsupported value: "pink": supported values: "red", "green", "blue"'],
    ),
    (
        "a number for a string",
        {"color": 3},
        [
            'spec.color: Invalid value: "integer": spec.color in body must be of type string: "integer"',
            'spec.color: Unsupported value: 3: supported values: "red", "green", "blue"',
        ],
    ),
    (
        "a string for a number",
        {"ratio": "a"},
        ['spec.ratio: Invalid value: "string": spec.ratio in body must be of type number: "string"'],
    ),
    (
        "a fraction for an integer",
        {"replicas": 2.5},
        ['spec.replicas: Invalid value: "number": spec.replicas in body must be of type integer: "number"'],
    ),
    (
        "an integer beyond 64 bits",
        {"n64": 2**70},
        ['spec.n64: Invalid value: "float64": spec.n64 in body must be of type int64: "float64"'],
    ),
    (
        "a string for a boolean",
        {"flag": "true"},
        ['spec.flag: Invalid value: "string": spec.flag in body must be of type boolean: "string"'],
    ),
    ("too long a string", {"name": "abcdef"}, ["spec.name: Too long: may not be more than 5 bytes"]),
    (
        "text that is no instant",
        {"when": "yesterday"},
        ['spec.when: Invalid value: "yesterday": spec.when in body must be of type date-time: "yesterday"'],
    ),
    ("too many items", {"tags": ["a", "b", "c", "d"]}, ["spec.tags: Too many: 4: must have at most 3 items"]),
    (
        "no list where one is due",
        {"tags": "a"},
        ['spec.tags: Invalid value: "string": spec.tags in body must be of type array: "string"'],
    ),
    ("a list item without its key", {"steps": [{"kind": "x"}]}, ["spec.steps[0].name: Required value"]),
    (
        "a scalar in a list map",
        {"steps": ["a"]},
        [
            'spec.steps[0]: Invalid value: "string": spec.steps[0] in body must be of type object: "string"',
            'spec.steps[0]: Invalid value: "a": must be an object for an array of list-type map',
        ],
    ),
    (
        "a boolean for int-or-string",
        {"port": True},
        ['spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"'],
    ),
    (
        "too many properties",
        {"labels": {"a": "", "b": "", "c": ""}},
        ["spec.labels: Too many: 3: must have at most 2 items"],
    ),
    (
        "an embedded object without kind",
        {"template": {"metadata": {}}},
        ["spec.template.apiVersion: Required value", "spec.template.kind: Required value"],
    ),
    (
        "none of oneOf",
        {"one": {}},
        [
            '<nil>: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found none valid',
            "spec.one.a: Required value",
        ],
    ),
    (
        "none of anyOf",
        {"either": {}},
        [
            '<nil>: Invalid value: "": "spec.either" must validate at least one schema (anyOf)',
            "spec.either.a: Required value",
        ],
    ),
    (
        "not all of allOf",
        {"both": {"a": "1"}},
        [
            "spec.both.b: Required value",
            '<nil>: Invalid value: "": "spec.both" must validate all the schemas (allOf)',
        ],
    ),
]

PLAIN: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "above the maximum",
        {"replicas": 9},
        ["spec.replicas: Invalid value: 9: spec.replicas in body should be less than or equal to 5"],
    ),
    (
        "below the minimum",
        {"replicas": 0},
        ["spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1"],
    ),
    (
        "an integer beyond 32 bits",
        {"n32": 2**40},
        ['<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.n32'],
    ),
    (
        "no multiple",
        {"ratio": 0.3},
        ["spec.ratio: Invalid value: 0.3: spec.ratio in body should be a multiple of 0.5"],
    ),
    (
        "not above an exclusive minimum",
        {"ratio": 0},
        ["spec.ratio: Invalid value: 0: spec.ratio in body should be greater than 0"],
    ),
    (
        "too short a string, which also breaks the pattern",
        {"name": "A"},
        ['spec.name: Invalid value: "A": spec.name in body should be at least 2 chars long'],
    ),
    (
        "a string off the pattern",
        {"name": "AB1"},
        ["spec.name: Invalid value: \"AB1\": spec.name in body should match '^[a-z]+$'"],
    ),
    ("a set with a duplicate", {"tags": ["a", "b", "a"]}, ['spec.tags[2]: Duplicate value: "a"']),
    (
        "a list map with a duplicate",
        {"steps": [{"name": "a"}, {"name": "a"}]},
        ['spec.steps[1]: Duplicate value: {"name":"a"}'],
    ),
    ("too few items", {"arr": [1]}, ["spec.arr: Invalid value: 1: spec.arr in body should have at least 2 items"]),
    (
        "too few properties",
        {"atLeastOne": {}},
        ["spec.atLeastOne: Invalid value: 0: spec.atLeastOne in body should have at least 1 properties"],
    ),
    (
        "two of oneOf",
        {"one": {"a": "1", "b": "2"}},
        [
            (
                '<nil>: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). '
                "Found 2 valid alternatives"
            )
        ],
    ),
    (
        "what not forbids",
        {"without": {"a": "1"}},
        ['<nil>: Invalid value: "": "spec.without" must not validate the schema (not)'],
    ),
]


def faults_of(spec: dict[str, Any]) -> list[str]:
    obj = widget(**spec)
    schema.prune(obj, WIDGETS)
    schema.apply_defaults(obj, WIDGETS)
    return [str(found) for found in schema.validate(obj, None, WIDGETS)]


@pytest.mark.parametrize(("spec", "expected"), [row[1:] for row in BLOCKING], ids=[row[0] for row in BLOCKING])
def test_a_fault_that_blocks_rules_is_told_and_says_so(spec: dict[str, Any], expected: list[str]) -> None:
    assert faults_of(spec) == [*expected, f"<nil>: {NOT_ASKED}"]


@pytest.mark.parametrize(("spec", "expected"), [row[1:] for row in PLAIN], ids=[row[0] for row in PLAIN])
def test_a_fault_that_does_not_block_rules_is_told_alone(spec: dict[str, Any], expected: list[str]) -> None:
    assert faults_of(spec) == expected


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": 2.0},
        {"port": "http"},
        {"port": 80},
        {"any": [1, "x", {"y": None}]},
        {"open": {"known": 1, "other": {"x": [1]}}},
        {"note": None},
        {"when": "2024-02-29T23:59:59.123456789+05:30"},
        {"ratio": 2},
    ],
    ids=lambda spec: repr(spec),
)
def test_what_the_schema_allows_has_no_faults(spec: dict[str, Any]) -> None:
    assert faults_of(spec) == []


def test_all_faults_are_told_at_once() -> None:
    found = faults_of({"color": "pink", "replicas": 9, "name": "A"})
    assert [fault.split(":")[0] for fault in found] == ["spec.color", "spec.replicas", "spec.name", "<nil>"]


def test_lengths_count_characters_not_bytes() -> None:
    check = validation.compile_validator({"type": "string", "maxLength": 3})
    assert check("äöü") == []
    assert len(check("äöüß")) == 1


def test_true_and_one_are_different_values_but_one_and_one_point_zero_are_not() -> None:
    assert validation.comparable(True) != validation.comparable(1)
    assert validation.comparable(1) == validation.comparable(1.0)
    assert validation.comparable("1") != validation.comparable(1)


def test_a_pattern_takes_linear_time() -> None:
    check = validation.compile_validator({"type": "string", "pattern": "^(a+)+$"})
    assert len(check("a" * 5000 + "b")) == 1


def test_a_schema_that_says_nothing_accepts_everything() -> None:
    check = validation.compile_validator({"x-kubernetes-preserve-unknown-fields": True})
    anything: list[Any] = [None, 1, "a", [], {}]
    assert [check(value) for value in anything] == [[], [], [], [], []]
