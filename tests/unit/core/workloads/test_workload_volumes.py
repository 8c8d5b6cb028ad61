"""The parts of a Pod for devices, volumes, shared memory, classes and pull secrets, in steps and listeners."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.api.objects import Object
from core.workloads.impulse_pod import listener_template
from core.workloads.pod import pod_template
from tests.unit.core.workloads.impulse_samples import LISTENER
from tests.unit.core.workloads.workload_samples import workload

FIELDS: dict[str, Any] = {
    "extended_resources": {"nvidia.com/gpu": "2", "hugepages-2Mi": "4Mi"},
    "volumes": (
        {"name": "b", "mountPath": "/b", "readOnly": True, "persistentVolumeClaim": {"claimName": "models"}},
        {"name": "a", "mountPath": "/a", "subPath": "x", "configMap": {"name": "settings"}},
        {"name": "c", "mountPath": "/c", "emptyDir": {}},
    ),
    "shared_memory": "2Gi",
    "priority_class_name": "batch",
    "runtime_class_name": "nvidia",
    "image_pull_secrets": ("registry", "other"),
}
VOLUMES: list[Object] = [
    {"name": "a", "configMap": {"name": "settings"}},
    {"name": "b", "persistentVolumeClaim": {"claimName": "models"}},
    {"name": "c", "emptyDir": {}},
    {"name": "bubu-shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
]
MOUNTS: list[Object] = [
    {"name": "a", "mountPath": "/a", "subPath": "x"},
    {"name": "b", "mountPath": "/b", "readOnly": True},
    {"name": "c", "mountPath": "/c"},
    {"name": "bubu-shared-memory", "mountPath": "/dev/shm"},
]


def check(spec: Object) -> None:
    [container] = spec["containers"]
    assert spec["volumes"] == VOLUMES
    assert container["volumeMounts"] == MOUNTS
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi", "hugepages-2Mi": "4Mi", "nvidia.com/gpu": "2"},
        "limits": {"cpu": "500m", "memory": "512Mi", "hugepages-2Mi": "4Mi", "nvidia.com/gpu": "2"},
    }
    assert (spec["priorityClassName"], spec["runtimeClassName"]) == ("batch", "nvidia")
    assert spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "other"}]


def test_a_step_has_all_of_it() -> None:
    check(pod_template(workload(policy=FIELDS))["spec"])


def test_a_listener_has_all_of_it() -> None:
    check(listener_template(replace(LISTENER, policy=replace(LISTENER.policy, **FIELDS)))["spec"])


def test_without_it_the_pod_is_as_before() -> None:
    spec = pod_template(workload())["spec"]
    assert {"volumes", "priorityClassName", "runtimeClassName", "imagePullSecrets"}.isdisjoint(spec)
    assert "volumeMounts" not in spec["containers"][0]


def test_volumes_of_the_policy_stand_beside_those_of_the_operator() -> None:
    storage = {"file": {"path": "/store", "volumeClaimName": "store"}}
    spec = pod_template(workload(policy={**FIELDS, "storage": storage}, tls_secret="tls"))["spec"]
    assert [volume["name"] for volume in spec["volumes"]] == [
        *("engram-tls", "bubu-storage", "a", "b", "c", "bubu-shared-memory"),
    ]


def group_of(*volumes: Object, **policy: Any) -> Any:
    security = pod_template(workload(policy={"volumes": volumes, **policy}))["spec"]["securityContext"]
    return security.get("fsGroup")


def test_the_container_can_write_to_claims_unless_they_are_read_only() -> None:
    claim: Object = {"name": "d", "mountPath": "/d", "persistentVolumeClaim": {"claimName": "d"}}
    read_only = {**claim, "persistentVolumeClaim": {"claimName": "d", "readOnly": True}}

    assert group_of(claim) == 1000
    assert group_of({**claim, "readOnly": True}) is None
    assert group_of(read_only) is None
    assert group_of({"name": "e", "mountPath": "/e", "emptyDir": {}}) is None
    assert group_of(claim, run_as_user=None) is None
