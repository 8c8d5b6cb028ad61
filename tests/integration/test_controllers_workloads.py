"""Jobs, Deployments, garbage collection and namespaces: controllers, server and node together."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from core.api.objects import Object
from localcluster.node.client import Change, Changed, Synced
from tests.integration.nodecluster import JOBS, PODS, LocalCluster, has_condition, in_phase, job, open_either, until
from tools.control_plane.session import SessionCluster

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
REPLICA_SETS = "/apis/apps/v1/namespaces/default/replicasets"
STATEFUL_SETS = "/apis/apps/v1/namespaces/default/statefulsets"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def local(tmp_path: Path, control_plane: SessionCluster | None) -> AsyncIterator[LocalCluster]:
    async with open_either(tmp_path, control_plane) as cluster:
        yield cluster


async def test_a_job_runs_its_pod_and_completes(local: LocalCluster) -> None:
    await local.client.create(JOBS, job("j", "echo hello"))

    done = await local.wait_for(JOBS, "j", has_condition("Complete"))
    (pod,) = (await local.client.get(PODS, {"labelSelector": "batch.kubernetes.io/job-name=j"}))["items"]

    assert done["status"]["succeeded"] == 1
    assert done["status"]["completionTime"] >= done["status"]["startTime"]
    assert pod["metadata"]["ownerReferences"][0]["uid"] == done["metadata"]["uid"]
    assert pod["metadata"]["name"].startswith("j-")
    assert await local.log(pod["metadata"]["name"]) == "hello\n"


async def test_a_short_job_costs_few_writes(local: LocalCluster, nursery: trio.Nursery) -> None:
    """The writes are creation and end. On a busy machine there may be one for each state between.

    A real Job controller writes once more, to both objects, that it has counted the Pod.
    """
    send, receive = trio.open_memory_channel[Change](math.inf)
    nursery.start_soon(local.client.follow, JOBS, {}, send.send_nowait)
    nursery.start_soon(local.client.follow, PODS, {}, send.send_nowait)
    synced = 0
    while synced < 2:
        synced += isinstance(await receive.receive(), Synced)

    await local.client.create(JOBS, job("j", "", image="noop"))
    await local.wait_for(JOBS, "j", has_condition("Complete"))
    await trio.testing.wait_all_tasks_blocked(0.1)
    seen = [receive.receive_nowait() for _ in range(receive.statistics().current_buffer_used)]

    kinds = [change.object["kind"] for change in seen if isinstance(change, Changed)]
    assert 2 <= kinds.count("Job") <= (5 if local.info is None else 4)  # created, active, ready, ended
    assert 2 <= kinds.count("Pod") <= (5 if local.info is None else 4)  # created, preparing, running, ended
    nursery.cancel_scope.cancel()


async def test_a_failing_job_fails_with_its_reason(local: LocalCluster) -> None:
    await local.client.create(JOBS, job("j", "exit 7"))

    failed = await local.wait_for(JOBS, "j", has_condition("Failed"))

    reasons = {entry["type"]: entry["reason"] for entry in failed["status"]["conditions"]}
    assert reasons == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert failed["status"]["failed"] == 1


async def test_a_job_past_its_deadline_takes_its_pods_with_it(local: LocalCluster) -> None:
    await local.client.create(JOBS, job("j", "sleep 60", activeDeadlineSeconds=1))

    failed = await local.wait_for(JOBS, "j", has_condition("Failed"))

    assert {entry["reason"] for entry in failed["status"]["conditions"]} == {"DeadlineExceeded"}
    await local.wait_gone(PODS)


async def test_parallel_pods_fill_the_completions(local: LocalCluster) -> None:
    await local.client.create(JOBS, job("j", "sleep 0.05", parallelism=2, completions=5))

    done = await local.wait_for(JOBS, "j", has_condition("Complete"))

    assert done["status"]["succeeded"] == 5


async def test_a_suspended_job_starts_when_it_is_resumed(local: LocalCluster) -> None:
    await local.client.create(JOBS, job("j", "true", suspend=True))
    await local.wait_for(JOBS, "j", has_condition("Suspended"))
    assert (await local.client.get(PODS))["items"] == []

    await local.client.merge_patch(f"{JOBS}/j", {"spec": {"suspend": False}})

    await local.wait_for(JOBS, "j", has_condition("Complete"))


async def test_an_ended_job_is_removed_with_its_pods_after_its_time_to_live(local: LocalCluster) -> None:
    await local.client.create(JOBS, job("j", "true", ttlSecondsAfterFinished=1))

    await local.wait_for(JOBS, "j", has_condition("Complete"))

    await local.wait_gone(JOBS)
    await local.wait_gone(PODS)


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_deleting_a_job_ends_its_pods(local: LocalCluster, propagation: str) -> None:
    await local.client.create(JOBS, job("j", "exec sleep 60"))
    await local.wait_for(JOBS, "j", lambda obj: obj["status"].get("ready") == 1)

    await local.client.delete(f"{JOBS}/j", {"propagationPolicy": propagation})

    await local.wait_gone(PODS)
    await local.wait_gone(JOBS)


async def test_orphaned_pods_stay_without_their_owner(local: LocalCluster) -> None:
    await local.client.create(JOBS, job("j", "true"))
    await local.wait_for(JOBS, "j", has_condition("Complete"))

    await local.client.delete(f"{JOBS}/j", {"propagationPolicy": "Orphan"})
    await local.wait_gone(JOBS)

    (pod,) = (await local.client.get(PODS))["items"]
    assert not pod["metadata"].get("ownerReferences")


async def test_an_object_of_an_owner_that_never_existed_is_collected(local: LocalCluster) -> None:
    ghost = {"apiVersion": "v1", "kind": "ConfigMap", "name": "ghost", "uid": "00000000-0000-0000-0000-000000000000"}
    metadata = {"name": "stray", "ownerReferences": [ghost]}
    await local.client.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})

    async def is_gone() -> bool:
        listed = (await local.client.get(CONFIG_MAPS))["items"]
        return "stray" not in {entry["metadata"]["name"] for entry in listed}

    await until(is_gone)


def deployment(script: str, replicas: int = 2) -> Object:
    container = {"name": "main", "image": "shell", "args": [script]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


def rolled_out(obj: Object) -> bool:
    status, wanted = obj.get("status", {}), obj["spec"]["replicas"]
    counts = {status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
    return counts == {wanted} and status.get("observedGeneration") == obj["metadata"]["generation"]


async def test_a_deployment_rolls_out_rolls_over_and_scales(local: LocalCluster) -> None:
    await local.client.create(DEPLOYMENTS, deployment("exec sleep 60"))
    first = await local.wait_for(DEPLOYMENTS, "d", rolled_out)
    assert first["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"

    await local.client.merge_patch(f"{DEPLOYMENTS}/d", {"spec": deployment("exec sleep 61", replicas=3)["spec"]})
    second = await local.wait_for(DEPLOYMENTS, "d", rolled_out)
    assert second["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    sets = (await local.client.get(REPLICA_SETS))["items"]
    assert sorted(entry["spec"]["replicas"] for entry in sets) == [0, 3]

    await local.client.delete(f"{DEPLOYMENTS}/d", {"propagationPolicy": "Foreground"})
    for path in (DEPLOYMENTS, REPLICA_SETS, PODS):
        await local.wait_gone(path)


async def test_a_deployment_replaces_a_pod_that_is_deleted(local: LocalCluster) -> None:
    await local.client.create(DEPLOYMENTS, deployment("exec sleep 60", replicas=1))
    await local.wait_for(DEPLOYMENTS, "d", rolled_out)
    (before,) = (await local.client.get(PODS))["items"]

    await local.client.delete(f"{PODS}/{before['metadata']['name']}", {"gracePeriodSeconds": 0})

    async def is_replaced() -> bool:
        pods = (await local.client.get(PODS))["items"]
        others = [entry for entry in pods if entry["metadata"]["uid"] != before["metadata"]["uid"]]
        return len(pods) == len(others) == 1 and in_phase("Running")(others[0])

    await until(is_replaced)


async def test_a_deployment_says_why_its_pods_cannot_be_created_until_they_can(local: LocalCluster) -> None:
    wanted = deployment("exec sleep 60", replicas=1)
    wanted["spec"]["template"]["spec"]["serviceAccountName"] = "later"
    await local.client.create(DEPLOYMENTS, wanted)
    held_up = await local.wait_for(DEPLOYMENTS, "d", has_condition("ReplicaFailure"))
    (message,) = (each["message"] for each in held_up["status"]["conditions"] if each["type"] == "ReplicaFailure")
    assert 'serviceaccount "later" not found' in message

    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "later"}}
    await local.client.create("/api/v1/namespaces/default/serviceaccounts", account)
    up = await local.wait_for(DEPLOYMENTS, "d", rolled_out)
    assert "ReplicaFailure" not in {each["type"] for each in up["status"]["conditions"]}


async def test_a_stateful_set_starts_replaces_and_ends_pods_in_order(local: LocalCluster) -> None:
    stateful_set = deployment("exec sleep 60") | {"kind": "StatefulSet", "metadata": {"name": "s"}}
    stateful_set["spec"]["serviceName"] = "s"
    await local.client.create(STATEFUL_SETS, stateful_set)
    await local.wait_for(STATEFUL_SETS, "s", rolled_out)
    before = {pod["metadata"]["name"]: pod for pod in (await local.client.get(PODS))["items"]}
    assert sorted(before) == ["s-0", "s-1"]
    assert before["s-0"]["status"]["startTime"] <= before["s-1"]["metadata"]["creationTimestamp"]

    corrected = {"template": deployment("exec sleep 61")["spec"]["template"], "replicas": 1}
    await local.client.merge_patch(f"{STATEFUL_SETS}/s", {"spec": corrected})
    await local.wait_for(STATEFUL_SETS, "s", rolled_out)
    (after,) = (await local.client.get(PODS))["items"]
    assert after["metadata"]["name"] == "s-0"
    assert after["metadata"]["uid"] != before["s-0"]["metadata"]["uid"]

    await local.client.delete(f"{STATEFUL_SETS}/s", {"propagationPolicy": "Foreground"})
    for path in (STATEFUL_SETS, PODS):
        await local.wait_gone(path)


async def test_a_namespace_is_furnished_and_goes_with_everything_in_it(local: LocalCluster) -> None:
    namespaces = "/api/v1/namespaces"
    await local.client.create(namespaces, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "furnished"}})
    await local.wait_for(f"{namespaces}/furnished/serviceaccounts", "default", lambda _: True)
    root = await local.wait_for(f"{namespaces}/furnished/configmaps", "kube-root-ca.crt", lambda _: True)
    assert root["data"]["ca.crt"] == local.ca_pem
    await local.client.create("/apis/batch/v1/namespaces/furnished/jobs", job("j", "exec sleep 60"))
    await local.wait_for("/apis/batch/v1/namespaces/furnished/jobs", "j", lambda obj: obj["status"].get("ready") == 1)

    await local.client.delete(f"{namespaces}/furnished", {})

    async def is_gone() -> bool:
        return "furnished" not in {entry["metadata"]["name"] for entry in (await local.client.get(namespaces))["items"]}

    await until(is_gone)


async def test_what_a_custom_resource_owns_goes_with_it_down_to_the_pod(local: LocalCluster) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "steps.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "steps", "kind": "Step"},
            "versions": [version],
        },
    }
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await local.client.create(crds, definition)
    await local.wait_for(crds, "steps.example.com", has_condition("Established"))
    steps = "/apis/example.com/v1/namespaces/default/steps"
    step = await local.client.create(steps, {"apiVersion": "example.com/v1", "kind": "Step", "metadata": {"name": "s"}})
    owned = job("j", "exec sleep 60")
    owner = {"apiVersion": "example.com/v1", "kind": "Step", "name": "s", "uid": step["metadata"]["uid"]}
    owned["metadata"]["ownerReferences"] = [{**owner, "controller": True, "blockOwnerDeletion": True}]
    await local.client.create(JOBS, owned)
    await local.wait_for(JOBS, "j", lambda obj: obj["status"].get("ready") == 1)

    await local.client.delete(f"{steps}/s", {})

    for path in (steps, JOBS, PODS):
        await local.wait_gone(path)
