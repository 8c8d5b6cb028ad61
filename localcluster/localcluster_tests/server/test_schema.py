"""Pruning, defaulting and validating together: laws for any object, and the order of the three."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcluster.server import schema
from localcluster.server.builtin import BUILTIN
from localcluster.server.defaulting import Defaulter, compile_defaulter
from localcluster_tests.server.schema_samples import WIDGET_SCHEMA, record_of, spec_record, widget

WIDGETS = record_of(WIDGET_SCHEMA)

# Names without NUL: the CEL runtime ends a name there, and then refuses two names that became equal.
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
STEPS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"name": st.text(min_size=1, max_size=5)},
    optional={"sub": st.fixed_dictionaries({}, optional={"x": st.integers(0, 5)})},
)
SPECS = st.dictionaries(
    st.sampled_from([*WIDGET_SCHEMA["properties"]["spec"]["properties"], "unknown"]), JSON_VALUES, max_size=6
)
VALID_SPECS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"color": st.sampled_from(["red", "green", "blue"])},
    optional={
        "replicas": st.integers(1, 5),
        "flag": st.booleans(),
        "name": st.from_regex("[a-z]{2,5}", fullmatch=True),
        "tags": st.lists(st.text(max_size=3), max_size=3, unique=True),
        "steps": st.lists(STEPS, max_size=4, unique_by=lambda step: step["name"]),
        "open": st.dictionaries(st.text(min_size=6, max_size=8), JSON_VALUES, max_size=3),
        "note": st.none() | st.text(max_size=3),
    },
)


@given(SPECS)
def test_pruning_twice_drops_nothing_the_second_time(spec: dict[str, Any]) -> None:
    obj = widget(**spec)
    schema.prune(obj, WIDGETS)
    once = copy.deepcopy(obj)
    assert schema.prune(obj, WIDGETS) == []
    assert obj == once


@given(SPECS)
def test_defaulting_twice_changes_nothing_the_second_time(spec: dict[str, Any]) -> None:
    obj = widget(**spec)
    schema.apply_defaults(obj, WIDGETS)
    once = copy.deepcopy(obj)
    schema.apply_defaults(obj, WIDGETS)
    assert obj == once


@given(VALID_SPECS)
def test_a_valid_object_stays_valid_and_keeps_its_fields_through_pruning_and_defaulting(spec: dict[str, Any]) -> None:
    obj = widget(**copy.deepcopy(spec))
    assert schema.validate(obj, None, WIDGETS) == []
    assert schema.prune(obj, WIDGETS) == []
    schema.apply_defaults(obj, WIDGETS)
    assert schema.validate(obj, None, WIDGETS) == []
    assert {name: obj["spec"][name] for name in spec if name != "steps"} == {
        name: spec[name] for name in spec if name != "steps"
    }


@given(SPECS)
def test_validation_never_changes_the_object_and_never_raises(spec: dict[str, Any]) -> None:
    obj = widget(**spec)
    before = copy.deepcopy(obj)
    schema.validate(obj, None, WIDGETS)
    schema.validate(obj, widget(), WIDGETS)
    assert obj == before


@given(SPECS)
def test_an_unchanged_object_is_always_accepted_on_update(spec: dict[str, Any]) -> None:
    obj = widget(**spec)
    assert schema.validate(obj, copy.deepcopy(obj), WIDGETS) in ([], [schema._RULES_NOT_ASKED])


def test_rules_wait_until_the_fields_they_read_have_the_right_types() -> None:
    rtype = spec_record({"low": {"type": "integer"}, "high": {"type": "integer"}})
    ruled = spec_record(
        {"low": {"type": "integer"}, "high": {"type": "integer"}},
        **{"x-kubernetes-validations": [{"rule": "self.low <= self.high"}]},
    )
    broken = {"spec": {"low": "x", "high": 1}}
    assert [found.field for found in schema.validate(broken, None, rtype)] == ["spec.low"]
    assert [found.field for found in schema.validate(broken, None, ruled)] == ["spec.low", "<nil>"]


def test_an_object_of_a_kind_without_schema_passes_through() -> None:
    config_maps = next(rtype for rtype in BUILTIN if rtype.plural == "resourcequotas")
    obj = {"kind": "ResourceQuota", "metadata": {"name": "a"}, "spec": {"hard": {"pods": "1"}}}
    before = copy.deepcopy(obj)
    assert schema.prune(obj, config_maps) == []
    schema.apply_defaults(obj, config_maps)
    assert schema.validate(obj, None, config_maps) == []
    assert obj == before


def test_a_fault_without_a_field_is_tolerated_too_while_its_part_stays_the_same() -> None:
    either = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "oneOf": [{"required": ["a"]}]}
    rtype = record_of({"type": "object", "properties": {"spec": either, "status": either}})
    old = widget()
    faulty = {**old, "status": {"b": 1}}

    assert schema.validate(old, None, rtype) != []
    assert schema.validate({**old, "status": {"a": 1}}, old, rtype) == []
    assert schema.validate(faulty, old, rtype) != []
    assert schema.validate(faulty, faulty, rtype) == []


def test_records_with_equal_schemas_share_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Mapping[str, Any]] = []

    def counted(of: Mapping[str, Any]) -> Defaulter | None:
        compiled.append(of)
        return compile_defaulter(of)

    monkeypatch.setattr(schema, "compile_defaulter", counted)
    unique = {**WIDGET_SCHEMA, "description": "of this test alone"}
    for properties in (unique, copy.deepcopy(unique), {**unique, "description": "another"}):
        schema.apply_defaults(widget(), record_of(properties))

    assert [found["description"] for found in compiled] == ["of this test alone", "another"]
