"""Object metadata: what is filled in, kept and refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from localcluster.server import objectmeta
from localcluster.server.builtin import BUILTIN
from localcluster.server.objectmeta import UndecodableError

PODS = next(resource for resource in BUILTIN if resource.plural == "pods")
NODES = next(resource for resource in BUILTIN if resource.plural == "nodes")
ROLES = next(resource for resource in BUILTIN if resource.plural == "roles")


def fields(metadata: dict[str, Any], resource: Any = PODS) -> list[str]:
    return [found.field for found in objectmeta.why_invalid({"name": "p", **metadata}, resource)]


def test_good_metadata_has_no_causes() -> None:
    metadata = {
        "labels": {"a": "b", "example.com/x_y": "", "k": "1.2-3_4"},
        "annotations": {"UPPER.example.com/Any": "anything at all"},
        "finalizers": ["example.com/f", "orphan"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1"}],
    }
    assert fields(metadata) == []


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"name": ""}, "metadata.name"),
        ({"name": "Upper"}, "metadata.name"),
        ({"name": "a" * 254}, "metadata.name"),
        ({"name": "a..b"}, "metadata.name"),
        ({"generateName": "UPPER-"}, "metadata.generateName"),
        ({"labels": {"a b": "c"}}, "metadata.labels"),
        ({"labels": {"a": "no spaces"}}, "metadata.labels"),
        ({"labels": {"a": "x" * 64}}, "metadata.labels"),
        ({"labels": {"/a": "x"}}, "metadata.labels"),
        ({"labels": {"a/b/c": "x"}}, "metadata.labels"),
        ({"annotations": {"a b": "c"}}, "metadata.annotations"),
        ({"annotations": {"a": "x" * 300_000}}, "metadata.annotations"),
        ({"finalizers": ["example.com/not a name"]}, "metadata.finalizers"),
        ({"finalizers": ["orphan", "foregroundDeletion"]}, "metadata.finalizers"),
        ({"ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x"}]}, "metadata.ownerReferences[0].uid"),
    ],
)
def test_a_fault_is_named_by_its_field(metadata: dict[str, Any], field: str) -> None:
    assert fields(metadata) == [field]


def test_rbac_names_may_hold_colons() -> None:
    assert fields({"name": "system:Some_Role"}, ROLES) == []
    assert fields({"name": "a/b"}, ROLES) == ["metadata.name"]


def test_cluster_scoped_kinds_have_no_namespace() -> None:
    assert fields({"namespace": "x"}, NODES) == ["metadata.namespace"]


def test_only_one_owner_may_control() -> None:
    owners = [{"apiVersion": "v1", "kind": "X", "name": name, "uid": name, "controller": True} for name in "ab"]
    (found,) = objectmeta.why_invalid({"name": "p", "ownerReferences": owners}, PODS)
    assert "Only one reference can have Controller set to true" in found.message


def test_no_finalizer_may_be_added_to_a_dying_object() -> None:
    old = {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/a", "b/b"]}
    assert objectmeta.why_invalid_change({**old, "finalizers": ["a/a"]}, old) == []
    (found,) = objectmeta.why_invalid_change({**old, "finalizers": ["a/a", "c/c"]}, old)
    assert found.field == "metadata.finalizers"
    assert 'found new finalizers []string{"c/c"}' in found.message


def test_identity_cannot_be_changed() -> None:
    old = {"name": "p", "namespace": "x", "uid": "1"}
    causes = objectmeta.why_invalid_change({"name": "q", "namespace": "y", "uid": "2"}, old)
    assert [found.field for found in causes] == ["metadata.name", "metadata.namespace", "metadata.uid"]


def test_generated_names_keep_their_base_and_stay_labels() -> None:
    assert re.fullmatch(r"job-[bcdfghjklmnpqrstvwxz2456789]{5}", objectmeta.generated_name("job-"))
    assert len(objectmeta.generated_name("x" * 100)) == 63
    assert len({objectmeta.generated_name("a-") for _ in range(100)}) > 90


def test_empty_and_null_fields_are_dropped() -> None:
    empty: dict[str, Any] = {"labels": {}, "annotations": None, "finalizers": [], "namespace": ""}
    assert objectmeta.normalize({"metadata": {"name": "p", **empty}}) == {"name": "p"}


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        {"name": 1},
        {"labels": []},
        {"labels": {"a": 1}},
        {"generation": True},
        {"finalizers": [1]},
        {"ownerReferences": ["x"]},
        {"ownerReferences": [{"uid": 1}]},
    ],
)
def test_malformed_metadata_cannot_be_read(metadata: Any) -> None:
    with pytest.raises(UndecodableError, match="metadata"):
        objectmeta.normalize({"metadata": metadata})


def test_what_the_server_owns_is_carried_over() -> None:
    old = {"name": "p", "uid": "1", "creationTimestamp": "then", "deletionTimestamp": "soon", "generation": 3}
    new = {"name": "p", "creationTimestamp": "now", "selfLink": "/x"}
    objectmeta.carry_over(new, old)
    assert new == {"name": "p", "uid": "1", "creationTimestamp": "then", "deletionTimestamp": "soon"}
