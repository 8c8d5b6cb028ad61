"""The Deployment or StatefulSet that runs a listener. Pure. Source: Trigger contract 6.3.

Equal input results in equal objects. A hash of what the operator wants stands in an annotation of the stored object, so
that neither values which the API server fills in, nor labels of others, look like a change.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from core.api import keys
from core.api.objects import Object
from core.workloads.impulse_environment import impulse_environment
from core.workloads.impulse_workload import (
    IMPULSE_CONTAINER,
    ListenerMode,
    ListenerWorkload,
    controlled_by_impulse,
    workload_labels,
)
from core.workloads.pod_policy import container_basics, placement, pod_security
from core.workloads.secrets import secret_env_from, secret_volume_mounts, secret_volumes
from core.workloads.storage import identity_labels, storage_volume_mounts, storage_volumes
from core.workloads.volumes import policy_volume_mounts, policy_volumes

_HASH_LENGTH: Final = 16
_ROLLING: Final = "RollingUpdate"


def listener_template(workload: ListenerWorkload) -> Object:
    """``spec.template``.

    Raises:
        EnvironmentTooLargeError: a value does not fit into one environment variable.
    """
    policy = workload.policy
    container = {**container_basics(IMPULSE_CONTAINER, policy), "env": impulse_environment(workload)}
    if env_from := secret_env_from(workload):
        container["envFrom"] = env_from
    mounts = [
        *secret_volume_mounts(workload),
        *storage_volume_mounts(policy.storage),
        *policy_volume_mounts(policy),
    ]
    if mounts:
        container["volumeMounts"] = mounts
    spec: Object = {
        "serviceAccountName": workload.account,
        "automountServiceAccountToken": True,
        "securityContext": pod_security(policy),
        "containers": [container],
        **placement(policy),
    }
    if volumes := [*secret_volumes(workload), *storage_volumes(policy.storage), *policy_volumes(policy)]:
        spec["volumes"] = volumes
    labels = {**workload_labels(workload.impulse_name), **identity_labels(policy.storage)}
    return {"metadata": {"labels": labels}, "spec": spec}


def listener(workload: ListenerWorkload) -> Object:
    """The object to create. Its number of replicas only counts at the creation: afterwards autoscalers may own it.

    Raises:
        EnvironmentTooLargeError: a value does not fit into one environment variable.
    """
    spec: Object = {
        "replicas": 0 if workload.suspended else 1,
        "selector": {"matchLabels": workload_labels(workload.impulse_name)},
        "template": listener_template(workload),
    }
    if workload.mode is ListenerMode.STATEFUL_SET:
        spec["serviceName"] = workload.service_name
        if workload.pod_management_policy:
            spec["podManagementPolicy"] = workload.pod_management_policy
    elif strategy := _strategy(workload):
        spec["strategy"] = strategy
    obj = controlled_by_impulse(
        workload.namespace, workload.impulse_name, workload.impulse_uid, workload.name, workload.mode.resource
    )
    obj["metadata"]["annotations"] = {
        keys.ANNOTATION_TEMPLATE_HASH: _hash({"template": spec["template"], "strategy": spec.get("strategy")}),
        **({keys.ANNOTATION_SUSPENDED_REPLICAS: "1"} if workload.suspended else {}),
    }
    return {**obj, "spec": spec}


def _strategy(workload: ListenerWorkload) -> Object:
    """How a Deployment replaces its Pods; empty: as Kubernetes does by default. A StatefulSet always replaces one after
    the other.
    """
    given = workload.update_strategy or {}
    kind = str(given.get("type") or "")
    pace = {key: _number_or_share(value) for key, value in sorted((given.get("rollingUpdate") or {}).items()) if value}
    if kind not in ("", _ROLLING):
        return {"type": kind}
    if not (kind or pace):
        return {}
    return {"type": _ROLLING, **({"rollingUpdate": pace} if pace else {})}


def _number_or_share(text: Any) -> int | str:
    """``"2"`` as a number, ``"25%"`` as it is: Kubernetes does not read a number in a string."""
    word = str(text).strip()
    return int(word) if word.isdecimal() else word


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_HASH_LENGTH]
