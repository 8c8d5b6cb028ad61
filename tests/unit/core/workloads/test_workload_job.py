"""The complete Job of an attempt."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core.workloads.environment import batch_environment
from core.workloads.job import step_job
from tests.unit.core.workloads.workload_samples import WORKLOAD, workload

GOLDEN: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {
        "name": "demo-run-fetch",
        "namespace": "team-a",
        "labels": {
            "app.kubernetes.io/name": "bobrapet",
            "app.kubernetes.io/component": "engram",
            "bubustack.io/steprun": "demo-run-fetch",
            "bubustack.io/storyrun": "demo-run",
            "velero.io/exclude-from-backup": "true",
        },
        "annotations": {
            "runs.bubustack.io/attempt": "0",
            "runs.bubustack.io/deadline-at": "2025-01-02T03:34:05.250000Z",
        },
        "ownerReferences": [
            {
                "apiVersion": "runs.bubustack.io/v1alpha1",
                "kind": "StepRun",
                "name": "demo-run-fetch",
                "uid": "11111111-2222-3333-4444-555555555555",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    },
    "spec": {
        "activeDeadlineSeconds": 1920,
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": 3600,
        "template": {
            "metadata": {
                "labels": {
                    "bubustack.io/steprun": "demo-run-fetch",
                    "bubustack.io/storyrun": "demo-run",
                    "bubustack.io/story-name": "report",
                    "bubustack.io/step": "fetch",
                    "bubustack.io/engram": "fetcher",
                    "velero.io/exclude-from-backup": "true",
                },
                "annotations": {
                    "runs.bubustack.io/step-run-uid": "11111111-2222-3333-4444-555555555555",
                    "runs.bubustack.io/attempt": "0",
                },
            },
            "spec": {
                "serviceAccountName": "demo-run-engram-runner",
                "automountServiceAccountToken": True,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 30,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 1000,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "engram",
                        "image": "registry.example/http:1",
                        "imagePullPolicy": "IfNotPresent",
                        "resources": {
                            "requests": {"cpu": "100m", "memory": "128Mi"},
                            "limits": {"cpu": "500m", "memory": "512Mi"},
                        },
                        "securityContext": {
                            "readOnlyRootFilesystem": True,
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "env": batch_environment(WORKLOAD),
                    }
                ],
            },
        },
    },
}


def pod_spec(**changes: Any) -> dict[str, Any]:
    spec: dict[str, Any] = step_job(workload(**changes))["spec"]["template"]["spec"]
    return spec


def test_the_whole_job_is_as_the_contract_tells() -> None:
    assert step_job(WORKLOAD) == GOLDEN


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(timedelta(seconds=1.9), 121), (timedelta(milliseconds=500), 120), (timedelta(hours=1), 3720)],
)
def test_the_platforms_deadline_comes_two_minutes_after_the_steps(timeout: timedelta, seconds: int) -> None:
    assert step_job(workload(timeout=timeout))["spec"]["activeDeadlineSeconds"] == seconds


def test_attempt_and_deadline_stand_on_the_job() -> None:
    annotations = step_job(workload(attempt=3))["metadata"]["annotations"]
    assert annotations["runs.bubustack.io/attempt"] == "3"


def test_what_equal_executions_have_in_common_stands_on_the_job() -> None:
    job = step_job(workload(execution_key="0123"))
    assert job["metadata"]["annotations"]["runs.bubustack.io/execution-key"] == "0123"


def test_a_job_to_be_kept_has_no_time_to_live() -> None:
    assert "ttlSecondsAfterFinished" not in step_job(workload(policy={"ttl_seconds_after_finished": None}))["spec"]
    at_once = step_job(workload(policy={"ttl_seconds_after_finished": 0}))["spec"]
    assert at_once["ttlSecondsAfterFinished"] == 0


def test_long_names_become_valid_labels() -> None:
    name = "customer-report-pipeline-production-eu-west-1-nightly-batch-run-000042"
    labels = step_job(workload(story_run_name=name))["spec"]["template"]["metadata"]["labels"]
    assert labels["bubustack.io/storyrun"] == "customer-report-pipeline-production-eu-west-1-nightl-8ec91f6e47"


def test_a_correlation_id_labels_the_pod() -> None:
    labels = step_job(workload(correlation_id="Order 42"))["spec"]["template"]["metadata"]["labels"]
    assert labels["bubustack.io/correlation-id"] == "order-42"


def test_the_operators_service_account_stands_in_for_the_runners() -> None:
    assert pod_spec(policy={"service_account_name": "shared"})["serviceAccountName"] == "shared"


@pytest.mark.parametrize("user", [None, 0])
def test_the_images_own_user_is_left_alone(user: int | None) -> None:
    assert pod_spec(policy={"run_as_user": user, "run_as_non_root": False})["securityContext"] == {
        "runAsNonRoot": False,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_placement_and_probes_are_handed_on() -> None:
    spec = pod_spec(
        policy={
            "node_selector": {"disk": "ssd"},
            "tolerations": ({"key": "gpu"},),
            "affinity": {"podAffinity": {}},
            "probes": {"liveness": {"exec": {"command": ["true"]}}, "startup": {"grpc": {"port": 1}}},
        }
    )
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert spec["tolerations"] == [{"key": "gpu"}]
    assert spec["affinity"] == {"podAffinity": {}}
    container = spec["containers"][0]
    assert container["livenessProbe"] == {"exec": {"command": ["true"]}}
    assert container["startupProbe"] == {"grpc": {"port": 1}}
    assert "readinessProbe" not in container


def test_resources_that_are_not_set_are_left_out() -> None:
    assert pod_spec(policy={"resources": {"memoryLimit": "1Gi"}})["containers"][0]["resources"] == {
        "limits": {"memory": "1Gi"}
    }


def test_volumes_and_mounts_come_in_a_fixed_order() -> None:
    spec = pod_spec(
        policy={"secrets": {"key": "k", "cert": "c"}, "storage": {"file": {"volumeClaimName": "claim"}}},
        secret_schema={"key": {"mountType": "file"}, "cert": {"mountType": "both"}},
        tls_secret="tls",
    )
    assert spec["volumes"] == [
        {"name": "secret-cert", "secret": {"secretName": "c"}},
        {"name": "secret-key", "secret": {"secretName": "k"}},
        {"name": "engram-tls", "secret": {"secretName": "tls"}},
        {"name": "bubu-storage", "persistentVolumeClaim": {"claimName": "claim"}},
    ]
    assert spec["containers"][0]["volumeMounts"] == [
        {"name": "secret-cert", "mountPath": "/etc/bubu/secrets/cert", "readOnly": True},
        {"name": "secret-key", "mountPath": "/etc/bubu/secrets/key", "readOnly": True},
        {"name": "engram-tls", "mountPath": "/var/run/tls", "readOnly": True},
        {"name": "bubu-storage", "mountPath": "/var/run/bubu/storage"},
    ]
