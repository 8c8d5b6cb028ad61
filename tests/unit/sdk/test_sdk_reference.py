"""References and sub-paths."""

from __future__ import annotations

from typing import Any

import pytest

from bubu_sdk import reference
from bubu_sdk.errors import InputError, PayloadPathError

DATA = {"items": [{"n": 1, "tags": ["a"]}, {"n": 2}], "deep": {"x": {"y": None}}}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"$bubuStorageRef": "k"}, True),
        ({"$bubuStorageRef": "k", "$bubuStoragePath": "a.b", "$bubuStorageContentType": "text/plain"}, True),
        ({"$bubuStorageRef": "k", "extra": 1}, False),
        ({"$bubuStorageRef": "k", "$bubuStoragePath": 1}, False),
        ({"$bubuStorageRef": 1}, False),
        ("k", False),
    ],
)
def test_only_the_exact_shape_is_a_storage_reference(node: Any, expected: bool) -> None:
    assert reference.is_storage_reference(node) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("items[0].n", 1),
        ("items[*].n", [1, 2]),
        ("items[*].tags", [["a"], None]),
        ("deep.x.y", None),
        ("", DATA),
        ("..deep . x", {"y": None}),
    ],
)
def test_a_sub_path_selects_a_part(path: str, expected: Any) -> None:
    assert reference.select(DATA, path) == expected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("items[2]", "index 2 is out of range"),
        ("missing", "field 'missing' is missing"),
        ("deep[0]", "not to a list"),
        ("items.n", "not in an object"),
        ("items[*].n.x", "not in an object"),
        ("items[", "must be"),
        ("items[]", "must be"),
        ("items[x]", "must be"),
    ],
)
def test_a_sub_path_that_names_nothing_is_refused(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        reference.select(DATA, path)


@pytest.mark.parametrize("key", ["", "/abs", "a/../b", "..", "a\\..\\b", "\\abs", "a\0b"])
def test_a_key_that_leaves_its_place_is_refused(key: str) -> None:
    with pytest.raises(PayloadPathError, match="invalid storage path"):
        reference.checked_key(key)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"$bubuConfigMapRef": "settings:region"}, ("ConfigMap", "settings", "region", "auto")),
        ({"$bubuSecretRef": "prod/db:password"}, ("Secret", "db", "password", "auto")),
        ({"$bubuSecretRef": {"name": "db", "key": "k", "format": "RAW"}}, ("Secret", "db", "k", "raw")),
    ],
)
def test_kube_references_are_read(node: Any, expected: tuple[str, ...]) -> None:
    found = reference.kube_reference(node, "inputs.x", "prod")

    assert found is not None
    assert (found.kind, found.name, found.key, found.format) == expected


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"$bubuSecretRef": "other/db:k"}, "inputs.x: .* names namespace 'other'"),
        ({"$bubuSecretRef": "db"}, "needs a name and a key"),
        ({"$bubuSecretRef": 3}, "expected 'name:key'"),
        ({"$bubuConfigMapRef": {"name": "a", "key": "k", "format": "yaml"}}, "must be one of auto, json, raw"),
        ({"$bubuConfigMapRef": {"name": "a", "key": "k", "kind": "x"}}, "no other fields"),
    ],
)
def test_a_malformed_or_foreign_kube_reference_is_an_error_that_names_the_path(node: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        reference.kube_reference(node, "inputs.x", "prod")


@pytest.mark.parametrize(
    ("text", "format_", "expected"),
    [("  ", "auto", ""), ("[1]", "auto", [1]), (" hello ", "auto", " hello "), ("[1]", "raw", "[1]"), ("3", "json", 3)],
)
def test_the_text_of_a_key_is_interpreted_by_its_format(text: str, format_: str, expected: Any) -> None:
    assert reference.interpret(text, format_, "inputs.x") == expected


def test_json_format_demands_json_without_showing_the_text() -> None:
    with pytest.raises(InputError, match=r"inputs\.x") as caught:
        reference.interpret("hunter2", "json", "inputs.x")

    assert "hunter2" not in str(caught.value)
