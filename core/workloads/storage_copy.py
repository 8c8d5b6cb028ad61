"""The copy of the operator's storage credentials that one step's containers read.

The step's StepRun owns it, so the garbage collector removes it with the StepRun, and the operator needs no permission
to delete or change Secrets. It is never changed: when the source has changed, the next attempt gets a new one. It has
only the keys that containers get, and nothing else from the operator's Secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from core.api import keys
from core.api.identity import compose_with_suffix, label_value
from core.api.objects import Object
from core.api.resource import SECRET, STEP_RUN
from core.workloads.step_workload import StepWorkload

ANNOTATION_COPY: Final = "bubustack.io/managed-storage-secret"
ANNOTATION_COPY_SOURCE: Final = "bubustack.io/managed-storage-secret-source"
CREDENTIAL_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

_DIGEST_LENGTH: Final = 10


def storage_copy(workload: StepWorkload, source: Mapping[str, Any]) -> Object:
    """The Secret to create; its name is derived from the StepRun and the version of ``source``, not from its data."""
    metadata = source["metadata"]
    version = f"{workload.step_run_uid}/{metadata['uid']}/{metadata['resourceVersion']}"
    digest = hashlib.sha256(version.encode()).hexdigest()[:_DIGEST_LENGTH]
    data = source.get("data") or {}
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "metadata": {
            "name": compose_with_suffix(workload.step_run_name, f"storage-{digest}"),
            "namespace": workload.namespace,
            "labels": {
                keys.LABEL_STEP_RUN: label_value(workload.step_run_name),
                keys.LABEL_STORY_RUN: label_value(workload.story_run_name),
            },
            "annotations": {
                ANNOTATION_COPY: "true",
                ANNOTATION_COPY_SOURCE: f"{metadata['namespace']}/{metadata['name']}",
            },
            "ownerReferences": [
                {
                    "apiVersion": STEP_RUN.api_version,
                    "kind": STEP_RUN.kind,
                    "name": workload.step_run_name,
                    "uid": workload.step_run_uid,
                }
            ],
        },
        "type": "Opaque",
        "immutable": True,
        "data": {key: data[key] for key in CREDENTIAL_KEYS if key in data},
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
