"""Strategic merge patches on the schemas of built-in kinds."""

from __future__ import annotations

from typing import Any

import pytest

from localcluster.server import builtin_schemas, strategic
from localcluster.server.strategic import StrategicPatchError

POD = builtin_schemas.structural_schema("", "v1", "Pod")
DEPLOYMENT = builtin_schemas.structural_schema("apps", "v1", "Deployment")


def pod(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def containers(*containers: dict[str, Any]) -> dict[str, Any]:
    return pod(containers=list(containers))


def test_containers_merge_by_name_and_their_environment_too() -> None:
    target = containers({"name": "a", "image": "i", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]})
    patch = {"spec": {"containers": [{"name": "a", "env": [{"name": "Y", "value": "3"}, {"name": "Z", "value": "4"}]}]}}
    merged = strategic.apply(target, patch, POD)
    (container,) = merged["spec"]["containers"]
    assert container["image"] == "i"
    assert {entry["name"]: entry["value"] for entry in container["env"]} == {"X": "1", "Y": "3", "Z": "4"}


def test_an_item_can_be_deleted_by_its_key() -> None:
    target = containers({"name": "a"}, {"name": "b"})
    patch = {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}
    assert strategic.apply(target, patch, POD)["spec"]["containers"] == [{"name": "b"}]


def test_a_list_can_be_replaced() -> None:
    target = containers({"name": "a"}, {"name": "b"})
    patch = {"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}]}}
    assert strategic.apply(target, patch, POD)["spec"]["containers"] == [{"name": "c"}]


def test_a_map_can_be_replaced_and_deleted() -> None:
    target = pod(securityContext={"runAsUser": 1}, nodeSelector={"a": "b"})
    patch = {"spec": {"securityContext": {"$patch": "replace", "fsGroup": 2}, "nodeSelector": {"$patch": "delete"}}}
    assert strategic.apply(target, patch, POD)["spec"] == {"securityContext": {"fsGroup": 2}}


def test_the_wanted_order_is_followed() -> None:
    target = containers({"name": "a"}, {"name": "b"})
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
            "containers": [{"name": "c"}],
        }
    }
    names = [container["name"] for container in strategic.apply(target, patch, POD)["spec"]["containers"]]
    assert names == ["c", "b", "a"]


def test_lists_without_a_merge_key_are_replaced() -> None:
    target = pod(tolerations=[{"key": "a"}])
    assert strategic.apply(target, {"spec": {"tolerations": [{"key": "b"}]}}, POD)["spec"]["tolerations"] == [
        {"key": "b"}
    ]


def test_finalizers_are_a_set() -> None:
    target = {"metadata": {"finalizers": ["a/a", "b/b"]}}
    added = strategic.apply(target, {"metadata": {"finalizers": ["b/b", "c/c"]}}, POD)
    assert sorted(added["metadata"]["finalizers"]) == ["a/a", "b/b", "c/c"]
    removed = strategic.apply(target, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/a"]}}, POD)
    assert removed["metadata"]["finalizers"] == ["b/b"]


def test_owner_references_merge_by_uid() -> None:
    target = {"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}]}}
    patch = {"metadata": {"ownerReferences": [{"uid": "1", "controller": True}, {"uid": "2", "name": "b"}]}}
    owners = strategic.apply(target, patch, POD)["metadata"]["ownerReferences"]
    assert sorted(owners, key=lambda owner: owner["uid"]) == [
        {"uid": "1", "name": "a", "controller": True},
        {"uid": "2", "name": "b"},
    ]


def test_conditions_merge_by_type() -> None:
    target = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "R"}]}}
    patch = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert strategic.apply(target, patch, POD)["status"]["conditions"] == [
        {"type": "Ready", "status": "True", "reason": "R"}
    ]


def test_retained_keys_drop_the_rest() -> None:
    target = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic.apply(target, patch, DEPLOYMENT)["spec"]["strategy"] == {"type": "Recreate"}


def test_null_removes_a_field() -> None:
    assert strategic.apply({"spec": {"a": 1, "b": 2}}, {"spec": {"a": None}}, None) == {"spec": {"b": 2}}


def test_arguments_are_left_alone() -> None:
    target = containers({"name": "a", "env": [{"name": "X", "value": "1"}]})
    patch = {"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "2"}]}]}}
    strategic.apply(target, patch, POD)
    assert target == containers({"name": "a", "env": [{"name": "X", "value": "1"}]})


@pytest.mark.parametrize(
    ("patch", "text"),
    [
        ({"$patch": "zap"}, "zap"),
        ({"spec": {"containers": [{"image": "i"}]}}, "merge key: name"),
        ({"spec": {"containers": ["text", {"name": "a"}]}}, "must be objects"),
        ({"spec": {"$retainKeys": ["a"], "b": 1}}, "does not list"),
    ],
    ids=["directive", "no key", "no object", "retain"],
)
def test_a_malformed_patch_is_refused(patch: dict[str, Any], text: str) -> None:
    with pytest.raises(StrategicPatchError, match=text):
        strategic.apply(containers({"name": "a"}), patch, POD)
