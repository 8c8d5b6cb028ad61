"""A cluster with runs that have ended and runs under way, which is lost: its backup is restored into a new one.

The containers append a line to a file of the test, which counts their executions in both clusters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.api.objects import Object, is_controlled_by
from core.api.resource import STEP_RUN, STORY_RUN, STORY_TRIGGER
from core.policy.settings import OperatorSettings, RestoredRuns
from tests.integration.backup_tool import KINDS, Backup, backup, restore
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    OperatorCluster,
    open_operator_cluster,
    status_of,
    step,
    step_phases,
)

USUAL = OperatorSettings()
RESUME = replace(USUAL, runs=replace(USUAL.runs, restored=RestoredRuns.RESUME))
CONTENT = tuple(kind for kind in KINDS if kind not in (STEP_RUN, STORY_RUN, STORY_TRIGGER))
"""The kinds whose status nothing depends on."""
ONE_RETRY = {"retry": {"maxRetries": 1, "delay": "1s", "jitter": 0}}
NO_RETRY = {"retry": {"maxRetries": 0}}


@dataclass
class Scene:
    """The old cluster, and what its containers have done."""

    directory: Path
    old: OperatorCluster

    @property
    def executions(self) -> Counter[str]:
        """How often each step of each run was executed, as ``RUN/STEP``."""
        lines = self._log.read_text().split() if self._log.exists() else []
        return Counter(lines)

    @property
    def _log(self) -> Path:
        return self.directory / "executions"

    @property
    def go(self) -> Path:
        """While it does not exist, ``held`` does not end."""
        return self.directory / "go"

    async def engrams(self, cluster: OperatorCluster) -> None:
        """``quick`` ends at once, ``held`` when ``go`` exists."""
        said = f'echo "$BUBU_STORYRUN_ID/$BUBU_STEP_NAME" >> {self._log}'
        images = {"quick": said, "held": f"{said}; until [ -e {self.go} ]; do sleep 0.02; done"}
        for name, script in images.items():
            if cluster is self.old:
                await cluster.engram(name, script)
            else:  # the backup has the definitions
                cluster.image(name, script)

    @asynccontextmanager
    async def another(self, saved: Backup, **how: Any) -> AsyncIterator[OperatorCluster]:
        """A new cluster with what was saved."""
        where = self.directory / "new"
        where.mkdir()
        async with open_operator_cluster(where, None) as cluster:
            await self.engrams(cluster)
            await restore(cluster.client, saved, **how)
            yield cluster


@asynccontextmanager
async def open_scene(directory: Path) -> AsyncIterator[Scene]:
    """The old cluster with its Engrams, and nothing else."""
    where = directory / "old"
    where.mkdir()
    async with open_operator_cluster(where, None) as old:
        scene = Scene(directory, old)
        await scene.engrams(old)
        yield scene


async def under_way(scene: Scene, execution: Object | None = None) -> Backup:
    """Run ``done`` has ended; of run ``half``, ``a`` has ended, ``b`` is at work, ``c`` waits."""
    await scene.old.story("short", step("a", "quick"))
    held = step("b", "held", needs=["a"], execution=execution or ONE_RETRY)
    await scene.old.story("long", step("a", "quick"), held, step("c", "quick", needs=["b"]))
    async with scene.old.operator():
        await scene.old.run("done", "short")
        await scene.old.run("half", "long")
        await scene.old.finished("done")
        await scene.old.step("half-b", "Running")
        await scene.old.until(STORY_RUN, "half", lambda run: step_phases(run) == {"a": "Succeeded", "b": "Running"})
        assert scene.executions == {"done/a": 1, "half/a": 1, "half/b": 1}
        return await backup(scene.old.client, NAMESPACE_NAME)


async def settled(cluster: OperatorCluster, name: str) -> Object:
    """The run, once the operator has ended it, and all that it has begun."""

    async def at_rest() -> bool:
        return all(status_of(one).get("finishedAt") for one in await step_runs(cluster, name))

    run = await cluster.finished(name)
    await cluster.eventually(at_rest)
    return run


async def step_runs(cluster: OperatorCluster, run: str) -> list[Object]:
    listed = (await cluster.client.list(STEP_RUN, NAMESPACE_NAME)).items
    return [one for one in listed if one["spec"]["storyRunRef"]["name"] == run]


def reason_of(run: Object) -> str:
    return str(next(each["reason"] for each in status_of(run)["conditions"] if each["type"] == "Ready"))


async def owned(cluster: OperatorCluster, run: Object) -> bool:
    found = await step_runs(cluster, run["metadata"]["name"])
    return all(is_controlled_by(one, run["metadata"]["uid"]) for one in found)
