"""A restore on a real API server: its garbage collector, and not a model of it, judges owners of an old cluster.

``tests/integration/test_operator_restore.py`` has the cases; here are those that the garbage collector decides.
"""

from __future__ import annotations

from pathlib import Path

from core.api.resource import STEP_RUN, STORY_RUN
from tests.e2e.control_plane.session import SessionCluster
from tests.integration.backup_tool import Backup, Owners, restore
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, open_on_real, status_of
from tests.integration.restore_scene import RESUME, Scene, reason_of, settled, under_way


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
