"""Schemas of the template, as plain JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest

from bubu_sdk import schema
from bubu_sdk.errors import EngramError, InputError
from bubu_sdk.schema import Schemas

LINK = {"$bubuStorageRef": "outputs/ns/sr/output.json"}


def accepts(document: Any, value: Any) -> bool:
    try:
        Schemas(document, None).check_inputs(value)
    except InputError:
        return False
    return True


def test_a_boolean_required_is_lifted_into_its_parent() -> None:
    document = {"type": "object", "properties": {"a": {"type": "string", "required": True}, "b": {"required": False}}}

    assert schema.normalise(document) == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {}},
        "required": ["a"],
    }


def test_references_are_accepted_only_where_allowed() -> None:
    strict = {"properties": {"a": {"type": "string"}}}
    relaxed = {"x-bubu-allow-runtime-refs": True, **strict}

    assert not accepts(strict, {"a": LINK})
    assert accepts(relaxed, {"a": LINK})
    assert accepts(relaxed, {"a": {"$bubuSecretRef": "db:password"}})
    assert not accepts(relaxed, {"a": {"$bubuSecretRef": "db:password", "more": 1}})
    assert not accepts(relaxed, {"a": 3})


def test_a_node_may_take_the_permission_back() -> None:
    document = {
        "x-bubu-allow-runtime-refs": True,
        "properties": {"a": {"type": "string", "x-bubu-allow-runtime-refs": False}},
    }

    assert not accepts(document, {"a": LINK})


def test_template_texts_are_accepted_where_allowed() -> None:
    document = {"properties": {"n": {"type": "integer", "x-bubu-allow-template-strings": True}}}

    assert accepts(document, {"n": "{{ inputs.n }}"})
    assert not accepts(document, {"n": "text"})


def test_branches_of_one_of_do_not_inherit() -> None:
    document = {
        "x-bubu-allow-runtime-refs": True,
        "properties": {"a": {"oneOf": [{"type": "string"}, {"type": "integer"}]}},
    }

    assert accepts(document, {"a": LINK})
    assert accepts(document, {"a": "x"})


def test_definitions_stay_reachable_when_the_root_is_relaxed() -> None:
    document = {
        "x-bubu-allow-runtime-refs": True,
        "definitions": {"name": {"type": "string"}},
        "properties": {"a": {"$ref": "#/definitions/name"}},
    }

    assert accepts(document, {"a": "x"})
    assert not accepts(document, {"a": 1})


def test_another_document_is_never_fetched() -> None:
    with pytest.raises(EngramError, match="refers to another document") as caught:
        Schemas({"properties": {"a": {"$ref": "https://example.org/s.json"}}}, None).check_inputs({})

    assert caught.value.exit_class == "retry"


def test_a_schema_that_does_not_compile_is_not_the_inputs_fault() -> None:
    with pytest.raises(EngramError, match="cannot be compiled") as caught:
        Schemas({"type": "nonsense"}, None).check_inputs({})

    assert not isinstance(caught.value, InputError)


def test_every_violation_is_named_up_to_ten() -> None:
    document = {"additionalProperties": {"type": "integer"}}

    with pytest.raises(InputError, match="and 2 more") as caught:
        Schemas(None, document).check_output({f"k{i}": "x" for i in range(12)})

    assert "output.k0:" in str(caught.value)
