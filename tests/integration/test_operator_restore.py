"""A cluster is lost, and a backup of it is restored into a new one: nothing runs twice.

The containers append a line to a file of the test, which counts their executions in both clusters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from core.api.objects import Object, is_controlled_by
from core.api.resource import EFFECT_CLAIM, JOB, STEP_RUN, STORY_RUN, STORY_TRIGGER
from core.policy.settings import OperatorSettings, RestoredRuns
from core.workloads.submission import claim_name, trigger_name
from tests.integration.backup_tool import KINDS, Backup, Owners, backup, restore
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


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    where = tmp_path / "old"
    where.mkdir()
    async with open_operator_cluster(where, None) as old:
        scene = Scene(tmp_path, old)
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


@pytest.mark.parametrize("owners", Owners)
async def test_with_its_status_an_ended_run_stays_and_one_under_way_ends_with_its_reason(
    scene: Scene, owners: Owners
) -> None:
    saved = await under_way(scene)
    before = scene.executions
    async with scene.another(saved, owners=owners) as new:
        restored = await new.client.get(STORY_RUN, "done", NAMESPACE_NAME)
        async with new.operator():
            half, done = await settled(new, "half"), await settled(new, "done")
            if owners is Owners.DROPPED:  # the garbage collector deletes what has an owner of the old cluster
                await new.eventually(lambda: owned(new, done))
            assert await new.names(JOB) == []
    assert status_of(done) == status_of(restored)
    assert (status_of(half)["phase"], reason_of(half)) == ("Failed", "Restored")
    assert "bobrapet resubmit half" in status_of(half)["message"]
    assert step_phases(half) == {"a": "Succeeded", "b": "Canceled"}
    assert scene.executions == before


async def test_a_person_may_continue_a_run_that_was_ended(scene: Scene) -> None:
    saved = await under_way(scene, NO_RETRY)
    scene.go.touch()
    async with scene.another(saved) as new, new.operator():
        await settled(new, "half")
        again = {"metadata": {"annotations": {"storyrun.bubustack.io/redrive-from-step": "b:checked"}}}
        await new.client.patch(STORY_RUN, "half", again, namespace=NAMESPACE_NAME)
        half = await new.until(STORY_RUN, "half", lambda run: status_of(run).get("phase") == "Succeeded")
    assert step_phases(half) == {"a": "Succeeded", "b": "Succeeded", "c": "Succeeded"}
    assert scene.executions == {"done/a": 1, "half/a": 1, "half/b": 2, "half/c": 1}


async def owned(cluster: OperatorCluster, run: Object) -> bool:
    found = await step_runs(cluster, run["metadata"]["name"])
    return all(is_controlled_by(one, run["metadata"]["uid"]) for one in found)


@pytest.mark.parametrize("owners", Owners)
@pytest.mark.parametrize("settings", [USUAL, RESUME], ids=["end", "resume"])
async def test_without_its_status_no_run_is_executed(scene: Scene, owners: Owners, settings: OperatorSettings) -> None:
    saved = await under_way(scene)
    before = scene.executions
    async with scene.another(saved, owners=owners, status_of=CONTENT) as new, new.operator(settings):
        half, done = await settled(new, "half"), await settled(new, "done")
        assert await new.names(JOB) == []
    assert {reason_of(half), reason_of(done)} == {"Restored"}
    assert "no status" in status_of(done)["message"]
    assert scene.executions == before


@pytest.mark.parametrize("owners", [Owners.DROPPED, Owners.MAPPED])
async def test_a_resumed_run_repeats_only_the_lost_attempt_that_its_policy_repeats(
    scene: Scene, owners: Owners
) -> None:
    saved = await under_way(scene)
    scene.go.touch()
    async with scene.another(saved, owners=owners, label=False) as new, new.operator(RESUME):
        half = await settled(new, "half")
        assert all([await owned(new, half), await owned(new, await new.finished("done"))])
    assert status_of(half)["phase"] == "Succeeded"
    assert scene.executions == {"done/a": 1, "half/a": 1, "half/b": 2, "half/c": 1}


async def test_a_lost_attempt_is_final_without_a_retry(scene: Scene) -> None:
    saved = await under_way(scene, NO_RETRY)
    before = scene.executions
    async with scene.another(saved) as new, new.operator(RESUME):
        half = await settled(new, "half")
    assert status_of(half)["phase"] == "Failed"
    assert status_of(half)["stepStates"]["b"]["phase"] == "Failed"
    assert "when the backup was made" in status_of(half)["stepStates"]["b"]["message"]
    assert scene.executions == before


async def test_what_the_backup_lacks_of_a_resumed_run_is_not_executed_again(scene: Scene) -> None:
    """The backup tool has read the StepRuns before the last of them existed, and the run afterwards."""
    saved = await under_way(scene)
    before = scene.executions
    scene.go.touch()
    saved[STEP_RUN] = [one for one in saved[STEP_RUN] if one["metadata"]["name"] != "half-b"]
    async with scene.another(saved) as new, new.operator(RESUME):
        half = await settled(new, "half")
    assert status_of(half)["stepStates"]["b"]["reason"] == "Restored"
    assert scene.executions == before


async def test_a_step_run_that_is_newer_than_its_run_counts(scene: Scene) -> None:
    """The backup tool has read the run before its step ended, and the StepRuns afterwards."""
    saved = await under_way(scene)
    [half] = [one for one in saved[STORY_RUN] if one["metadata"]["name"] == "half"]
    del half["status"]["stepStates"]["b"]
    scene.go.touch()
    async with scene.another(saved) as new, new.operator(RESUME):
        run = await settled(new, "half")
    assert status_of(run)["phase"] == "Succeeded"
    assert scene.executions["half/a"] == 1
    assert scene.executions["half/b"] == 2


@pytest.mark.parametrize("owners", [Owners.DROPPED, Owners.MAPPED])
async def test_an_effect_that_has_happened_stays_recorded(scene: Scene, owners: Owners) -> None:
    """The claim names its StepRun by UID, and a claim of another StepRun would be deleted."""
    saved = await under_way(scene)
    [step_run] = [one for one in saved[STEP_RUN] if one["metadata"]["name"] == "half-b"]
    owner = {key: step_run[key] for key in ("apiVersion", "kind")}
    owner |= {key: step_run["metadata"][key] for key in ("name", "uid")}
    at = "2026-01-01T10:00:00.000000Z"
    name = claim_name(NAMESPACE_NAME, "half-b", "card")
    spec = {
        "stepRunRef": {"name": "half-b", "uid": step_run["metadata"]["uid"]},
        "effectKey": "card",
        "holderIdentity": "pod-1:5f0c",
        "acquireTime": at,
        "renewTime": at,
        "leaseDurationSeconds": 60,
        "completionStatus": "completed",
        "completedAt": at,
    }
    saved[EFFECT_CLAIM] = [await scene.old.create(EFFECT_CLAIM, name, spec, ownerReferences=[owner])]
    async with scene.another(saved, owners=owners) as new, new.operator():
        await settled(new, "half")
        now = await new.client.get(STEP_RUN, "half-b", NAMESPACE_NAME)
        uid = now["metadata"]["uid"]
        claim = await new.until(EFFECT_CLAIM, name, lambda claim: claim["spec"]["stepRunRef"]["uid"] == uid)
        await new.until(EFFECT_CLAIM, name, lambda claim: status_of(claim).get("phase") == "Completed")
    assert claim["spec"]["completionStatus"] == "completed"


async def test_a_child_run_continues_with_its_parent(scene: Scene) -> None:
    await scene.old.story("inner", step("b", "held", execution=ONE_RETRY))
    call = {"name": "call", "type": "executeStory", "with": {"storyRef": {"name": "inner"}}}
    await scene.old.story("outer", call, step("c", "quick", needs=["call"]))
    async with scene.old.operator():
        await scene.old.run("top", "outer")
        await scene.old.step("top-call-b", "Running")
        await scene.old.until(STORY_RUN, "top", lambda run: step_phases(run) == {"call": "Running"})
        saved = await backup(scene.old.client, NAMESPACE_NAME)
    scene.go.touch()
    async with scene.another(saved) as new, new.operator(RESUME):
        top = await settled(new, "top")
    assert status_of(top)["phase"] == "Succeeded"
    assert scene.executions == {"top-call/b": 2, "top/c": 1}


async def requested(scene: Scene) -> tuple[Backup, str]:
    """A StoryTrigger that has started its run, which has ended."""
    await scene.old.story("short", step("a", "quick"))
    name = trigger_name(NAMESPACE_NAME, "short", "event-1")
    async with scene.old.operator():
        spec = {"storyRef": {"name": "short"}, "deliveryIdentity": {"submissionId": "event-1"}, "inputs": {}}
        await scene.old.create(STORY_TRIGGER, name, spec)
        answered = await scene.old.until(STORY_TRIGGER, name, lambda one: status_of(one).get("decision") == "Created")
        await scene.old.finished(status_of(answered)["storyRunRef"]["name"])
        return await backup(scene.old.client, NAMESPACE_NAME), name


@pytest.mark.parametrize(
    ("with_status", "with_run", "decision", "reason"),
    [
        (True, False, "Created", "StoryRunCreated"),
        (False, True, "Reused", "StoryRunReused"),
        (False, False, "Rejected", "Restored"),
    ],
)
async def test_a_restored_request_does_not_start_its_run_again(
    scene: Scene, with_status: bool, with_run: bool, decision: str, reason: str
) -> None:
    saved, name = await requested(scene)
    if not with_run:
        saved[STORY_RUN], saved[STEP_RUN] = [], []
    kinds = KINDS if with_status else tuple(kind for kind in KINDS if kind is not STORY_TRIGGER)
    async with scene.another(saved, status_of=kinds) as new, new.operator():
        answered = await new.until(STORY_TRIGGER, name, lambda one: status_of(one).get("decision") == decision)
        await new.client.get(STORY_TRIGGER, name, NAMESPACE_NAME)
        assert len(await new.names(STORY_RUN)) == with_run
    assert status_of(answered)["reason"] == reason
    assert scene.executions.total() == 1
