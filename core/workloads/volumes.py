"""The volumes of the execution policy in a Pod, and its shared memory. Pure. Source: StepRun contract 15.4."""

from __future__ import annotations

from typing import Final

from core.api.objects import Object
from core.policy.layers import ExecutionPolicy
from core.policy.volumes import SHARED_MEMORY_PATH, SOURCES

SHARED_MEMORY_VOLUME: Final = "bubu-shared-memory"


def policy_volumes(policy: ExecutionPolicy) -> list[Object]:
    """Ordered by name, so equal input results in an equal Pod."""
    volumes: list[Object] = [
        {"name": volume["name"], source: dict(volume[source])}
        for volume in sorted(policy.volumes, key=lambda each: str(each["name"]))
        for source in SOURCES
        if volume.get(source) is not None
    ]
    if policy.shared_memory:
        memory = {"medium": "Memory", "sizeLimit": policy.shared_memory}
        volumes.append({"name": SHARED_MEMORY_VOLUME, "emptyDir": memory})
    return volumes


def writes_to_claims(policy: ExecutionPolicy) -> bool:
    """Whether the container may write to a claim that a layer asks for."""
    return any(
        (claim := volume.get("persistentVolumeClaim")) and not (volume.get("readOnly") or claim.get("readOnly"))
        for volume in policy.volumes
    )


def policy_volume_mounts(policy: ExecutionPolicy) -> list[Object]:
    mounts: list[Object] = []
    for volume in sorted(policy.volumes, key=lambda each: str(each["name"])):
        mount: Object = {"name": volume["name"], "mountPath": volume["mountPath"]}
        if volume.get("readOnly"):
            mount["readOnly"] = True
        if volume.get("subPath"):
            mount["subPath"] = volume["subPath"]
        mounts.append(mount)
    if policy.shared_memory:
        mounts.append({"name": SHARED_MEMORY_VOLUME, "mountPath": SHARED_MEMORY_PATH})
    return mounts
