"""Steps in warm workers, from the Engram to the result: operator, node and SDK together."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from core.api import keys
from core.api.objects import Object
from core.api.resource import (
    DEPLOYMENT,
    ENGRAM,
    JOB,
    POD,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    STEP_RUN,
    STORY_RUN,
    Resource,
)
from core.engine.step.assignment import assignment_of, worker_exit_of
from tests.integration.commandline import is_alive
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, Traffic, status_of, step
from tools.control_plane.session import SessionCluster

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests/e2e/engrams/warm_greeter.py"
GRACE = "BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT"
PATIENCE = 20.0
"""On a quiet machine: a worker starts an interpreter, and a lost one is noticed after twenty seconds."""


@pytest.fixture(autouse=True)
def with_socket(real: SessionCluster | None) -> None:
    """Programs with the SDK call the API server, and no socket carries the embedded one's API here."""
    if real is None:
        pytest.skip("needs a real control plane: --control-plane real")


async def install(world: OperatorCluster, directory: Path, grace: str = "20s", **warm: Any) -> Path:
    """An Engram ``greet`` with warm workers; returns the file in which its steps record that they have begun."""
    executions = directory / "executions"
    variables = (f"PYTHONPATH={ROOT / 'sdk'}", f"EXECUTIONS={executions}", f"{GRACE}={grace}")
    command = ["/usr/bin/env", *variables, sys.executable, str(PROGRAM)]
    overrides = {"overrides": {"warm": {"idleTimeout": "1h", **warm}}}
    await world.engram("greet", command=command, engram=overrides, supportedModes=["job", "worker"])
    return executions


def greeting(name: str, *, seconds: float = 0.0, **fields: Any) -> Object:
    return step(name, "greet", **{"with": {"name": name, "seconds": seconds}}, **fields)


def begun(executions: Path) -> list[str]:
    """``RUN/STEP`` of each execution, in order."""
    return [line.split()[0] for line in executions.read_text().splitlines()] if executions.exists() else []


async def step_runs(world: OperatorCluster) -> dict[str, Object]:
    return {each["spec"]["stepId"]: each for each in (await world.client.list(STEP_RUN, NAMESPACE_NAME)).items}


async def test_steps_run_one_after_the_other_in_a_worker_without_jobs(world: OperatorCluster, tmp_path: Path) -> None:
    executions = await install(world, tmp_path)
    await world.story("chain", greeting("a"), greeting("b", needs=["a"]), greeting("c", needs=["b"]))
    async with world.operator() as traffic:
        await world.run("first", "chain")
        run = await world.finished("first", seconds=PATIENCE)
        assert status_of(run)["phase"] == "Succeeded"
        assert begun(executions) == ["first/a", "first/b", "first/c"]
        assert await world.names(JOB) == []
        made = await step_runs(world)
        assert status_of(made["c"])["output"] == {"greeting": "hello c", "step": "c"}
        workers = {(found.worker, found.worker_uid) for each in made.values() if (found := assignment_of(each))}
        [pod] = (await world.client.list(POD, NAMESPACE_NAME)).items
        assert workers == {(pod["metadata"]["name"], pod["metadata"]["uid"])}
        assert all((ended := worker_exit_of(status_of(each))) and ended.exit_code == 0 for each in made.values())
        await _costs_two_requests_a_step(world, traffic)


async def _costs_two_requests_a_step(world: OperatorCluster, traffic: Traffic) -> None:
    """With a worker that has room: the creation with the assignment, and the end."""
    before = traffic.writes
    await world.run("second", "chain")
    await world.finished("second", seconds=PATIENCE)
    sent = traffic.writes - before
    assert sent["POST stepruns"] == 3
    assert sent["PATCH stepruns"] == 0
    assert sent["PATCH stepruns/status"] <= 6, "the end of each, and Running if it takes two seconds"


async def test_more_steps_than_workers_bring_more_workers(world: OperatorCluster, tmp_path: Path) -> None:
    executions = await install(world, tmp_path, replicas=1, maxReplicas=2)
    await world.story("wide", *(greeting(f"s{number}", seconds=0.3) for number in range(6)))
    async with world.operator():
        await world.run("one", "wide")
        run = await world.finished("one", seconds=PATIENCE)
        assert status_of(run)["phase"] == "Succeeded"
        assert sorted(begun(executions)) == [f"one/s{number}" for number in range(6)]
        [deployment] = (await world.client.list(DEPLOYMENT, NAMESPACE_NAME)).items
        assert deployment["spec"]["replicas"] == 2


