"""Comparison of values by their schema: what changed and what was removed, named as in managedFields."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcluster.server import fieldset, typed

SCHEMA: dict[str, Any] = {
    "properties": {
        "ports": {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {"properties": {"protocol": {"default": "TCP"}}},
        },
        "tags": {"x-kubernetes-list-type": "set"},
        "args": {"items": {}},
        "whole": {"x-kubernetes-map-type": "atomic"},
        "labels": {"additionalProperties": {}},
    }
}
SCALARS = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from("ab")
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "ports": st.lists(st.fixed_dictionaries({"port": st.integers(1, 3)}, optional={"name": SCALARS}), max_size=3),
        "tags": st.lists(st.sampled_from("abc"), max_size=3),
        "args": st.lists(SCALARS, max_size=3),
        "whole": st.dictionaries(st.sampled_from("ab"), SCALARS),
        "labels": st.none() | st.dictionaries(st.sampled_from("ab"), SCALARS),
    },
)


@pytest.mark.parametrize(
    ("left", "right", "changed", "removed"),
    [
        pytest.param(
            {},
            {"ports": [{"port": 1, "name": "a"}]},
            {"f:ports": {".": {}, 'k:{"port":1,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:name": {}}}},
            {},
            id="a new keyed item with all its fields",
        ),
        pytest.param(
            {"ports": [{"port": 1, "name": "a"}, {"port": 2}]},
            {"ports": [{"port": 1, "name": "b"}]},
            {"f:ports": {'k:{"port":1,"protocol":"TCP"}': {"f:name": {}}}},
            {"f:ports": {'k:{"port":2,"protocol":"TCP"}': {".": {}, "f:port": {}}}},
            id="a changed and a removed item",
        ),
        pytest.param({"tags": ["a", "b"]}, {"tags": ["b"]}, {}, {"f:tags": {'v:"a"': {}}}, id="a set loses a member"),
        pytest.param({"args": [1]}, {"args": [1, 2]}, {"f:args": {}}, {}, id="an atomic list changes as one"),
        pytest.param({"whole": {"a": 1}}, {"whole": {"a": 2}}, {"f:whole": {}}, {}, id="an atomic map changes as one"),
        pytest.param(
            {"labels": None}, {"labels": {"a": 1}}, {"f:labels": {"f:a": {}}}, {}, id="null is an object without fields"
        ),
        pytest.param({"labels": {}}, {"labels": None}, {"f:labels": {}}, {}, id="nothing to walk in empty and null"),
        pytest.param({"labels": {"a": 1}}, {"labels": [1]}, {"f:labels": {}}, {}, id="another kind of value"),
        pytest.param({}, {"labels": {}}, {"f:labels": {}}, {}, id="an empty object is a field"),
    ],
)
def test_a_comparison_names_what_changed_and_what_was_removed(
    left: Any, right: Any, changed: Any, removed: Any
) -> None:
    assert typed.compare(left, right, SCHEMA) == typed.Comparison(changed, removed)


@given(VALUES)
def test_nothing_changes_between_equals(value: Any) -> None:
    assert typed.compare(value, value, SCHEMA) == typed.Comparison({}, {})


@given(VALUES, VALUES)
def test_what_is_removed_one_way_is_added_the_other_way(left: Any, right: Any) -> None:
    removed = typed.compare(left, right, SCHEMA).removed
    added = typed.compare(right, left, SCHEMA).changed

    assert fieldset.difference(removed, added) == {}
