"""The Pod template of an engram step. Source: StepRun contract 12.

Additions to the reference, not visible in containers: labels for finding a run's Pods, and the ``RuntimeDefault``
seccomp profile; without it, a namespace that enforces the Pod Security level ``restricted`` refuses the Pod.
"""

from __future__ import annotations

from collections.abc import Mapping

from core.api import keys
from core.api.identity import label_value, runner_name
from core.api.objects import Object
from core.workloads.environment import batch_environment
from core.workloads.secrets import secret_env_from, secret_volume_mounts, secret_volumes
from core.workloads.step_workload import ENGRAM_CONTAINER, StepWorkload
from core.workloads.storage import storage_volume_mounts, storage_volumes
from core.workloads.tls import tls_volume_mounts, tls_volumes


def pod_template(workload: StepWorkload) -> Object:
    """``spec.template`` of the Job.

    Raises:
        EnvironmentTooLargeError: a payload does not fit into one environment variable.
    """
    policy = workload.policy
    spec: Object = {
        "serviceAccountName": policy.service_account_name or runner_name(workload.story_run_name),
        "automountServiceAccountToken": True,
        "restartPolicy": policy.restart_policy,
        "securityContext": _pod_security(workload),
        "containers": [_container(workload)],
    }
    if (grace := workload.settings.termination_grace_period_seconds) > 0:
        spec["terminationGracePeriodSeconds"] = grace
    if policy.node_selector:
        spec["nodeSelector"] = dict(policy.node_selector)
    if policy.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in policy.tolerations]
    if policy.affinity:
        spec["affinity"] = dict(policy.affinity)
    volumes = [*secret_volumes(workload), *tls_volumes(workload), *storage_volumes(policy.storage)]
    if volumes:
        spec["volumes"] = volumes
    return {"metadata": {"labels": pod_labels(workload)}, "spec": spec}


def pod_labels(workload: StepWorkload) -> dict[str, str]:
    """Labels with which ``kubectl get pods -l`` and log collectors find a run's Pods."""
    labels = {
        keys.LABEL_STEP_RUN: label_value(workload.step_run_name),
        keys.LABEL_STORY_RUN: label_value(workload.story_run_name),
        keys.LABEL_STORY_NAME: label_value(workload.story_name),
        keys.LABEL_STEP: label_value(workload.step_id),
        keys.LABEL_ENGRAM: label_value(workload.engram_name),
    }
    if workload.correlation_id:
        labels[keys.LABEL_CORRELATION_ID] = label_value(workload.correlation_id)
    return labels


def _container(workload: StepWorkload) -> Object:
    policy = workload.policy
    container: Object = {
        "name": ENGRAM_CONTAINER,
        "image": policy.image,
        "imagePullPolicy": policy.image_pull_policy,
        "resources": _resources(policy.resources),
        "securityContext": {
            "readOnlyRootFilesystem": policy.read_only_root_filesystem,
            "allowPrivilegeEscalation": policy.allow_privilege_escalation,
            "capabilities": {"drop": list(policy.drop_capabilities)},
        },
        "env": batch_environment(workload),
    }
    for name, probe in policy.probes.items():
        container[f"{name}Probe"] = dict(probe)
    if env_from := secret_env_from(workload):
        container["envFrom"] = env_from
    mounts = [
        *secret_volume_mounts(workload),
        *tls_volume_mounts(workload),
        *storage_volume_mounts(policy.storage),
    ]
    if mounts:
        container["volumeMounts"] = mounts
    return container


def _pod_security(workload: StepWorkload) -> Object:
    context: Object = {
        "runAsNonRoot": workload.policy.run_as_non_root,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if workload.policy.run_as_user:
        context["runAsUser"] = workload.policy.run_as_user
    return context


def _resources(resources: Mapping[str, str]) -> Object:
    groups: dict[str, Object] = {"requests": {}, "limits": {}}
    for key, quantity in resources.items():
        name = "cpu" if key.startswith("cpu") else "memory"
        groups["requests" if key.endswith("Request") else "limits"][name] = quantity
    return {group: values for group, values in groups.items() if values}
