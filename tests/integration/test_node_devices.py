"""GPUs, shared memory and claims on the embedded cluster: what a Pod gets, and what it waits for in which words."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from core.api.objects import Object
from localcluster.node.client import Change, Synced
from tests.integration.nodecluster import (
    JOBS,
    PODS,
    LocalCluster,
    container_state,
    has_condition,
    in_phase,
    job,
    open_local_cluster,
    pod,
)

GPU = "nvidia.com/gpu"
NODE = "/api/v1/nodes/local/status"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with open_local_cluster(tmp_path) as cluster:
        yield cluster


def with_gpu(name: str, script: str, amount: int = 1) -> Object:
    return pod(name, script, resources={"limits": {GPU: str(amount)}})


def is_told(message: str) -> Callable[[Object], bool]:
    def holds(found: Object) -> bool:
        conditions = (found.get("status") or {}).get("conditions") or []
        return any(each.get("message") == message and each["reason"] == "Unschedulable" for each in conditions)

    return holds


async def advertise(local: LocalCluster, amount: int) -> None:
    """As an administrator does on a real cluster without a device plugin."""
    amounts = {GPU: str(amount)}
    await local.client.merge_patch(NODE, {"status": {"capacity": amounts, "allocatable": amounts}})


async def test_a_pod_waits_for_a_gpu_in_the_words_of_a_scheduler_and_runs_when_there_is_one(
    local: LocalCluster,
) -> None:
    await local.client.create(PODS, with_gpu("p", "echo trained"))
    waiting = await local.wait_for(PODS, "p", is_told("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."))
    assert waiting["status"]["phase"] == "Pending"
    assert "nodeName" not in waiting["spec"]
    await local.run_pod(pod("other", "echo the node still works"))

    await advertise(local, 1)
    await local.wait_for(PODS, "p", in_phase("Succeeded"))

    assert await local.log("p") == "trained\n"


async def test_the_pod_of_a_job_waits_for_a_gpu_as_well(local: LocalCluster) -> None:
    wanted = job("j", "echo trained")
    wanted["spec"]["template"] = {"spec": with_gpu("", "echo trained")["spec"]}
    await local.client.create(JOBS, wanted)
    waiting = await _pod_that(local, is_told("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."))
    assert "nodeName" not in waiting["spec"]

    await advertise(local, 1)
    await local.wait_for(JOBS, "j", has_condition("Complete"))


async def _pod_that(local: LocalCluster, holds: Callable[[Object], bool]) -> Object:
    """The first Pod that ``holds`` accepts, whatever its name."""
    send, receive = trio.open_memory_channel[Change](math.inf)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(local.client.follow, PODS, {}, send.send_nowait)
            async for change in receive:
                for found in change.objects if isinstance(change, Synced) else [change.object]:
                    if holds(found):
                        nursery.cancel_scope.cancel()
                        return found
    raise AssertionError("unreachable: the feed has no end")


async def test_a_pod_that_waits_for_a_gpu_can_be_deleted(local: LocalCluster) -> None:
    await local.client.create(PODS, with_gpu("p", "echo trained"))
    await local.wait_for(PODS, "p", is_told("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."))

    await local.client.delete(f"{PODS}/p", {})

    await local.wait_gone(PODS, seconds=30)


async def test_a_gpu_is_given_to_one_pod_after_the_other(local: LocalCluster) -> None:
    await advertise(local, 1)
    await local.client.create(PODS, with_gpu("first", "while true; do sleep 0.05; done"))
    await local.wait_for(PODS, "first", in_phase("Running"))
    await local.client.create(PODS, with_gpu("second", "echo second"))
    await local.wait_for(PODS, "second", is_told("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."))

    await local.client.delete(f"{PODS}/first", {"gracePeriodSeconds": 0})

    await local.wait_for(PODS, "second", in_phase("Succeeded"))


async def test_shared_memory_is_the_pods_own(local: LocalCluster) -> None:
    wanted = pod(
        "p",
        "echo data > $BUBU_VOLUME_ROOT/dev/shm/bubu-test-shared && cat $BUBU_VOLUME_ROOT/dev/shm/bubu-test-shared",
        volumes=[{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}],
        volumeMounts=[{"name": "m", "mountPath": "/dev/shm"}],
    )
    await local.run_pod(wanted)

    assert await local.log("p") == "data\n"
    assert not await trio.Path("/dev/shm/bubu-test-shared").exists()


async def test_a_missing_claim_is_named_and_waited_for(local: LocalCluster) -> None:
    wanted = pod(
        "p",
        "echo kept > $BUBU_VOLUME_ROOT/bubu-test-data/file && cat $BUBU_VOLUME_ROOT/bubu-test-data/file",
        volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}],
        volumeMounts=[{"name": "d", "mountPath": "/bubu-test-data"}],
    )

    def says_so(found: Object) -> bool:
        statuses = (found.get("status") or {}).get("containerStatuses") or []
        return any("data" in (each["state"].get("waiting") or {}).get("message", "") for each in statuses)

    await local.client.create(PODS, wanted)
    waiting = await local.wait_for(PODS, "p", says_so)
    assert 'persistentvolumeclaims "data" not found' in container_state(waiting, "waiting")["message"]

    claim: Object = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}}
    claim["spec"] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    await local.client.create(CLAIMS, claim)
    await local.wait_for(PODS, "p", in_phase("Succeeded"))

    assert await local.log("p") == "kept\n"
