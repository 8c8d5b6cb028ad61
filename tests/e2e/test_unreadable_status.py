"""A container writes an unreadable value into the status of its step, on a real API server.

It has only the rights of its run's account. Admission refuses the write, and a policy does while admission is down. If
the value was stored nevertheless, only its own step fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import trio

from core.api import keys
from core.api.resource import POD, STEP_RUN, STORY_RUN
from deployment.policies.policy import BINDING
from deployment.policies.policy import POLICY as POLICY_KIND
from tests.e2e.admission_rig import NAMES, ask_admission, ask_nobody
from tests.e2e.operator_rig import FLOWS, OperatorRig, eventually, status_of, step
from tools.control_plane.ports import held_port
from tools.control_plane.processes import ServerProcess

DEEP: Final = '{"output":' + '{"a":' * 1_500 + "1" + "}" * 1_501
"""Three times the depth at which recursive parsers give up, in 9 kB."""
WIDE: Final = '{"output":{"x":[' + ",".join(['{"a":{}}'] * 149_000) + "]}}"
"""1.35 MB, and thirty times that in memory."""
LEGIT: Final = '{"output":{"x":"' + "é" * 1_500 + '"},"signals":{"s":{"value":{"a":[1,2,{"b":null}]}}}}'
HOSTILE: Final = 2
"""StepRuns with such a status. Parsed, they would take 80 MB of memory."""
MOST_GROWTH_MIB: Final = 60
MANY: Final = '{"output":{"x":[' + ",".join(['{"a":{}}'] * 25_000) + "]}}"
"""As above, but with less work for the server that refuses it."""
WRITES: Final = {"legit": LEGIT, "deep": DEEP, "many": MANY}
EXPECTED: Final = {"legit": 200, "deep": 422, "many": 422}
POLICY: Final = "manifests/policies/status-size.yaml"
BY_POLICY: Final = "ValidatingAdmissionPolicy 'bobrapet-status-size'"


async def test_it_is_refused_by_admission_and_policy_and_fails_its_own_step_alone_when_it_was_stored(
    rig: OperatorRig,
) -> None:
    """One test for all, because creating a cluster takes longer than all of this."""
    with held_port() as port:
        where = f"--webhook-bind-address=127.0.0.1:{port}"
    operator = await rig.start_operator("first", where, NAMES, "--leader-elect=false")
    await _works(operator)
    await rig.engram("nap", "sleep 300")
    await rig.engram("quick")
    await rig.story("alone", step("a", "nap"))
    await rig.story("bystander", step("a", "quick"))
    await rig.run("attacker", "alone")
    await _until_at_work(rig, "attacker")
    async with _container_of(rig, "attacker") as container:
        await ask_admission(rig, operator)
        await eventually(lambda: _admission_refuses(container), lambda: "no large status is refused in time")
        with_gate = {name: await _write(container, "attacker-a", text) for name, text in WRITES.items()}
        await ask_nobody(rig)
        await rig.apply(POLICY)
        await eventually(lambda: _the_policy_refuses(container), lambda: "the policy is not in force")
        with_policy = {name: await _write(container, "attacker-a", text) for name, text in WRITES.items()}
        await _remove_policy(rig)
        before = _memory_mib(operator)
        await eventually(lambda: _nobody_refuses(container), lambda: "the policy is still in force")
        stored = await _write(container, "attacker-a", DEEP)
        assert stored.status_code == 200, stored.text[:300]
    failed = await rig.ended("attacker", "Failed")
    await _succeeds(rig, "after-the-deep-one")
    mended = await rig.client.get(STEP_RUN, "attacker-a", FLOWS)
    await _hostile_step_runs(rig)
    await _succeeds(rig, "after-the-wide-ones")
    grown = _memory_mib(operator) - before
    await operator.kill()
    second = await rig.start_operator("second", "--leader-elect=false")
    await _works(second)
    await _succeeds(rig, "after-a-restart")

    for answers in (with_gate, with_policy):
        told = {name: answer.text[:300] for name, answer in answers.items()}
        assert {name: answer.status_code for name, answer in answers.items()} == EXPECTED, told
    assert "denied the request" in with_gate["deep"].text
    assert BY_POLICY in with_policy["deep"].text
    assert "cannot be read" in status_of(failed)["stepStates"]["a"]["message"]
    assert status_of(mended)["phase"] == "Failed"
    assert "output" not in status_of(mended)
    assert {condition["reason"] for condition in status_of(mended)["conditions"]} == {"Unreadable"}
    assert grown < MOST_GROWTH_MIB
    assert _memory_mib(second) - before < MOST_GROWTH_MIB
    print(f"grown by {grown:.0f} MiB; after a restart {_memory_mib(second) - before:.0f} MiB more than before")


MERGE: Final = {"content-type": "application/merge-patch+json"}


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
    """A client with the token that is mounted into the Pod of the run's step."""
    pods = (await rig.client.list(POD, FLOWS, label_selector=f"{keys.LABEL_JOB_NAME}={run}-a")).items
    account, pod = pods[0]["spec"]["serviceAccountName"], pods[0]["metadata"]["name"]
    token = await rig.plane.token_of(account, FLOWS, pod=pod)
    async with rig.plane.open_client() as client:
        client.headers["authorization"] = f"Bearer {token}"
        client.timeout = httpx.Timeout(60)
        yield client


async def _write(client: httpx.AsyncClient, name: str, status: str, *, dry_run: bool = False) -> httpx.Response:
    """The API server's answer to a write of the status. The body is sent as it is."""
    path = STEP_RUN.path(FLOWS, name, "status")
    asked = {"dryRun": "All"} if dry_run else {}
    return await client.patch(path, content=f'{{"status":{status}}}'.encode(), headers=MERGE, params=asked)


async def _admission_refuses(client: httpx.AsyncClient) -> bool:
    """Whether a large status is refused; nothing is stored.

    The first one starts the process that reads such statuses. On a busy machine this alone can take the two seconds
    that a review has; then the status would be stored.
    """
    return (await _write(client, "attacker-a", MANY, dry_run=True)).status_code == 422


async def _the_policy_refuses(client: httpx.AsyncClient) -> bool:
    """Whether the policy would refuse a status that is too deep.

    Nothing is stored: the step would fail, its run end, and the container lose its rights to write at all.
    """
    answer = await _write(client, "attacker-a", DEEP, dry_run=True)
    return answer.status_code == 422 and BY_POLICY in answer.text


async def _nobody_refuses(client: httpx.AsyncClient) -> bool:
    return (await _write(client, "attacker-a", DEEP, dry_run=True)).status_code == 200


async def _succeeds(rig: OperatorRig, name: str) -> None:
    await rig.run(name, "bystander")
    await rig.ended(name, "Succeeded")


async def _remove_policy(rig: OperatorRig) -> None:
    for resource in (BINDING, POLICY_KIND):
        await rig.client.delete(resource, "bobrapet-status-size")


async def _hostile_step_runs(rig: OperatorRig) -> None:
    """StepRuns that take much memory, and one more that is too deep."""
    async with rig.plane.open_client() as people:
        people.timeout = httpx.Timeout(60)
        for number, status in enumerate([WIDE] * HOSTILE + [DEEP]):
            spec = {"storyRunRef": {"name": "nobody"}, "stepId": "a", "engramRef": {"name": "nap"}}
            await rig.create(STEP_RUN, f"hostile-{number}", {"spec": spec})
            answer = await _write(people, f"hostile-{number}", status)
            assert answer.status_code == 200, answer.text[:300]


def _memory_mib(process: ServerProcess) -> float:
    """The peak memory of the process so far."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) / 1024
