"""A restore on a real API server: its garbage collector, and not a model of it, judges owners of an old cluster.

``tests/integration/test_operator_restore.py`` has the cases; here are those that the garbage collector decides.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import trio

from core.api.resource import JOB, STEP_RUN, STORY_RUN
from tests.integration.backup_tool import Backup, Owners, restore
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, open_on_real, status_of
from tests.integration.restore_scene import RESUME, Scene, reason_of, settled, under_way
from tools.control_plane.session import SessionCluster

PAGE = Path(__file__).parents[2] / "docs/backup-and-restore.md"


async def test_the_garbage_collector_takes_what_has_old_owners_and_nothing_runs_twice(
    furnished: SessionCluster, tmp_path: Path
) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    async with open_on_real(tmp_path / "old", furnished) as old:
        scene = Scene(tmp_path, old)
        await scene.engrams(old)
        saved = await under_way(scene)
        before = scene.executions
    async with open_on_real(tmp_path / "new", furnished) as new:
        await scene.engrams(new)
        await with_old_owners(scene, new, saved)
        assert scene.executions == before
        await without_owners(new, {kind: saved[kind] for kind in (STEP_RUN, STORY_RUN)})
        assert scene.executions == before


async def test_the_commands_of_the_page_restore_runs_that_are_not_repeated(
    furnished: SessionCluster, tmp_path: Path
) -> None:
    saving, restoring = re.findall(r"```text\n(.*?)```", PAGE.read_text().partition("## With kubectl")[2], re.DOTALL)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    async with open_on_real(tmp_path / "old", furnished) as old:
        scene = Scene(tmp_path, old)
        await scene.engrams(old)
        await under_way(scene)
        ended = status_of(await old.client.get(STORY_RUN, "done", NAMESPACE_NAME))
        before = scene.executions
        await shell(furnished, tmp_path, saving)
    async with open_on_real(tmp_path / "new", furnished) as new:
        await scene.engrams(new)
        await shell(furnished, tmp_path, f"{saving.splitlines()[0]}\n{restoring}")
        restored = status_of(await new.client.get(STORY_RUN, "done", NAMESPACE_NAME))
        async with new.operator():
            half, done = await settled(new, "half"), await settled(new, "done")
        assert await new.names(JOB) == []
        assert await new.names(STEP_RUN) == ["done-a", "half-a", "half-b"]
    assert restored == ended
    assert (status_of(done)["phase"], reason_of(half)) == ("Succeeded", "Restored")
    assert scene.executions == before


async def shell(real: SessionCluster, directory: Path, commands: str) -> None:
    """Type the commands of the page. For a kind without objects kubectl fails, as the page says."""
    path = f"{real.kubectl.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "KUBECONFIG": str(real.kubeconfig), "PATH": path}
    done = await trio.run_process(
        ["bash", "-uc", commands],
        cwd=directory,
        env=environment,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
    )
    said = [line for line in done.stdout.decode().splitlines() if " no objects passed" not in line]
    assert all(line.endswith((" created", " replaced")) for line in said), said


async def with_old_owners(scene: Scene, new: OperatorCluster, saved: Backup) -> None:
    """The StepRuns do not live to see the operator, which does not repeat what they have done."""
    await restore(new.client, saved, owners=Owners.KEPT)
    await new.none_left(STEP_RUN)
    scene.go.touch()
    async with new.operator(RESUME):
        half, done = await settled(new, "half"), await settled(new, "done")
    assert status_of(done)["phase"] == "Succeeded"
    assert status_of(half)["stepStates"]["a"]["phase"] == "Succeeded"
    assert status_of(half)["stepStates"]["b"]["reason"] == "Restored"
    for name in ("half", "done"):
        await new.client.delete(STORY_RUN, name, NAMESPACE_NAME)
        await new.gone(STORY_RUN, name)


async def without_owners(new: OperatorCluster, saved: Backup) -> None:
    """The StepRuns belong to their run again: they go with it."""
    await restore(new.client, saved)
    async with new.operator():
        half = await settled(new, "half")
    assert reason_of(half) == "Restored"
    assert sorted(await new.names(STEP_RUN)) == ["done-a", "half-a", "half-b"]
    await new.client.delete(STORY_RUN, "half", NAMESPACE_NAME)
    await new.gone(STEP_RUN, "half-a")
    await new.gone(STEP_RUN, "half-b")
    assert await new.names(STEP_RUN) == ["done-a"]
