"""Defaults of a schema, filled into inputs."""

from __future__ import annotations

from typing import Any

import pytest

from core.evaluation.schema import apply_schema_defaults

_UNTYPED = {"properties": {"b": {"default": 1}}}
_NESTED = {"type": "object", **_UNTYPED}


@pytest.mark.parametrize(
    ("schema", "inputs", "expected"),
    [
        pytest.param({"properties": {"a": {"default": 0}}}, {}, {"a": 0}, id="an absent key"),
        pytest.param({"properties": {"a": {"default": None}}}, {}, {"a": None}, id="null is a default"),
        pytest.param({"properties": {"a": {"default": 1}}}, {"a": None}, {"a": None}, id="a null stays"),
        pytest.param({"properties": {"a": _NESTED}}, {}, {"a": {"b": 1}}, id="an object is created for its defaults"),
        pytest.param(
            {"properties": {"a": {"properties": {"b": {"default": 1}}}}}, {}, {"a": {"b": 1}}, id="without type"
        ),
        pytest.param({"properties": {"a": {**_NESTED, "type": "array"}}}, {}, {}, id="not for another type"),
        pytest.param({"properties": {"a": _NESTED}}, {"a": {}}, {"a": {"b": 1}}, id="inside of a given object"),
        pytest.param({"properties": {"a": _NESTED}}, {"a": 5}, {"a": 5}, id="not inside of a given number"),
        pytest.param(
            {"allOf": [{"properties": {"a": {"default": 1}}}], "properties": {"a": {"default": 2}}},
            {},
            {"a": 1},
            id="allOf comes first",
        ),
        pytest.param({"properties": {"a": {"items": _NESTED}}}, {"a": [{}]}, {"a": [{}]}, id="items are not followed"),
    ],
)
def test_defaults(schema: dict[str, Any], inputs: Any, expected: Any) -> None:
    assert apply_schema_defaults(schema, inputs) == expected


def test_neither_inputs_nor_schema_are_changed() -> None:
    schema: dict[str, Any] = {"properties": {"a": {"default": {"x": []}}}}
    inputs: dict[str, Any] = {}
    filled = apply_schema_defaults(schema, inputs)
    filled["a"]["x"].append(1)
    assert inputs == {}
    assert schema["properties"]["a"]["default"] == {"x": []}


def test_depth_is_limited() -> None:
    schema: dict[str, Any] = {"properties": {"leaf": {"default": 1}}}
    for _ in range(40):
        schema = {"properties": {"a": schema}}
    assert apply_schema_defaults(schema, {}) == {}