async def test_a_cancel_ends_the_process_of_a_step(world: OperatorCluster, tmp_path: Path) -> None:
    executions = await install(world, tmp_path)
    await world.story("long", greeting("a", seconds=600))
    async with world.operator():
        await world.run("one", "long")
        await world.until(STEP_RUN, "one-a", lambda obj: bool(begun(executions)), seconds=PATIENCE)
        [line] = executions.read_text().splitlines()
        cancel = {"spec": {"cancelRequested": True}}
        await world.client.patch(STORY_RUN, "one", cancel, namespace=NAMESPACE_NAME)
        run = await world.finished("one", seconds=PATIENCE)
        assert status_of(run)["phase"] == "Finished"
        ended = await world.until(
            STEP_RUN, "one-a", lambda obj: worker_exit_of(status_of(obj)) is not None, seconds=PATIENCE
        )
        assert status_of(ended)["phase"] == "Canceled"
        assert not _is_alive(int(line.split()[1]))


async def test_a_worker_ends_a_step_at_its_deadline_while_there_is_no_operator(
    world: OperatorCluster, tmp_path: Path
) -> None:
    """The worker is stopped while a second step is assigned, so it sees that step after its time."""
    once = {"retry": {"maxRetries": 0}}
    executions = await install(world, tmp_path, grace="1s", concurrencyPerWorker=2)
    await world.story("long", greeting("a", seconds=600, execution={"timeout": "15s", **once}))
    await world.story("late", greeting("b", execution={"timeout": "2s", **once}))
    async with world.operator():
        await world.run("one", "long")
        await world.until(STEP_RUN, "one-a", lambda obj: bool(begun(executions)), seconds=PATIENCE)
        process = int(executions.read_text().split()[1])
        worker = _parent_of(_parent_of(process))
        os.kill(worker, signal.SIGSTOP)
        await world.run("two", "late")
        await world.until(STEP_RUN, "two-b", lambda obj: assignment_of(obj) is not None)
    try:
        await trio.sleep(6)  # the worker must not take itself for lost, which it does after twelve
    finally:
        os.kill(worker, signal.SIGCONT)

    for name, message in (("one-a", "did not finish within 15s"), ("two-b", "did not begin within 2s")):
        ended = await world.until(STEP_RUN, name, lambda obj: worker_exit_of(status_of(obj)) is not None)
        assert (status_of(ended)["phase"], status_of(ended)["workerExit"]["exitCode"]) == ("Timeout", 124)
        assert message in status_of(ended)["lastFailureMsg"]
        assert "conditions" not in status_of(ended), "only the operator records the end"
    assert not _is_alive(process)
    async with world.operator():
        for name in ("one", "two"):
            assert status_of(await world.finished(name))["phase"] == "Failed"
    assert begun(executions) == ["one/a"]
    assert {status_of(each)["phase"] for each in (await step_runs(world)).values()} == {"Timeout"}


@pytest.mark.parametrize("killed", ["zygote", "worker"])
async def test_a_worker_that_is_killed_loses_its_step_which_is_retried(
    world: OperatorCluster, tmp_path: Path, killed: str
) -> None:
    executions = await install(world, tmp_path)
    await world.story("slow", greeting("a", seconds=3, execution={"retry": {"maxRetries": 2, "delay": "10ms"}}))
    async with world.operator():
        await world.run("one", "slow")
        await world.until(STEP_RUN, "one-a", lambda obj: bool(begun(executions)), seconds=PATIENCE)
        process = int(executions.read_text().split()[1])
        zygote = _parent_of(process)
        os.kill(zygote if killed == "zygote" else _parent_of(zygote), signal.SIGKILL)
        await world.eventually(lambda: _has_ended(process))
        run = await world.finished("one", seconds=2 * PATIENCE)
        assert status_of(run)["phase"] == "Succeeded"
        assert begun(executions) == ["one/a", "one/a"]
        made = await step_runs(world)
        assert status_of(made["a"])["retries"] == 1


