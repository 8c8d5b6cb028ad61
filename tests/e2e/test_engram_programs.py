"""Engrams in Go and Python, an Impulse in Go, and a program without an SDK find environment, volumes and token where
every Pod has them, or has none.

The Go programs use no library: they do what the Go SDK does, request by request.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from bubu_contract.submission import story_run_name
from core.api.resource import IMPULSE, POD, SECRET, SERVICE_ACCOUNT, STORY_RUN, STORY_TRIGGER
from core.workloads.story_runner import SELECTOR
from reconcilers.definition import COUNT_DELAY
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    OperatorCluster,
    open_on_real,
    status_of,
    step,
    step_phases,
)
from tools.control_plane.session import SessionCluster

ENGRAMS = Path(__file__).parent / "engrams"
SECRET_PATH = "/etc/bubu/secrets/api"


@pytest.fixture
async def world(tmp_path: Path, furnished: SessionCluster, mounts: None) -> AsyncIterator[OperatorCluster]:
    async with open_on_real(tmp_path, furnished, isolate=True) as opened:
        yield opened


@pytest.fixture(params=["go", "python"])
def command(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "go":
        return [str(request.getfixturevalue("go_programs") / "greeter")]
    return [sys.executable, str(ENGRAMS / "greeter.py")]


async def test_a_program_greets_by_what_every_pod_is_given(world: OperatorCluster, command: list[str]) -> None:
    schema = {"api": {"mountType": "file", "expectedKeys": ["token"]}}
    await world.engram("greeter", command=command, secretSchema=schema, engram={"secrets": {"api": "keys"}})
    await world.create(SECRET, "keys", {"token": "s3cr3t"})
    await world.story(
        "greetings",
        step("greet", "greeter", **{"with": {"name": "{{ inputs.who }}"}}),
        step("again", "greeter", **{"with": {"name": "{{ steps.greet.output.greeting }}"}}),
        step("nobody", "greeter", allowFailure=True),
    )
    async with world.operator():
        await world.create(STORY_RUN, "one", {"storyRef": {"name": "greetings"}, "inputs": {"who": "world"}})
        run = await world.finished("one")
        greet, again, nobody = [await world.step(f"one-{name}", phase) for name, phase in PHASES.items()]
        [account] = (await world.client.list(SERVICE_ACCOUNT, NAMESPACE_NAME, label_selector=SELECTOR)).items

    assert step_phases(run) == PHASES
    assert status_of(greet)["output"] == {
        "greeting": "hello world",
        "secretLength": len("s3cr3t"),
        "secretAt": SECRET_PATH,
        "namespace": NAMESPACE_NAME,
        "step": "greet",
        "account": account["metadata"]["name"],
        "executionMode": "batch",
    }
    assert status_of(again)["output"]["greeting"] == "hello hello world"
    assert status_of(nobody)["error"]["message"].endswith("inputs.name is missing")
    assert (status_of(nobody)["exitCode"], status_of(nobody)["exitClass"]) == (1, "terminal")


PHASES = {"greet": "Succeeded", "again": "Succeeded", "nobody": "Failed"}


async def test_a_program_without_an_sdk_finds_its_inputs_and_its_secret_and_no_token(world: OperatorCluster) -> None:
    """The file of the inputs is alone at its path: what the image has in the folder stays."""
    script = """
    ls /etc/hostname >/dev/null; test -w /etc/inputs.json && exit 3
    test -e /var/run/secrets/kubernetes.io/serviceaccount/token && exit 4
    test "$(cat /etc/bubu/secrets/api/token)" = s3cr3t || exit 5
    test "$BUBU_INPUTS" = /etc/inputs.json && cat "$BUBU_INPUTS" > /dev/shm/bubu-result.json
    """
    container = {
        "command": ["/bin/sh", "-ec", script],
        "inputsFile": "/etc/inputs.json",
        "result": {"from": "file", "path": "/dev/shm/bubu-result.json", "format": "json"},
    }
    schema = {"api": {"mountType": "file", "expectedKeys": ["token"]}}
    await world.engram("tool", container=container, secretSchema=schema, engram={"secrets": {"api": "keys"}})
    await world.create(SECRET, "keys", {"token": "s3cr3t"})
    await world.story("report", step("work", "tool", **{"with": {"name": "{{ inputs.who }}"}}))
    async with world.operator():
        await world.create(STORY_RUN, "one", {"storyRef": {"name": "report"}, "inputs": {"who": "$(id)"}})
        await world.finished("one")
        done = status_of(await world.step("one-work", "Succeeded"))

    assert done["output"] == {"name": "$(id)"}


async def test_an_impulse_in_go_starts_each_event_once_and_its_counters_are_right(
    world: OperatorCluster, go_programs: Path
) -> None:
    """The second event is delivered twice. The program adds to the counters, too, and it adds wrongly."""
    events = [
        {"token": "Order 1", "inputs": {"b": 1, "a": {"url": "https://x.test/?a=1&b=<2>"}}},
        {"token": "Order 2", "inputs": {"n": 1.5}},
        {"token": "Order 2", "inputs": {"n": 1.5}},
    ]
    await world.story("report", {"name": "nothing", "type": "condition"})
    async with world.operator():
        await world.impulse(
            "hook",
            f"exec {go_programs / 'starter'}",
            deliveryPolicy={"dedupe": {"mode": "token"}},
            **{"with": {"events": events}},
        )
        await world.until(IMPULSE, "hook", lambda obj: status_of(obj).get("storiesLaunched", 0) >= 2, seconds=60)
        runs = [await world.finished(name) for name in RUNS_OF_ORDERS]
        await trio.sleep(2 * COUNT_DELAY.total_seconds())
        impulse = await world.client.get(IMPULSE, "hook", NAMESPACE_NAME)
        triggers = (await world.client.list(STORY_TRIGGER, NAMESPACE_NAME)).items
        [pod] = (await world.client.list(POD, NAMESPACE_NAME)).items
        found = await world.names(STORY_RUN)

    assert status_of(pod)["containerStatuses"][0]["restartCount"] == 0, "the repeated delivery was no error"
    assert found == sorted(RUNS_OF_ORDERS)
    assert {status_of(run)["phase"] for run in runs} == {"Succeeded"}
    assert [status_of(trigger)["decision"] for trigger in triggers] == ["Created", "Created"]
    counters = status_of(impulse)
    assert (counters["triggersReceived"], counters["storiesLaunched"], counters["failedTriggers"]) == (2, 2, 0)


RUNS_OF_ORDERS = tuple(story_run_name(NAMESPACE_NAME, "report", key) for key in ("Order 1", "Order 2"))
