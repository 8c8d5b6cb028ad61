"""The copy of the operator's storage credentials that the containers of one step, or of one listener, read.

The StepRun or Impulse owns it, so the garbage collector removes it with its owner, and the operator needs no permission
to delete or change Secrets. It is never changed: when the source has changed, the next attempt of the step, or the next
rollout of the listener, gets a new one. It has only the keys that containers get, and nothing else from the operator's
Secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bubu_contract.identity import compose_with_suffix, label_value
from core.api import keys
from core.api.objects import Object
from core.api.resource import IMPULSE, SECRET, STEP_RUN, Resource
from core.api.store_credentials import keys_of
from core.workloads.impulse_workload import ListenerWorkload, workload_labels
from core.workloads.step_workload import StepWorkload

ANNOTATION_COPY: Final = "bubustack.io/managed-storage-secret"
ANNOTATION_COPY_SOURCE: Final = "bubustack.io/managed-storage-secret-source"

_DIGEST_LENGTH: Final = 10


@dataclass(frozen=True, slots=True)
class CopyOwner:
    """The object that a copy is made for."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    """The labels of the copy."""


def step_copy_owner(workload: StepWorkload) -> CopyOwner:
    labels = {
        keys.LABEL_STEP_RUN: label_value(workload.step_run_name),
        keys.LABEL_STORY_RUN: label_value(workload.story_run_name),
    }
    return CopyOwner(STEP_RUN, workload.namespace, workload.step_run_name, workload.step_run_uid, labels)


def impulse_copy_owner(workload: ListenerWorkload) -> CopyOwner:
    labels = workload_labels(workload.impulse_name)
    return CopyOwner(IMPULSE, workload.namespace, workload.impulse_name, workload.impulse_uid, labels)


def storage_copy(owner: CopyOwner, source: Mapping[str, Any], provider: str) -> Object:
    """The Secret to create; its name is derived from its owner and the version of ``source``, not from its data.

    ``provider``: of the store, ``s3``, ``gcs`` or ``azure``.
    """
    metadata = source["metadata"]
    version = f"{owner.uid}/{metadata['uid']}/{metadata['resourceVersion']}"
    digest = hashlib.sha256(version.encode()).hexdigest()[:_DIGEST_LENGTH]
    data = source.get("data") or {}
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "metadata": {
            "name": compose_with_suffix(owner.name, f"storage-{digest}"),
            "namespace": owner.namespace,
            "labels": dict(owner.labels),
            "annotations": {
                ANNOTATION_COPY: "true",
                ANNOTATION_COPY_SOURCE: f"{metadata['namespace']}/{metadata['name']}",
            },
            "ownerReferences": [
                {
                    "apiVersion": owner.resource.api_version,
                    "kind": owner.resource.kind,
                    "name": owner.name,
                    "uid": owner.uid,
                }
            ],
        },
        "type": "Opaque",
        "immutable": True,
        "data": {key: data[key] for key in keys_of(provider) if key in data},
    }


def is_copy(secret: Mapping[str, Any]) -> bool:
    """Whether a Secret has the operator's credentials: a copy of this operator, of an earlier release or of the
    reference.
    """
    return ANNOTATION_COPY in (secret["metadata"].get("annotations") or {})


def is_same_copy(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the stored Secret of that name is the one that was to be created."""
    marks, owners = wanted["metadata"]["annotations"], wanted["metadata"]["ownerReferences"]
    have = stored["metadata"].get("annotations") or {}
    owned = [owner.get("uid") for owner in stored["metadata"].get("ownerReferences") or ()]
    return (
        all(have.get(key) == value for key, value in marks.items())
        and owned == [owner["uid"] for owner in owners]
        and (stored.get("data") or {}) == wanted["data"]
    )
