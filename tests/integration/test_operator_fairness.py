"""The requests of one tenant do not delay another. Without turns, each of these attacks did."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.api.objects import Object
from core.api.resource import ENGRAM, NAMESPACE, STEP_RUN, STORY, STORY_RUN, Resource
from core.policy.settings import OperatorSettings, TemplatingSettings
from tests.integration.operator_cluster import OperatorCluster, eventually, open_operator_cluster, status_of, step

SETTINGS = OperatorSettings(templating=TemplatingSettings(worker_timeout=timedelta(seconds=1)))
DOUBLING = {
    "$ref": "#/definitions/d0",
    "definitions": {
        **{f"d{number}": {"allOf": [{"$ref": f"#/definitions/d{number + 1}"}] * 2} for number in range(26)},
        "d26": {"type": "object"},
    },
}
MANY_MATCHES = '{{ gt (len (regexFindAll "." (repeat 5200 "abcdefghij") -1)) 0 }}'
NOISY = "noisy"


class Tenant:
    """Another namespace, beside the one of the suite."""

    def __init__(self, world: OperatorCluster) -> None:
        self._world = world

    async def opens(self) -> None:
        await self._world.client.create(NAMESPACE, {"metadata": {"name": NOISY}})
        await self.create(ENGRAM, "noop", {"version": "1.0.0", "templateRef": {"name": "noop"}})

    async def create(self, resource: Resource, name: str, spec: Object) -> None:
        manifest = {"apiVersion": resource.api_version, "kind": resource.kind, "spec": spec}
        await self._world.client.create(resource, {**manifest, "metadata": {"name": name, "namespace": NOISY}})

    async def story(self, name: str, *steps: Object, **spec: Any) -> None:
        await self.create(STORY, name, {"pattern": "batch", "steps": list(steps), **spec})

    async def runs(self, story: str, count: int) -> None:
        for number in range(count):
            await self.create(STORY_RUN, f"{story}-{number}", {"storyRef": {"name": story}})

    async def all(self, resource: Resource) -> list[Object]:
        return (await self._world.client.list(resource, NOISY)).items

    async def ended(self) -> int:
        return sum(bool(status_of(run).get("finishedAt")) for run in await self.all(STORY_RUN))

    async def waiting(self) -> list[str]:
        """The messages of its runs while they wait."""
        words = []
        for run in await self.all(STORY_RUN):
            states = (status_of(run).get("stepStates") or {}).values()
            words += [status_of(run).get("message", ""), *(state.get("message", "") for state in states)]
        return [text for text in words if "for its turn to be evaluated" in text]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[OperatorCluster]:
    """An embedded cluster, because the operator does the sharing, whatever server it uses."""
    async with open_operator_cluster(tmp_path, None) as running:
        yield running


@pytest.fixture
async def noisy(world: OperatorCluster) -> Tenant:
    await world.engram("noop")
    tenant = Tenant(world)
    await tenant.opens()
    return tenant


async def _step_run_of(world: OperatorCluster, run: str) -> None:
    async def begun() -> bool:
        return any(name.startswith(run) for name in await world.names(STEP_RUN))

    await world.eventually(begun, seconds=40)


async def test_schemas_of_one_tenant_do_not_hold_up_another(world: OperatorCluster, noisy: Tenant) -> None:
    await noisy.story("doubling", step("a", "noop"), inputsSchema=DOUBLING)
    await world.story("quiet", step("a", "noop"), inputsSchema={"properties": {"n": {"pattern": r"^\p{L}+$"}}})
    async with world.operator(SETTINGS) as traffic:
        await noisy.runs("doubling", 8)
        await eventually(lambda: _some(noisy.waiting()))
        await world.run("quiet", "quiet")
        await _step_run_of(world, "quiet")

        assert await noisy.ended() <= 3  # first come, first served would end all eight before
        assert (await noisy.waiting())[0].startswith("Waiting since 2")
        # Each of the eight may say once that it waits, and once how it ended.
        assert traffic.writes["PATCH storyruns/status"] <= 3 * 9


async def test_conditions_of_one_tenant_do_not_keep_stories_of_another_from_being_read(
    world: OperatorCluster, noisy: Tenant
) -> None:
    conditions = [{"name": f"c{number}", "type": "condition", "if": MANY_MATCHES} for number in range(8)]
    await noisy.story("matching", *conditions)
    long = {"text": "{{ inputs.x }}" + "y" * 4_096}
    await world.story("quiet", step("a", "noop", **{"if": "{{ not false }}"}), step("b", "noop", **{"with": long}))
    async with world.operator(SETTINGS):
        await noisy.runs("matching", 8)
        await eventually(lambda: _some(noisy.waiting()))
        await world.run("quiet", "quiet")
        await _step_run_of(world, "quiet")

        assert await noisy.ended() <= 3


async def test_a_flood_of_runs_of_one_tenant_lets_another_begin(world: OperatorCluster, noisy: Tenant) -> None:
    await noisy.story("flood", step("a", "noop"))
    await world.story("quiet", step("a", "noop"))
    await noisy.runs("flood", 120)
    async with world.operator(replace(SETTINGS)):
        await world.run("quiet", "quiet")
        await _step_run_of(world, "quiet")

        assert len(await noisy.all(STEP_RUN)) < 60


async def _some(words: Any) -> bool:
    return bool(await words)
