"""Containers on the unmodified Go SDK, in the two versions that are in use, on a real kube-apiserver."""

from __future__ import annotations

from pathlib import Path

import pytest

from bubu_contract.submission import story_run_name
from core.api.resource import IMPULSE, STEP_RUN, STORY_RUN
from tests.e2e.go_sdk_rig import LINE, NEW, OLD, VERSIONS, GoStream
from tests.e2e.stream_rig import open_real_rig
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    open_on_real,
    status_of,
    step,
    step_phases,
)
from tools.control_plane.session import SessionCluster

MESSAGES = 200


@pytest.mark.parametrize("version", VERSIONS)
async def test_jobs_give_outputs_an_effect_comes_once_and_an_impulse_starts_a_run(
    tmp_path: Path, furnished: SessionCluster, mounts: None, go_engrams: dict[str, Path], version: str
) -> None:
    """The container dies after its effect, before it has said so; the next attempt does not repeat the effect."""
    program, charges = go_engrams[version], tmp_path / "charges"
    async with open_on_real(tmp_path, furnished, isolate=True) as world:
        await world.engram("batch", command=[str(program), "batch"])
        await world.engram("effect", command=[str(program), "effect", str(charges)])
        await world.story(
            "report",
            step("first", "batch", **{"with": {"number": "{{ inputs.number }}"}}),
            step("second", "batch", **{"with": {"number": "{{ steps.first.output.double }}"}}),
            step("charge", "effect", execution={"retry": {"maxRetries": 1, "delay": "100ms", "jitter": 0}}),
        )
        async with world.operator():
            await world.impulse(
                "hook",
                f"exec {program} impulse",
                deliveryPolicy={"dedupe": {"mode": "token"}},
                **{"with": {"events": [EVENT, EVENT]}},
            )
            run = await world.finished(NAME)
            assert step_phases(run) == dict.fromkeys(STEPS, "Succeeded"), status_of(run)
            second, charge = [
                status_of(await world.client.get(STEP_RUN, f"{NAME}-{name}", NAMESPACE_NAME))
                for name in ("second", "charge")
            ]
            await world.until(IMPULSE, "hook", lambda hook: status_of(hook).get("storiesLaunched") == 1)
            runs = await world.names(STORY_RUN)

    assert second["output"] == {"half": 3, "double": 12}
    assert charge["output"] == {"already": True}
    assert charges.read_text() == "charged\n"
    assert runs == [NAME], "the second delivery of the event has started nothing"


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_impulse_writes_to_itself_with_the_rights_that_it_asks_for(
    tmp_path: Path, furnished: SessionCluster, mounts: None, go_engrams: dict[str, Path], version: str
) -> None:
    """The container is refused the write without the rule, and ends."""
    rule = {"apiGroups": [IMPULSE.group], "resources": ["impulses"], "resourceNames": ["hook"], "verbs": ["patch"]}
    async with open_on_real(tmp_path, furnished, isolate=True) as world:
        await world.engram("batch", command=[str(go_engrams[version]), "batch"])
        await world.story("report", step("first", "batch"))
        async with world.operator():
            script = f"exec {go_engrams[version]} register"
            await world.impulse("hook", script, execution={"rbac": {"rules": [rule]}})
            await world.until(
                IMPULSE, "hook", lambda hook: "people.example/listens" in hook["metadata"].get("annotations", {})
            )


STEPS = ("charge", "first", "second")
EVENT = {"token": "order-1", "inputs": {"number": 3}}
NAME = story_run_name(NAMESPACE_NAME, "report", "order-1")


async def test_a_finite_stream_by_tls_arrives_once_and_its_run_succeeds(
    tmp_path: Path, steerable: SessionCluster, mounts: None, go_engrams: dict[str, Path]
) -> None:
    async with open_real_rig(tmp_path, steerable, tls=True) as rig:
        mixed = [
            GoStream(rig, "old-new", MESSAGES, versions=dict(zip(LINE, (OLD, NEW, OLD), strict=True))),
            GoStream(rig, "new-old", MESSAGES, versions=dict(zip(LINE, (NEW, OLD, NEW), strict=True))),
        ]
        for stream in mixed:
            await stream.apply()
        for stream in mixed:
            status = await rig.ended(stream.name)
            assert status["phase"] == "Succeeded", status
            assert step_phases({"status": status}) == dict.fromkeys(LINE, "Succeeded")
            assert stream.faults() == (0, 0)