async def _has_ended(pid: int) -> bool:
    await trio.lowlevel.checkpoint()
    return not is_alive(pid)


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_deleted_pod_loses_its_step_and_a_deleted_engram_its_pool(
    world: OperatorCluster, tmp_path: Path
) -> None:
    executions = await install(world, tmp_path)
    await world.story("slow", greeting("a", seconds=2, execution={"retry": {"maxRetries": 2, "delay": "10ms"}}))
    async with world.operator():
        await world.run("one", "slow")
        await world.until(STEP_RUN, "one-a", lambda obj: bool(begun(executions)), seconds=PATIENCE)
        found = assignment_of((await step_runs(world))["a"])
        assert found is not None
        body = {"gracePeriodSeconds": 0}
        await world.client.request("DELETE", f"/api/v1/namespaces/{NAMESPACE_NAME}/pods/{found.worker}", json=body)
        run = await world.finished("one", seconds=2 * PATIENCE)
        assert status_of(run)["phase"] == "Succeeded"
        await world.client.delete(ENGRAM, "greet", NAMESPACE_NAME)

        async def pool_is_gone() -> bool:
            accounts = await world.client.list(SERVICE_ACCOUNT, NAMESPACE_NAME, label_selector=keys.LABEL_WORKER_POOL)
            return not accounts.items and await world.names(DEPLOYMENT) == []

        await world.eventually(pool_is_gone, seconds=PATIENCE)


async def test_what_somebody_deletes_of_a_pool_is_restored_while_it_is_in_use(
    world: OperatorCluster, tmp_path: Path
) -> None:
    executions = await install(world, tmp_path, grace="2s")
    await world.story("slow", greeting("a", seconds=5), greeting("b", needs=["a"]))
    again = {"retry": {"maxRetries": 3, "delay": "10ms"}}
    await world.story("patient", greeting("c", seconds=2, execution=again))
    async with world.operator():
        await world.run("one", "slow")
        await world.until(STEP_RUN, "one-a", lambda obj: bool(begun(executions)), seconds=PATIENCE)
        bindings = await _of_pools(world, ROLE_BINDING)
        for binding in bindings:
            await world.client.delete(ROLE_BINDING, binding["metadata"]["name"], NAMESPACE_NAME)
        await world.eventually(lambda: _are_made_again(world, ROLE_BINDING, bindings))
        assert status_of(await world.finished("one", seconds=PATIENCE))["phase"] == "Succeeded"
        assert begun(executions) == ["one/a", "one/b"], "the worker has lost nothing"

        accounts = await _of_pools(world, SERVICE_ACCOUNT)
        await world.run("two", "patient")
        await world.until(STEP_RUN, "two-c", lambda obj: "two/c" in begun(executions), seconds=PATIENCE)
        await world.client.delete(
            SERVICE_ACCOUNT, accounts[0]["metadata"]["name"], NAMESPACE_NAME, propagation="Background"
        )
        assert status_of(await world.finished("two", seconds=2 * PATIENCE))["phase"] == "Succeeded"
        assert begun(executions).count("two/c") > 1
        assert await _are_made_again(world, SERVICE_ACCOUNT, accounts)


async def _of_pools(world: OperatorCluster, resource: Resource) -> list[Object]:
    return (await world.client.list(resource, NAMESPACE_NAME, label_selector=keys.LABEL_WORKER_POOL)).items


async def _are_made_again(world: OperatorCluster, resource: Resource, before: list[Object]) -> bool:
    """Whether there are objects of the same names, and none of the former ones."""
    now = {each["metadata"]["name"]: each["metadata"]["uid"] for each in await _of_pools(world, resource)}
    was = {each["metadata"]["name"]: each["metadata"]["uid"] for each in before}
    return now.keys() == was.keys() and not set(now.values()) & set(was.values())


async def test_an_image_that_cannot_serve_runs_as_a_job(world: OperatorCluster) -> None:
    await world.engram("plain", engram={"overrides": {"warm": {}}})
    await world.story("report", step("a", "plain"))
    async with world.operator():
        await world.run("one", "report")
        run = await world.finished("one", seconds=PATIENCE)
        assert status_of(run)["phase"] == "Succeeded"
        assert await world.names(JOB) == ["one-a"]
        assert await world.names(DEPLOYMENT) == []
