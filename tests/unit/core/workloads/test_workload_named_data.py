"""Which data inputs refer to, and which rules allow a container to read it."""

from __future__ import annotations

from typing import Any

import pytest

from core.workloads.named_data import Named, named_in, readable


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ({"a": {"$bubuSecretRef": "keys:token"}}, {Named("secrets", "keys")}),
        ({"a": {"$bubuSecretRef": "team/keys:token"}}, {Named("secrets", "keys")}),
        ({"a": [{"b": {"$bubuConfigMapRef": {"name": " c ", "key": "k"}}}]}, {Named("configmaps", "c")}),
        ({"a": {"$bubuSecretRef": "keys:token", "b": 1}}, set()),
        ({"a": {"$bubuSecretRef": 5}, "b": {"$bubuSecretRef": {"key": "x"}}, "c": {"$bubuSecretRef": ":x"}}, set()),
        ({"$bubuSecretRef": {"name": "root"}}, {Named("secrets", "root")}),
        ("$bubuSecretRef", set()),
    ],
)
def test_references_are_found_at_any_depth(inputs: Any, found: set[Named]) -> None:
    assert named_in(inputs) == found


def test_rules_allow_by_name_kind_and_verb() -> None:
    wanted = [Named("secrets", "a"), Named("secrets", "b"), Named("configmaps", "a")]
    by_name = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["a"]}
    every = {"apiGroups": ["", "apps"], "resources": ["pods", "configmaps"], "verbs": ["list", "get"]}
    assert list(readable([by_name], wanted)) == [Named("secrets", "a")]
    assert list(readable([every], wanted)) == [Named("configmaps", "a")]
    assert list(readable([{**every, "verbs": ["list"]}, {**by_name, "apiGroups": ["apps"]}], wanted)) == []
