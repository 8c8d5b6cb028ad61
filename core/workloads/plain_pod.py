"""The Pod of a container without an SDK: its own command, variables and files, and nothing of the operator's.

No token of a service account, no access to the object store, no variables for an SDK. Security, resources, placement
and Secrets are those of every step. Source: StepRun contract 25.2.
"""

from __future__ import annotations

from typing import Any, Final

from core.api import keys
from core.api.objects import Object
from core.workloads.environment import EnvVar, identity_environment, trace_environment
from core.workloads.plain_container import INPUTS_VARIABLE, ContainerCall, escaped
from core.workloads.pod import NEVER_RESTORED, pod_labels, pod_marks
from core.workloads.pod_policy import container_basics, placement, pod_security
from core.workloads.secrets import DESCRIPTOR, secret_env_from, secret_environment, secret_volume_mounts, secret_volumes
from core.workloads.step_workload import ENGRAM_CONTAINER, StepWorkload

INPUTS_VOLUME: Final = "bubu-inputs"
_INPUTS_KEY: Final = "inputs.json"


def plain_pod_template(workload: StepWorkload, call: ContainerCall) -> Object:
    """``spec.template`` of the Job."""
    policy = workload.policy
    spec: Object = {
        "serviceAccountName": policy.service_account_name or workload.account,
        "automountServiceAccountToken": False,
        "restartPolicy": policy.restart_policy,
        "securityContext": pod_security(policy),
        "containers": [_container(workload, call)],
    }
    if (grace := workload.settings.termination_grace_period_seconds) > 0:
        spec["terminationGracePeriodSeconds"] = grace
    spec |= placement(policy)
    if volumes := [*secret_volumes(workload), *_inputs_volumes(call)]:
        spec["volumes"] = volumes
    metadata: Object = {"labels": {**pod_labels(workload), **NEVER_RESTORED}, "annotations": pod_marks(workload)}
    if call.inputs_file:
        metadata["annotations"][keys.ANNOTATION_INPUTS] = call.inputs
    return {"metadata": metadata, "spec": spec}


def _container(workload: StepWorkload, call: ContainerCall) -> Object:
    container = container_basics(ENGRAM_CONTAINER, workload.policy) | {"env": _environment(workload, call)}
    if env_from := secret_env_from(workload):
        container["envFrom"] = env_from
    if call.command:
        container["command"] = escaped(call.command)
    if call.args is not None:
        container["args"] = escaped(call.args)
    if call.message_path:
        container["terminationMessagePath"] = call.message_path
    mounts = [*secret_volume_mounts(workload), *_inputs_mounts(call)]
    if mounts:
        container["volumeMounts"] = mounts
    return container


def _environment(workload: StepWorkload, call: ContainerCall) -> list[EnvVar]:
    of_secrets = [each for each in secret_environment(workload) if not each["name"].startswith(DESCRIPTOR)]
    inputs = [{"name": INPUTS_VARIABLE, "value": call.inputs_file}] if call.inputs_file else []
    names, values = [name for name, _ in call.env], escaped(value for _, value in call.env)
    own = [{"name": name, "value": value} for name, value in zip(names, values, strict=True)]
    env = [*identity_environment(workload), *inputs, *of_secrets, *own]
    return env + trace_environment(workload, env)


def _inputs_volumes(call: ContainerCall) -> list[dict[str, Any]]:
    if not call.inputs_file:
        return []
    reference = {"fieldPath": f"metadata.annotations['{keys.ANNOTATION_INPUTS}']"}
    return [{"name": INPUTS_VOLUME, "downwardAPI": {"items": [{"path": _INPUTS_KEY, "fieldRef": reference}]}}]


def _inputs_mounts(call: ContainerCall) -> list[dict[str, Any]]:
    """Only the file is mounted, so the folder keeps what the image has in it. The file never changes."""
    if not call.inputs_file:
        return []
    return [{"name": INPUTS_VOLUME, "mountPath": call.inputs_file, "subPath": _INPUTS_KEY, "readOnly": True}]
