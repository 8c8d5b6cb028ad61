"""The node as a separate process: what it knows, what its death costs, and which containers it ends first."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.integration.nodecluster import (
    JOBS,
    PODS,
    LocalCluster,
    container_state,
    has_condition,
    in_phase,
    job,
    node_of,
    open_local_cluster,
    parent_of,
    pod,
    processes_with,
    until,
    until_no_process_with,
)


async def kill_node(cluster: LocalCluster) -> None:
    """Kill the node and wait until another one has taken its place."""
    killed = node_of(os.getpid())
    before = (await cluster.client.get("/api/v1/nodes/local"))["status"]
    os.kill(killed, signal.SIGKILL)

    async def is_back() -> bool:
        now = (await cluster.client.get("/api/v1/nodes/local"))["status"]
        return bool(now["daemonEndpoints"] != before["daemonEndpoints"])

    await until(is_back, seconds=20)
    assert node_of(os.getpid()) != killed


async def test_a_killed_node_is_started_again_and_its_pods_end_as_lost(tmp_path: Path) -> None:
    async with open_local_cluster(tmp_path) as cluster:
        await cluster.run_pod(pod("once", "setsid sleep 86399.81 & exec sleep 86399.81"), until="Running")
        await cluster.run_pod(pod("done", "echo kept"))

        await kill_node(cluster)

        once = await cluster.wait_for(PODS, "once", in_phase("Failed"))
        assert (container_state(once)["exitCode"], container_state(once)["reason"]) == (137, "ContainerStatusUnknown")
        await until_no_process_with("sleep 86399.81")
        assert await cluster.log("done") == "kept\n"
        await cluster.run_pod(pod("next", "echo next"))
        assert await cluster.log("next") == "next\n"


async def test_a_job_runs_again_what_died_with_its_node(tmp_path: Path) -> None:
    flag = tmp_path / "second"
    script = f"test -e {flag} && exit 0; touch {flag}; exec sleep 86399.82"
    async with open_local_cluster(tmp_path) as cluster:
        await cluster.client.create(JOBS, job("j", script, backoffLimit=1))

        async def it_runs() -> bool:
            is_running = any(map(in_phase("Running"), (await cluster.client.get(PODS))["items"]))
            return is_running and flag.exists()  # else the second attempt would be taken for the first one

        await until(it_runs)
        await kill_node(cluster)
        ended = await cluster.wait_for(JOBS, "j", has_condition("Complete"))

    assert (ended["status"]["failed"], ended["status"]["succeeded"]) == (1, 1)
    await until_no_process_with("sleep 86399.82")


async def test_no_credential_of_the_node_is_on_a_command_line_or_in_an_environment(tmp_path: Path) -> None:
    async with open_local_cluster(tmp_path) as cluster:
        await cluster.run_pod(pod("p", "env; exec sleep 86399.83"), until="Running")
        seen = [os.getpid(), node_of(os.getpid()), *processes_with("sleep 86399.83")]
        told: bytes = b"".join(
            (Path("/proc") / str(pid) / name).read_bytes() for pid in seen[1:] for name in ("cmdline", "environ")
        )

    assert len(seen) >= 3
    assert cluster.info is not None
    assert cluster.info.token.encode() not in told
    assert b"PRIVATE KEY" not in told


async def test_the_node_steps_back_for_the_control_plane_and_containers_for_the_node(tmp_path: Path) -> None:
    async with open_local_cluster(tmp_path) as cluster:
        await cluster.run_pod(pod("p", "exec sleep 86399.84"), until="Running")
        own = os.getpriority(os.PRIO_PROCESS, 0)
        node = os.getpriority(os.PRIO_PROCESS, node_of(os.getpid()))
        container = [os.getpriority(os.PRIO_PROCESS, pid) for pid in processes_with("sleep 86399.84")]

    assert own < node < container[0]


async def test_the_node_belongs_to_the_process_that_serves(tmp_path: Path) -> None:
    async with open_local_cluster(tmp_path):
        node = node_of(os.getpid())
        assert parent_of(node) == os.getpid()

    assert not (Path("/proc") / str(node)).exists()
