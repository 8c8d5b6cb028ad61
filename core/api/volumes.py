"""What a workload's Pod needs beyond its container: volumes, shared memory, classes, image pull secrets.

Source: the Pod API of Kubernetes. An addition to the contract; ``core.policy.volumes`` has the rules for volumes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field

from core.api.objects import ReadOnlyObject
from core.api.schema import AtomicList, LabelName, ObjectName, Quantity, WireModel
from core.api.storage import EmptyDir

MAX_VOLUMES: Final = 16
"""Volumes in one layer."""
MAX_PULL_SECRETS: Final = 8
"""Image pull secrets in one layer."""

CLASS_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
ClassName = Annotated[str, Field(max_length=253, pattern=CLASS_NAME)]
"""The name of a cluster-wide class."""


class ClaimVolume(WireModel):
    """A PersistentVolumeClaim."""

    claim_name: ObjectName = Field(description="Name of the claim, in the namespace of the run.")
    read_only: bool | None = Field(None, description="Attach it read-only; default false.")


class ConfigMapVolume(WireModel):
    """A ConfigMap, one file for each key."""

    name: ObjectName = Field(description="Name of the ConfigMap, in the namespace of the run.")
    optional: bool | None = Field(None, description="Start without it while it does not exist; default false.")


class PodVolume(WireModel):
    """A volume, and where the container sees it; give exactly one source.

    Unknown fields are kept, so that admission and the operator can say what to use instead of another kind of volume.
    """

    model_config = ConfigDict(extra="allow")
    schema_keywords: ClassVar[ReadOnlyObject] = {"x-kubernetes-preserve-unknown-fields": True}

    name: LabelName = Field(description="Name of the volume; a later layer replaces the volume of this name.")
    mount_path: str = Field(min_length=1, max_length=4096, description="Absolute path in the container.")
    config_map: ConfigMapVolume | None = Field(None, description="The files of a ConfigMap; always read-only.")
    empty_dir: EmptyDir | None = Field(None, description="Scratch space that lives as long as the Pod.")
    persistent_volume_claim: ClaimVolume | None = Field(None, description="A PersistentVolumeClaim.")
    read_only: bool | None = Field(None, description="Mount it read-only; default false.")
    sub_path: str | None = Field(None, description="Path inside the volume to mount instead of its root.")


class PodNeeds(WireModel):
    """Fields that all layers of the execution policy have."""

    image_pull_secrets: AtomicList[ObjectName] | None = Field(
        None,
        max_length=MAX_PULL_SECRETS,
        description="Secrets of the run's namespace that the kubelet pulls the image with; added to inherited ones.",
    )
    priority_class_name: ClassName | None = Field(
        None,
        description="PriorityClass of the Pods. Operator key `security.priority-classes` lists those that may be named "
        "outside of templates.",
    )
    runtime_class_name: ClassName | None = Field(
        None,
        description="RuntimeClass of the Pods. Operator key `security.runtime-classes` lists those that may be named "
        "outside of templates.",
    )
    shared_memory: Quantity | None = Field(
        None, description="Size of `/dev/shm`, for example `2Gi`; it counts as memory of the container. 0: the default."
    )
    volumes: AtomicList[PodVolume] | None = Field(
        None, max_length=MAX_VOLUMES, description="Volumes of the container; merged by name with inherited ones."
    )
