"""The Job of one attempt of an engram step. Source: StepRun contract 12.

The Job has the attempt and its deadline as annotations: they are stored in the same write that starts the work, so a
restarted operator knows which attempt runs and until when. So is what equal executions have in common, and the way in
which the result of a container without an SDK is read.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from bubu_contract.identity import label_value
from bubu_contract.instants import format_precise_instant
from core.api import keys
from core.api.resource import STEP_RUN
from core.workloads.plain_pod import plain_pod_template
from core.workloads.pod import NEVER_RESTORED, pod_template
from core.workloads.step_workload import StepWorkload

DEADLINE_MARGIN: Final = timedelta(seconds=120)
"""The deadline of Kubernetes comes after those of the SDK and the operator, as a last resort."""


def step_job(workload: StepWorkload) -> dict[str, Any]:
    """The Job manifest.

    Raises:
        EnvironmentTooLargeError: a payload does not fit into one environment variable.
    """
    call, timeout, deadline_at = workload.call, workload.timeout, workload.deadline_at
    assert timeout is not None, "a Job has a deadline"
    assert deadline_at is not None, "a Job has a deadline"
    more = {keys.ANNOTATION_EXECUTION_KEY: workload.execution_key} if workload.execution_key else {}
    if call is not None:
        more[keys.ANNOTATION_RESULT] = call.reading.encoded()
    spec: dict[str, Any] = {
        "activeDeadlineSeconds": int((timeout + DEADLINE_MARGIN).total_seconds()),
        "backoffLimit": workload.policy.backoff_limit,
        "template": plain_pod_template(workload, call) if call is not None else pod_template(workload),
    }
    if workload.policy.ttl_seconds_after_finished is not None:
        spec["ttlSecondsAfterFinished"] = workload.policy.ttl_seconds_after_finished
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": workload.step_run_name,
            "namespace": workload.namespace,
            "labels": {
                keys.LABEL_APP_NAME: "bobrapet",
                keys.LABEL_APP_COMPONENT: "engram",
                keys.LABEL_STEP_RUN: label_value(workload.step_run_name),
                keys.LABEL_STORY_RUN: label_value(workload.story_run_name),
                **NEVER_RESTORED,
            },
            "annotations": {
                keys.ANNOTATION_ATTEMPT: str(workload.attempt),
                keys.ANNOTATION_DEADLINE_AT: format_precise_instant(deadline_at),
                **more,
            },
            "ownerReferences": [
                {
                    "apiVersion": STEP_RUN.api_version,
                    "kind": STEP_RUN.kind,
                    "name": workload.step_run_name,
                    "uid": workload.step_run_uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": spec,
    }
