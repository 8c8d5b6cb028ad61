"""Unmodified Engrams in Go and Python find environment, volumes and token where every Pod has them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.api.resource import SECRET, STORY_RUN
from tests.e2e.control_plane.binaries import find_go
from tests.e2e.control_plane.session import SessionCluster
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    OperatorCluster,
    open_on_real,
    status_of,
    step,
    step_phases,
)

ENGRAMS = Path(__file__).parent / "engrams"
SECRET_PATH = "/etc/bubu/secrets/api"


@pytest.fixture
async def world(tmp_path: Path, furnished: SessionCluster) -> AsyncIterator[OperatorCluster]:
    if not can_mount():
        pytest.skip("volumes at a Pod's own paths need mount namespaces, which this system does not grant")
    async with open_on_real(tmp_path, furnished, isolate=True) as opened:
        yield opened


def can_mount() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    return (
        subprocess.run([unshare, "--mount", "--user", "--map-root-user", "true"], capture_output=True).returncode == 0
    )


@pytest.fixture(scope="session")
def go_greeter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = find_go()
    if go is None:
        pytest.skip("no Go to build the engram with")
    program = tmp_path_factory.mktemp("greeter") / "greeter"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    subprocess.run([go, "build", "-o", program, "."], cwd=ENGRAMS / "greeter", env=environment, check=True, timeout=300)
    return program


@pytest.fixture(params=["go", "python"])
def command(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "go":
        return [str(request.getfixturevalue("go_greeter"))]
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

    assert step_phases(run) == PHASES
    assert status_of(greet)["output"] == {
        "greeting": "hello world",
        "secretLength": len("s3cr3t"),
        "secretAt": SECRET_PATH,
        "namespace": NAMESPACE_NAME,
        "step": "greet",
        "account": "one-engram-runner",
        "executionMode": "batch",
    }
    assert status_of(again)["output"]["greeting"] == "hello hello world"
    assert status_of(nobody)["error"]["message"].endswith("inputs.name is missing")
    assert (status_of(nobody)["exitCode"], status_of(nobody)["exitClass"]) == (1, "terminal")


PHASES = {"greet": "Succeeded", "again": "Succeeded", "nobody": "Failed"}
