"""A patch contains what is necessary and no more, and applies only to the object for which it was made."""

from __future__ import annotations

from typing import Any

import pytest

from core.kube.patch import bound_to, finalizer_addition, finalizer_removal, metadata_patch, status_patch
from kubewire import JSONPatchError, apply_json_patch, apply_merge_patch
from tests.unit.core.kube.scripted_server import widget

BOUND = {"uid": "uid-a", "resourceVersion": "5"}


def test_a_status_patch_holds_what_differs_and_its_preconditions() -> None:
    old = widget("a", 5, status={"phase": "Running", "left": 3, "kept": [1]}, spec={"x": 1})
    new = {**old, "status": {"phase": "Done", "kept": [1]}, "spec": {"x": 2}}

    assert status_patch(old, new) == {"metadata": BOUND, "status": {"phase": "Done", "left": None}}


def test_no_difference_is_no_patch() -> None:
    old = widget("a", 5, status={"phase": "Running"}, spec={})

    assert status_patch(old, {**old, "spec": {"x": 1}}) is None
    assert metadata_patch(old, {**old, "status": {}}) is None


def test_a_metadata_patch_leaves_the_servers_fields_alone() -> None:
    old = widget("a", 5, labels={"a": "1", "b": "2"})
    new = {"metadata": {**old["metadata"], "labels": {"a": "1"}, "finalizers": ["f"], "generation": 7}}

    assert metadata_patch(old, new) == {"metadata": {"labels": {"b": None}, "finalizers": ["f"], **BOUND}}
    assert metadata_patch(old, {"metadata": {}}) == {"metadata": {"labels": None, **BOUND}}


def test_an_object_that_was_never_stored_cannot_bind_a_patch() -> None:
    with pytest.raises(ValueError, match="read it first"):
        bound_to({"kind": "Widget", "metadata": {"name": "a"}}, {})


@pytest.mark.parametrize("present", [[], ["x"], ["x", "y"]])
def test_a_finalizer_is_added_and_removed_without_touching_others(present: list[str]) -> None:
    obj = widget("a", 5)
    if present:
        obj["metadata"]["finalizers"] = present
    added = apply_json_patch(obj, finalizer_addition(obj, "ours") or [])
    assert added["metadata"]["finalizers"] == [*present, "ours"]
    removed = apply_json_patch(added, finalizer_removal(added, "ours") or [])

    assert (removed["metadata"].get("finalizers") or []) == present


def test_finalizers_that_need_no_change_need_no_patch() -> None:
    obj = widget("a", 5)
    obj["metadata"]["finalizers"] = ["ours"]

    assert finalizer_addition(obj, "ours") is None
    assert finalizer_removal(obj, "other") is None
    assert finalizer_addition(widget("a", 5, deletion=True), "ours") is None


def changed(**metadata: Any) -> dict[str, Any]:
    obj: dict[str, Any] = apply_merge_patch(widget("a", 5), {"metadata": {"finalizers": ["x", "ours"], **metadata}})
    return obj


@pytest.mark.parametrize("other", [{"uid": "another"}, {"finalizers": ["ours", "x"]}, {"finalizers": None}])
def test_a_removal_fails_when_the_object_is_not_as_it_was(other: dict[str, Any]) -> None:
    patch = finalizer_removal(changed(), "ours")

    with pytest.raises(JSONPatchError):
        apply_json_patch(changed(**other), patch or [])
