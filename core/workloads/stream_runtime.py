"""The Deployment or StatefulSet of one attempt of a realtime step, and the Service before it. Pure.

Source: streaming contract 6.2 and 6.3, StepRun contract 22. In the mode ``statefulset`` there is a StatefulSet, whose
Pod keeps its name and has one in DNS (the reference creates a Deployment in both modes). The workload of an attempt is
never changed: a retry gets a new one, after the Pods of the earlier one have ended.
"""

from __future__ import annotations

from typing import Any, Final

from bubu_contract.instants import format_precise_instant
from core.api import keys
from core.api.objects import Object
from core.api.resource import SERVICE
from core.policy.streaming import RolloutStrategy, rollout_strategy
from core.workloads.pod import pod_labels
from core.workloads.pod_policy import container_basics, placement, pod_security
from core.workloads.secrets import secret_env_from, secret_volume_mounts, secret_volumes
from core.workloads.step_workload import ENGRAM_CONTAINER
from core.workloads.storage import identity_labels, storage_volume_mounts, storage_volumes
from core.workloads.stream_binding import binding_document
from core.workloads.stream_credentials import authority_mounts, authority_volumes
from core.workloads.stream_environment import stream_environment
from core.workloads.stream_workload import (
    GRPC_PORT_NAME,
    StreamMode,
    StreamWorkload,
    controlled_by_step_run,
    stream_annotations,
    stream_labels,
    workload_name,
)
from core.workloads.tls import tls_volume_mounts, tls_volumes
from core.workloads.volumes import policy_volume_mounts, policy_volumes

_ROLLING: Final = "RollingUpdate"
_PACE: Final = {
    RolloutStrategy.BLUE_GREEN: {"maxSurge": 1, "maxUnavailable": 0},
    RolloutStrategy.ROLLING: {"maxSurge": 0, "maxUnavailable": 1},
    RolloutStrategy.DRAIN_CUTOVER: {"maxSurge": 0, "maxUnavailable": 1},
}
_HEADLESS: Final = "None"


def stream_service(workload: StreamWorkload) -> Object:
    """The Service before the step; that of a StatefulSet is headless, so that its Pod has a name in DNS."""
    step = workload.step
    obj = controlled_by_step_run(step, workload.service_name, SERVICE)
    labels = stream_labels(step)
    obj["metadata"] |= {"labels": labels, "annotations": stream_annotations(step)}
    selected = (keys.LABEL_STORY_RUN, keys.LABEL_STEP_RUN, keys.LABEL_STORY)
    default = {"name": GRPC_PORT_NAME, "protocol": "TCP", "port": step.settings.grpc_port, "targetPort": GRPC_PORT_NAME}
    spec: Object = {
        "type": "ClusterIP",
        "selector": {key: labels[key] for key in selected},
        "ports": [dict(port) for port in workload.ports] or [default],
    }
    if workload.mode is StreamMode.STATEFUL_SET:
        spec["clusterIP"] = _HEADLESS
    return {**obj, "spec": spec}


def stream_runtime(workload: StreamWorkload) -> Object:
    """The Deployment or StatefulSet. As a Job, it has the attempt and its deadline, which are stored in the write that
    starts the work.

    Raises:
        EnvironmentTooLargeError: a payload does not fit into one environment variable.
    """
    step, mode = workload.step, workload.mode
    labels = stream_labels(step)
    spec: Object = {
        "replicas": 1,
        "selector": {"matchLabels": {key: labels[key] for key in (keys.LABEL_STEP_RUN, keys.LABEL_APP_NAME)}},
        "template": _template(workload),
    }
    strategy = rollout_strategy(workload.settings)
    if mode is StreamMode.STATEFUL_SET:
        spec["serviceName"] = workload.service_name
    elif strategy is not None:
        spec["strategy"] = {"type": _ROLLING, "rollingUpdate": dict(_PACE[strategy])}
    obj = controlled_by_step_run(step, workload_name(step.step_run_name, mode), mode.resource)
    obj["metadata"]["labels"] = {**pod_labels(step), **labels}
    obj["metadata"]["annotations"] = {keys.ANNOTATION_ATTEMPT: str(step.attempt), **stream_annotations(step)}
    if step.deadline_at is not None:
        obj["metadata"]["annotations"][keys.ANNOTATION_DEADLINE_AT] = format_precise_instant(step.deadline_at)
    return {**obj, "spec": spec}


def _template(workload: StreamWorkload) -> Object:
    step, policy = workload.step, workload.step.policy
    spec: Object = {
        "serviceAccountName": policy.service_account_name or step.account,
        "automountServiceAccountToken": True,
        "restartPolicy": "Always",
        "securityContext": pod_security(policy),
        "containers": [_container(workload)],
    }
    if (grace := step.settings.termination_grace_period_seconds) > 0:
        spec["terminationGracePeriodSeconds"] = grace
    spec |= placement(policy)
    volumes = [
        *secret_volumes(step),
        *tls_volumes(step),
        *authority_volumes(workload),
        *storage_volumes(policy.storage),
        *policy_volumes(policy),
    ]
    if volumes:
        spec["volumes"] = volumes
    labels = {**pod_labels(step), **stream_labels(step), **identity_labels(policy.storage)}
    return {"metadata": {"labels": labels, "annotations": _pod_annotations(workload)}, "spec": spec}


def _pod_annotations(workload: StreamWorkload) -> dict[str, str]:
    step, of_binding = workload.step, workload.binding["metadata"].get("annotations") or {}
    routes = (keys.ANNOTATION_ROUTING_MODE, keys.ANNOTATION_DOWNSTREAM_STEPS)
    return {
        keys.LABEL_STORY_RUN: step.story_run_name,
        **stream_annotations(step),
        **{name: of_binding[name] for name in routes if of_binding.get(name)},
        keys.ANNOTATION_TRANSPORT_BINDING: binding_document(workload, workload.binding["metadata"]["name"]),
        keys.ANNOTATION_CONNECTOR_GENERATION: str(workload.generation),
        keys.ANNOTATION_STEP_RUN_UID: step.step_run_uid,
    }


def _container(workload: StreamWorkload) -> Object:
    step, policy = workload.step, workload.step.policy
    container: Object = {
        **container_basics(ENGRAM_CONTAINER, policy),
        "ports": [{"name": GRPC_PORT_NAME, "containerPort": _container_port(workload), "protocol": "TCP"}],
        "env": stream_environment(workload),
    }
    if env_from := secret_env_from(step):
        container["envFrom"] = env_from
    mounts = [
        *secret_volume_mounts(step),
        *tls_volume_mounts(step),
        *authority_mounts(workload),
        *storage_volume_mounts(policy.storage),
        *policy_volume_mounts(policy),
    ]
    if mounts:
        container["volumeMounts"] = mounts
    return container


def _container_port(workload: StreamWorkload) -> int:
    """The first port of the Service that is a number, else that of the stream."""
    ports: list[Any] = [port.get("port") for port in workload.ports]
    return next((port for port in ports if isinstance(port, int) and port > 0), workload.step.settings.grpc_port)
