"""Old errors are tolerated exactly where nothing changed."""

from __future__ import annotations

import copy
from typing import Any

from localcluster.server import schema
from localcluster_tests.server.schema_samples import WIDGET_SCHEMA, record_of, widget

WIDGETS = record_of(WIDGET_SCHEMA)


def fields_at_fault(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    return [found.field for found in schema.validate(widget(**new), widget(**old), WIDGETS)]


def test_a_fault_in_an_unchanged_field_is_tolerated() -> None:
    assert fields_at_fault({"replicas": 9, "flag": True}, {"replicas": 9}) == []


def test_a_changed_field_must_be_right() -> None:
    assert fields_at_fault({"replicas": 8}, {"replicas": 9}) == ["spec.replicas"]


def test_a_fault_that_is_new_is_refused_even_beside_an_old_one() -> None:
    assert fields_at_fault({"replicas": 9, "name": "A"}, {"replicas": 9}) == ["spec.name"]


def test_entries_of_a_list_map_are_followed_by_key_not_by_position() -> None:
    old = {"steps": [{"name": "a", "n": 99}, {"name": "b", "n": 1}]}
    moved = {"steps": [{"name": "b", "n": 1}, {"name": "a", "n": 99}]}
    assert fields_at_fault(moved, old) == []
    spread = {"steps": [{"name": "a", "n": 1}, {"name": "b", "n": 99}]}
    assert fields_at_fault(spread, old) == ["spec.steps[1].n"]


def test_entries_of_other_lists_cannot_be_followed() -> None:
    assert fields_at_fault({"arr": [1]}, {"arr": [2]}) == ["spec.arr"]
    assert fields_at_fault({"arr": [1], "flag": True}, {"arr": [1]}) == []


def test_an_immutable_field_stays_so_while_all_else_is_tolerated() -> None:
    old = widget(fixed="a", replicas=9)
    new = copy.deepcopy(old)
    new["spec"]["fixed"] = "b"
    assert [str(found) for found in schema.validate(new, old, WIDGETS)] == [
        'spec.fixed: Invalid value: "b": fixed is immutable'
    ]
