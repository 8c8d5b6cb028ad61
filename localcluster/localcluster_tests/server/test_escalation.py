"""Users cannot grant rights that they do not have."""

from __future__ import annotations

import pytest

from localcluster.server import escalation
from localcluster.server.types import Object


def rule(verbs: str, groups: str, resources: str, *names: str) -> Object:
    found: Object = {"verbs": verbs.split(), "apiGroups": groups.split(","), "resources": resources.split()}
    return {**found, "resourceNames": list(names)} if names else found


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        ([rule("get list", "", "pods")], rule("get", "", "pods"), True),
        ([rule("get", "", "pods")], rule("get list", "", "pods"), False),
        ([rule("get", "", "pods"), rule("list", "", "pods")], rule("get list", "", "pods"), True),
        ([rule("*", "*", "*")], rule("*", "*", "*"), True),
        ([rule("get", "*", "*")], rule("*", "", "pods"), False),
        ([rule("get", "", "pods", "a")], rule("get", "", "pods"), False),
        ([rule("get", "", "pods")], rule("get", "", "pods", "a"), True),
        ([rule("get", "", "pods", "a")], rule("get", "", "pods", "a", "b"), False),
        ([rule("get", "", "*/log")], rule("get", "", "pods/log"), True),
        ([{"verbs": ["get"], "nonResourceURLs": ["/x/*"]}], {"verbs": ["get"], "nonResourceURLs": ["/x/y"]}, True),
        ([{"verbs": ["get"], "nonResourceURLs": ["/x"]}], {"verbs": ["get"], "nonResourceURLs": ["/x/y"]}, False),
        ([], rule("get", "", "pods"), False),
    ],
)
def test_a_grant_must_be_covered_right_by_right(held: list[Object], wanted: Object, *, expected: bool) -> None:
    assert escalation.covers(held, wanted) is expected
