"""A container that writes what nobody can read into the status of its step, on a real API server.

It has the rights of its run's account and nothing else. What it may do is refused by the gate, by a policy while nobody
answers there, and costs its own step alone when it was stored all the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import trio
from gate_rig import NAMES, ask_gate, ask_nobody
from operator_rig import FLOWS, OperatorRig, eventually, open_operator_rig, status_of, step

from control_plane.ports import held_port
from control_plane.processes import ServerProcess
from core.api.identity import runner_name
from core.api.resource import STEP_RUN, STORY_RUN

Object = dict[str, Any]

DEEP: Final = '{"output":' + '{"a":' * 1_500 + "1" + "}" * 1_501
"""Three times the depth at which parsers that recurse give up, in 9 kB."""
WIDE: Final = '{"output":{"x":[' + ",".join(['{"a":{}}'] * 149_000) + "]}}"
"""1.35 MB, and thirty times that in memory."""
LEGIT: Final = '{"output":{"x":"' + "é" * 1_500 + '"},"signals":{"s":{"value":{"a":[1,2,{"b":null}]}}}}'
HOSTILE: Final = 2
"""StepRuns with such a status, 80 MB in memory if they were parsed."""
MOST_GROWTH_MIB: Final = 40


@pytest.fixture
async def rig(tmp_path: Path, pytestconfig: pytest.Config) -> AsyncIterator[OperatorRig]:
    if pytestconfig.getoption("control_plane") != "real":
        pytest.skip("needs a real control plane: --control-plane real")
    async with open_operator_rig(tmp_path) as opened:
        yield opened


async def test_it_is_refused_by_the_gate_and_without_it_by_a_policy(rig: OperatorRig) -> None:
    with held_port() as port:
        where = f"--webhook-bind-address=127.0.0.1:{port}"
    operator = await rig.start_operator("first", where, NAMES, "--leader-elect=false")
    await _works(operator)
    await rig.engram("nap", "sleep 60")
    await rig.story("alone", step("a", "nap"))
    await rig.run("attacker", "alone")
    await _until_at_work(rig, "attacker")
    async with _container_of(rig, "attacker") as container:
        await ask_gate(rig, operator)
        with_gate = {name: await _write(container, "attacker-a", text) for name, text in _writes().items()}
        await ask_nobody(rig)
        await rig.apply("manifests/policies")
        await eventually(lambda: _is_refused(container), lambda: "the policy is not in force")
        with_policy = {name: await _write(container, "attacker-a", text) for name, text in _writes().items()}

    for answers in (with_gate, with_policy):
        assert {name: answer.status_code for name, answer in answers.items()} == {
            "legit": 200,
            "deep": 422,
            "wide": 422,
        }, {name: answer.text[:300] for name, answer in answers.items()}
    assert "denied the request" in with_gate["deep"].text
    assert "ValidatingAdmissionPolicy 'bobrapet-status-size'" in with_policy["deep"].text


async def test_one_that_was_stored_fails_its_own_step_and_nothing_else(rig: OperatorRig) -> None:
    operator = await rig.start_operator("first", "--leader-elect=false")
    await _works(operator)
    await rig.engram("nap", "sleep 60")
    await rig.engram("quick")
    await rig.story("alone", step("a", "nap"))
    await rig.story("bystander", step("a", "quick"))
    await rig.run("attacker", "alone")
    await _until_at_work(rig, "attacker")
    before = _memory_mib(operator)
    async with _container_of(rig, "attacker") as container:
        assert (await _write(container, "attacker-a", DEEP)).status_code == 200
    failed = await rig.ended("attacker", "Failed")
    await rig.run("after-the-deep-one", "bystander")
    await rig.ended("after-the-deep-one", "Succeeded")
    mended = await rig.client.get(STEP_RUN, "attacker-a", FLOWS)

    async with rig.plane.open_client() as people:
        people.timeout = httpx.Timeout(60)
        await _hostile_step_runs(rig, people)
        await rig.run("after-the-wide-ones", "bystander")
        await rig.ended("after-the-wide-ones", "Succeeded")
        grown = _memory_mib(operator) - before
        await operator.kill()
        assert (await _write(people, "hostile-0", '{"output":null}')).status_code == 200
        assert (await _write(people, "hostile-0", DEEP)).status_code == 200
    second = await rig.start_operator("second", "--leader-elect=false")
    await _works(second)
    await rig.run("after-a-restart", "bystander")
    await rig.ended("after-a-restart", "Succeeded")

    assert "Unreadable" in str(status_of(failed)["conditions"]) or "cannot be read" in str(failed["status"])
    assert "cannot be read" in status_of(failed)["stepStates"]["a"]["message"]
    assert status_of(mended)["phase"] == "Failed"
    assert "output" not in status_of(mended)
    assert {condition["reason"] for condition in status_of(mended)["conditions"]} == {"Unreadable"}
    assert grown < MOST_GROWTH_MIB
    assert _memory_mib(second) - before < MOST_GROWTH_MIB
    print(f"grown by {grown:.0f} MiB; after a restart {_memory_mib(second) - before:.0f} MiB more than before")


MERGE: Final = {"content-type": "application/merge-patch+json"}


def _writes() -> dict[str, str]:
    return {"legit": LEGIT, "deep": DEEP, "wide": WIDE}


async def _works(operator: ServerProcess) -> None:
    async def begun() -> bool:
        await trio.lowlevel.checkpoint()
        log = operator.log
        return log.exists() and "controllers start" in log.read_text()

    await eventually(begun, operator.tail)


async def _until_at_work(rig: OperatorRig, run: str) -> None:
    await rig.until(
        STORY_RUN, run, lambda obj: (status_of(obj).get("stepStates") or {}).get("a", {}).get("phase") == "Running"
    )
    await rig.until(STEP_RUN, f"{run}-a", lambda obj: status_of(obj).get("phase") == "Running")


@asynccontextmanager
async def _container_of(rig: OperatorRig, run: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the rights of the containers of a run."""
    token = await rig.plane.token_of(runner_name(run), FLOWS)
    async with rig.plane.open_client() as client:
        client.headers["authorization"] = f"Bearer {token}"
        client.timeout = httpx.Timeout(60)
        yield client


async def _write(client: httpx.AsyncClient, name: str, status: str) -> httpx.Response:
    """What the API server answers to a write of the status, which is sent as it is."""
    path = STEP_RUN.path(FLOWS, name, "status")
    return await client.patch(path, content=f'{{"status":{status}}}'.encode(), headers=MERGE)


async def _is_refused(client: httpx.AsyncClient) -> bool:
    return (await _write(client, "attacker-a", DEEP)).status_code == 422


async def _hostile_step_runs(rig: OperatorRig, people: httpx.AsyncClient) -> None:
    for number in range(HOSTILE):
        name = f"hostile-{number}"
        spec = {"storyRunRef": {"name": "nobody"}, "stepId": "a", "engramRef": {"name": "nap"}}
        await rig.create(STEP_RUN, name, {"spec": spec})
        answer = await _write(people, name, WIDE)
        assert answer.status_code == 200, answer.text[:300]


def _memory_mib(process: ServerProcess) -> float:
    """The most that the process had in memory so far."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) / 1024
