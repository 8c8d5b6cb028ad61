"""Laws and cases of patch arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewire import (
    JSONPatchMalformedError,
    JSONPatchPathError,
    JSONPatchTestError,
    PatchType,
    StatusReason,
    apply_json_patch,
    apply_merge_patch,
    copy_value,
    merge_patch_between,
    says_not_now,
    status_failure,
    values_equal,
)

SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2, allow_nan=False) | st.sampled_from(["", "a", "b"])
)
KEYS = st.sampled_from(["a", "b", "c", "~", "/"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


@given(OBJECTS, OBJECTS)
def test_the_patch_between_two_objects_turns_one_into_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    patched = apply_merge_patch(without_nulls(old), merge_patch_between(old, new))

    assert values_equal(patched, without_nulls(new))


@given(OBJECTS, OBJECTS)
def test_no_key_of_the_smallest_patch_can_be_left_out(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = merge_patch_between(old, new)

    for key in patch:
        smaller = {name: item for name, item in patch.items() if name != key}
        assert not values_equal(apply_merge_patch(without_nulls(old), smaller), without_nulls(new))


@given(OBJECTS, VALUES)
def test_merging_changes_neither_argument_and_shares_nothing(target: dict[str, Any], patch: Any) -> None:
    target_before, patch_before = copy_value(target), copy_value(patch)

    result = apply_merge_patch(target, patch)
    scribble(result)

    assert values_equal(target, target_before)
    assert values_equal(patch, patch_before)


def scribble(value: Any) -> None:
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        scribble(item)
    if isinstance(value, dict):
        value["scribble"] = 1
    elif isinstance(value, list):
        value.append("scribble")


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_examples_of_the_rfc_hold(target: Any, patch: Any, expected: Any) -> None:
    assert apply_merge_patch(target, patch) == expected


def test_a_boolean_that_became_a_number_is_a_change() -> None:
    assert merge_patch_between({"a": True, "b": 1}, {"a": 1, "b": 1.0}) == {"a": 1}


def test_an_emptied_list_and_a_new_empty_map_are_changes() -> None:
    assert merge_patch_between({"a": [1]}, {"a": [], "b": {}}) == {"a": [], "b": {}}


@pytest.mark.parametrize(
    ("document", "operations", "expected"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
        ({"foo": ["a", "b"]}, [{"op": "add", "path": "/foo/1", "value": "x"}], {"foo": ["a", "x", "b"]}),
        ({"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": ["b"]}], {"foo": ["a", ["b"]]}),
        ({"foo": ["a"]}, [{"op": "add", "path": "/foo/1", "value": "b"}], {"foo": ["a", "b"]}),
        ({"foo": ["a", "b"]}, [{"op": "remove", "path": "/foo/0"}], {"foo": ["b"]}),
        ({"baz": "q", "foo": 1}, [{"op": "replace", "path": "/baz", "value": None}], {"baz": None, "foo": 1}),
        ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
        ({"a": [1, 2, 3]}, [{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": [2, 3, 1]}),
        ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        ({"/": 9}, [{"op": "remove", "path": "/~1"}], {}),
        ({"": 1}, [{"op": "test", "path": "/", "value": 1.0}], {"": 1}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": [1]}], [1]),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
    ],
)
def test_json_patch_operations_do_what_the_rfc_says(document: Any, operations: list[Any], expected: Any) -> None:
    assert apply_json_patch(document, operations) == expected


@pytest.mark.parametrize(
    ("document", "operation", "error"),
    [
        ({}, {"op": "add", "path": "/a/b", "value": 1}, JSONPatchPathError),
        ({}, {"op": "replace", "path": "/a", "value": 1}, JSONPatchPathError),
        ({}, {"op": "remove", "path": "/a"}, JSONPatchPathError),
        ({"a": [1]}, {"op": "add", "path": "/a/3", "value": 1}, JSONPatchPathError),
        ({"a": [1]}, {"op": "remove", "path": "/a/-"}, JSONPatchPathError),
        ({"a": [1]}, {"op": "remove", "path": "/a/01"}, JSONPatchPathError),
        ({"a": [1]}, {"op": "remove", "path": "/a/" + "9" * 10_000}, JSONPatchPathError),
        ({"a": [1]}, {"op": "test", "path": "/a/-1", "value": 1}, JSONPatchPathError),
        ({"a": {}}, {"op": "move", "from": "/a", "path": "/a/b"}, JSONPatchPathError),
        ({"a": "text"}, {"op": "add", "path": "/a/0", "value": 1}, JSONPatchPathError),
        ({"a": True}, {"op": "test", "path": "/a", "value": 1}, JSONPatchTestError),
        ({"a": [1]}, {"op": "test", "path": "/a", "value": [1, 2]}, JSONPatchTestError),
        ({}, {"op": "add", "path": "/a"}, JSONPatchMalformedError),
        ({}, {"op": "frob", "path": "/a"}, JSONPatchMalformedError),
        ({}, {"op": ["add"], "path": "/a"}, JSONPatchMalformedError),
        ({}, {"op": "add", "path": "a", "value": 1}, JSONPatchMalformedError),
        ({}, {"op": "add", "value": 1}, JSONPatchMalformedError),
        ({}, {"op": "copy", "path": "/a"}, JSONPatchMalformedError),
        ({}, "add", JSONPatchMalformedError),
    ],
)
def test_a_json_patch_that_cannot_apply_says_which_operation_failed(document: Any, operation: Any, error: Any) -> None:
    before = copy_value(document)

    with pytest.raises(error, match="operation 0: "):
        apply_json_patch(document, [operation])

    assert document == before


def test_copies_that_double_a_document_end_before_memory_does() -> None:
    doubling = [{"op": "copy", "from": "", "path": f"/{step}"} for step in range(64)]

    with pytest.raises(JSONPatchPathError, match="copies more than"):
        apply_json_patch({"a": list(range(100))}, doubling)


@given(OBJECTS, VALUES)
def test_an_added_value_can_be_tested_and_removed_again(document: dict[str, Any], value: Any) -> None:
    document.pop("c", None)
    added = apply_json_patch(document, [{"op": "add", "path": "/c", "value": value}])

    assert values_equal(added["c"], value)
    again = [{"op": "test", "path": "/c", "value": value}, {"op": "remove", "path": "/c"}]
    assert values_equal(apply_json_patch(added, again), document)


def test_a_failure_status_carries_the_code_of_its_reason() -> None:
    status = status_failure(StatusReason.NOT_FOUND, "gone fishing", details={"name": "a"})

    assert status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "gone fishing",
        "reason": "NotFound",
        "details": {"name": "a"},
        "code": 404,
    }
    assert status_failure("Unheard", "x")["code"] == 500
    assert status_failure("Expired", "x")["code"] == 410
    assert all(400 <= reason.code < 600 for reason in StatusReason)


def test_a_patch_type_is_its_content_type() -> None:
    assert {str(kind) for kind in PatchType} == {
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    }


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((408, 429, 500, 502, 503, 504, 507, 599), True), ((200, 400, 403, 404, 409, 410, 413, 422, 501), False)],
)
def test_only_refusals_about_the_server_pass(codes: tuple[int, ...], expected: bool) -> None:
    assert {says_not_now(code) for code in codes} == {expected}
