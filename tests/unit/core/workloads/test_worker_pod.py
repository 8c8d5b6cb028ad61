"""The Pod of a worker has what the Job of a step has: Secrets, TLS, the store and the volumes of the policy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core.api.objects import Object
from core.policy.warm import WarmPolicy
from core.workloads.job import step_job
from core.workloads.step_workload import StepWorkload
from core.workloads.worker_pool import OF_STEP, environment_of, workers_wanted
from tests.unit.core.workloads.workload_samples import POLICY, workload

WARM = WarmPolicy(replicas=1, max_replicas=1, concurrency=1, idle_timeout=timedelta(minutes=5))
OF_WORKER = {
    *("BUBU_WORKER_POOL", "BUBU_WORKER_CONCURRENCY", "BUBU_WORKER_ISOLATION", "BUBU_WORKER_MEMORY_BYTES"),
    "BUBU_POD_UID",
}
S3: Object = {
    "s3": {
        "bucket": "data",
        "region": "eu-north-1",
        "endpoint": "https://s3.example",
        "usePathStyle": True,
        "authentication": {"secretRef": {"name": "s3-keys"}},
    },
    "timeoutSeconds": 40,
}
FILE: Object = {"file": {"path": "/data/store", "volumeClaimName": "store"}}
AZURE: Object = {"azure": {"account": "a", "container": "c"}}
SCHEMA: Object = {
    "api": {"expectedKeys": ["TOKEN"], "envPrefix": "API_", "required": True},
    "all": {"envPrefix": "ALL_"},
    "database": {"mountType": "file", "mountPath": "/etc/database"},
    "both": {"mountType": "both"},
}
RICH: Object = {
    "secrets": {"api": "api-keys", "all": "all-keys", "database": "database-keys", "both": "both-keys"},
    "volumes": (
        {"name": "models", "mountPath": "/models", "readOnly": True, "persistentVolumeClaim": {"claimName": "models"}},
        {"name": "rules", "mountPath": "/rules", "subPath": "v2", "configMap": {"name": "rules"}},
        {"name": "scratch", "mountPath": "/scratch", "emptyDir": {"sizeLimit": "1Gi"}},
    ),
    "shared_memory": "64Mi",
    "resources": {**POLICY.resources, "ephemeralStorageLimit": "2Gi"},
    "extended_resources": {"nvidia.com/gpu": "1"},
    "node_selector": {"gpu": "yes"},
    "tolerations": ({"key": "gpu", "operator": "Exists"},),
    "affinity": {"nodeAffinity": {}},
    "probes": {"liveness": {"exec": {"command": ["true"]}}},
}


def pods(step: StepWorkload) -> tuple[Object, Object]:
    """The Pod templates of the Job and of the worker."""
    wanted = workers_wanted(step, WARM, "team-a", {})
    return step_job(step)["spec"]["template"], wanted.deployment("u1", step.policy)["spec"]["template"]


def container_of(pod: Object) -> Object:
    [container] = pod["spec"]["containers"]
    found: Object = container
    return found


@pytest.mark.parametrize("storage", [None, S3, FILE, AZURE])
def test_the_pod_of_a_worker_is_that_of_a_job(storage: Object | None) -> None:
    step = workload(policy={**RICH, "storage": storage}, secret_schema=SCHEMA, tls_secret="grpc-tls")
    of_job, of_worker = pods(step)

    both = [
        {key: value for key, value in pod["spec"].items() if key not in ("containers", "restartPolicy")}
        for pod in (of_job, of_worker)
    ]
    account = workers_wanted(step, WARM, "team-a", {}).name
    assert both[1] == {**both[0], "serviceAccountName": account}
    job, worker = container_of(of_job), container_of(of_worker)
    assert {**worker, "env": None} == {**job, "env": None}
    use = "azure.workload.identity/use"
    assert of_worker["metadata"]["labels"].get(use) == of_job["metadata"]["labels"].get(use)
    assert names(both[1]["volumes"]) >= {"secret-database", "secret-both", "engram-tls", "models", "rules", "scratch"}
    assert (names(both[1]["volumes"]) >= {"bubu-storage"}) == (storage is FILE)
    mounted = {each["mountPath"] for each in worker["volumeMounts"]}
    assert mounted >= {"/etc/database", "/var/run/tls", "/models", "/rules", "/scratch", "/dev/shm"}
    assert ("/data/store" in mounted) == (storage is FILE)
    assert {each["secretRef"]["name"] for each in worker["envFrom"]} == {"all-keys", "both-keys"}


@pytest.mark.parametrize("storage", [None, S3, FILE, AZURE])
def test_worker_and_assignment_together_have_the_values_of_a_job(storage: Object | None) -> None:
    policy = {**RICH, "storage": storage, "debug": True}
    step = workload(policy=policy, secret_schema=SCHEMA, tls_secret="grpc-tls", trigger_data='{"cost":"$5"}')
    of_job, of_worker = map(container_of, pods(step))
    job, worker = (by_name(container["env"]) for container in (of_job, of_worker))

    assert {name: value for name, value in worker.items() if name not in OF_WORKER} == {
        name: value for name, value in job.items() if name not in OF_STEP
    }
    assert environment_of(step) == {
        name: variable["value"].replace("$$", "$") for name, variable in job.items() if name in OF_STEP
    }
    assert worker["API_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "api-keys", "key": "TOKEN"}
    assert worker["BUBU_SECRET_database"]["value"] == "file:/etc/database"
    assert worker["BUBU_GRPC_TLS_CERT_FILE"]["value"] == "/var/run/tls/tls.crt"
    if storage is S3:
        assert worker["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]["name"] == "s3-keys"


def names(entries: list[Object]) -> set[str]:
    return {entry["name"] for entry in entries}


def by_name(env: list[Object]) -> dict[str, Any]:
    found = {each["name"]: each for each in env}
    assert len(found) == len(env)
    return found
