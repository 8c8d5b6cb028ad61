"""The Pod template of an engram step. Source: StepRun contract 12.

An addition to the reference, not visible in containers: labels for finding a run's Pods.
"""

from __future__ import annotations

from typing import Final

from bubu_contract.identity import label_value
from core.api import keys
from core.api.objects import Object
from core.workloads.environment import batch_environment
from core.workloads.pod_policy import container_basics, placement, pod_security
from core.workloads.secrets import secret_env_from, secret_volume_mounts, secret_volumes
from core.workloads.step_workload import ENGRAM_CONTAINER, StepWorkload
from core.workloads.storage import identity_labels, storage_volume_mounts, storage_volumes
from core.workloads.tls import tls_volume_mounts, tls_volumes
from core.workloads.volumes import policy_volume_mounts, policy_volumes

NEVER_RESTORED: Final[dict[str, str]] = {keys.LABEL_VELERO_EXCLUDE: "true"}
"""Of Jobs and their Pods: a restored one would execute the step once more."""


def pod_template(workload: StepWorkload) -> Object:
    """``spec.template`` of the Job.

    Raises:
        EnvironmentTooLargeError: a payload does not fit into one environment variable.
    """
    policy = workload.policy
    spec: Object = {
        "serviceAccountName": policy.service_account_name or workload.account,
        "automountServiceAccountToken": True,
        "restartPolicy": policy.restart_policy,
        "securityContext": pod_security(policy),
        "containers": [_container(workload)],
    }
    if (grace := workload.settings.termination_grace_period_seconds) > 0:
        spec["terminationGracePeriodSeconds"] = grace
    spec |= placement(policy)
    volumes = [
        *secret_volumes(workload),
        *tls_volumes(workload),
        *storage_volumes(policy.storage),
        *policy_volumes(policy),
    ]
    if volumes:
        spec["volumes"] = volumes
    labels = {**pod_labels(workload), **NEVER_RESTORED, **identity_labels(policy.storage)}
    return {"metadata": {"labels": labels, "annotations": pod_marks(workload)}, "spec": spec}


def pod_marks(workload: StepWorkload) -> dict[str, str]:
    """Annotations that tell for which attempt a Pod works, also when its Job is gone."""
    return {keys.ANNOTATION_STEP_RUN_UID: workload.step_run_uid, keys.ANNOTATION_ATTEMPT: str(workload.attempt)}


def pod_labels(workload: StepWorkload) -> dict[str, str]:
    """Labels with which ``kubectl get pods -l`` and log collectors find a run's Pods."""
    labels = {
        keys.LABEL_STEP_RUN: label_value(workload.step_run_name),
        keys.LABEL_STORY_RUN: label_value(workload.story_run_name),
        keys.LABEL_STORY_NAME: label_value(workload.story_name),
        keys.LABEL_STEP: label_value(workload.step_id),
    }
    if workload.engram_name:  # a script step has none
        labels[keys.LABEL_ENGRAM] = label_value(workload.engram_name)
    if workload.correlation_id:
        labels[keys.LABEL_CORRELATION_ID] = label_value(workload.correlation_id)
    return labels


def _container(workload: StepWorkload) -> Object:
    container = {**container_basics(ENGRAM_CONTAINER, workload.policy), "env": batch_environment(workload)}
    if env_from := secret_env_from(workload):
        container["envFrom"] = env_from
    mounts = [
        *secret_volume_mounts(workload),
        *tls_volume_mounts(workload),
        *storage_volume_mounts(workload.policy.storage),
        *policy_volume_mounts(workload.policy),
    ]
    if mounts:
        container["volumeMounts"] = mounts
    return container
