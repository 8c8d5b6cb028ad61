"""A cluster is lost, and a backup of it is restored into a new one: nothing runs twice.

The containers append a line to a file of the test, which counts their executions in both clusters.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bubu_contract.submission import claim_name, trigger_name
from core.api.resource import EFFECT_CLAIM, JOB, STEP_RUN, STORY_RUN, STORY_TRIGGER
from core.policy.settings import OperatorSettings
from tests.integration.backup_tool import KINDS, Backup, Owners, backup
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    status_of,
    step,
    step_phases,
)
from tests.integration.restore_scene import (
    CONTENT,
    NO_RETRY,
    ONE_RETRY,
    RESUME,
    USUAL,
    Scene,
    open_scene,
    owned,
    reason_of,
    settled,
    under_way,
)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as opened:
        yield opened


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
