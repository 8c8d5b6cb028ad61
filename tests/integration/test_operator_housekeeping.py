"""The work of the StoryRun controller around the engine, on a server that stores."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from core.api.keys import FINALIZER_STORY_RUN
from core.api.objects import NamespacedName, Object
from core.api.resource import STEP_RUN, STORY, STORY_RUN
from core.engine.errors import StaleError
from core.kube.errors import NotFoundError
from core.policy.settings import StorageProvider, StorageSettings
from reconcilers.adapters.world import World
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After, Done, Outcome
from reconcilers.storyrun import StoryRunReconciler
from tests.integration.adapter_world import AdapterWorld
from tests.integration.operator_cluster import NAMESPACE_NAME
from tests.unit.reconcilers.reconciler_samples import NOW, RecordingSupervisor, clock

_STORY = STORY
HOLD = "tests.example/hold"
WITH_STORE = StorageSettings(StorageProvider.FILE, file_path="/volume", file_volume_claim_name="payloads")


class Controller:
    """The reconciler, and the supervisor to which it hands runs."""

    def __init__(self, there: AdapterWorld) -> None:
        self._there = there
        self.supervisor = RecordingSupervisor()

    async def reconcile(self, name: str = "one", *, now: datetime = NOW) -> Outcome:
        there = self._there
        reconciler = StoryRunReconciler(there.wired, there.world, self.supervisor, clock(now), lambda: there.settings)
        return await reconciler.reconcile(Key(NAMESPACE_NAME, name))


async def finished(
    there: AdapterWorld,
    *,
    job: Object | None = None,
    cleaned: bool = False,
    phase: str = "Succeeded",
    at_work: tuple[str, ...] = (),
) -> Object:
    """A run that ended at ``NOW``, with two StepRuns; ``at_work`` lists the unfinished ones.

    ``job`` is its Story's policy.
    """
    run, _ = await there.definitions()
    if job:
        policy = {"spec": {"policy": {"execution": {"job": job}}}}
        patched = await there.client.patch(STORY, "report", policy, namespace=NAMESPACE_NAME)
        await there.known(there.world.stories, "report", _at(patched))
    for step in ("a", "b"):
        await child(there, run, f"one-{step}")
        if step not in at_work:
            await end(there, f"one-{step}")
    status: Object = {"phase": phase, "finishedAt": "2025-01-02T03:04:05Z"}
    if cleaned:
        status["childrenCleanedAt"] = "2025-01-02T04:04:05Z"
    stored = await there.client.patch(
        STORY_RUN, "one", {"status": status}, namespace=NAMESPACE_NAME, subresource="status"
    )
    await there.known(there.world.story_runs, "one", _at(stored))
    return stored


async def child(there: AdapterWorld, run: Object, name: str, **metadata: Any) -> Object:
    metadata = {"ownerReferences": [_owner(run)], **metadata}
    stored = await there.create(STEP_RUN, name, {"storyRunRef": {"name": "one"}, "stepId": "x"}, **metadata)
    await there.known(there.world.step_runs, name, _at(stored))
    return stored


async def end(there: AdapterWorld, step_run: str) -> None:
    stored = await there.client.patch(
        STEP_RUN, step_run, {"status": {"phase": "Succeeded"}}, namespace=NAMESPACE_NAME, subresource="status"
    )
    await there.known(there.world.step_runs, step_run, _at(stored))


async def hold(there: AdapterWorld, name: str) -> None:
    """Give a run the finalizer."""
    patch = {"metadata": {"finalizers": [FINALIZER_STORY_RUN]}}
    stored = await there.client.patch(STORY_RUN, name, patch, namespace=NAMESPACE_NAME)
    await there.known(there.world.story_runs, name, _at(stored))


def _owner(run: Object) -> Object:
    metadata = run["metadata"]
    reference = {"apiVersion": STORY_RUN.api_version, "kind": STORY_RUN.kind, "name": metadata["name"]}
    return {**reference, "uid": metadata["uid"], "controller": True}


def _at(stored: Object) -> Any:
    """Accepts an object that has at least that version."""
    version = int(stored["metadata"]["resourceVersion"])
    return lambda obj: obj is not None and int(obj["metadata"]["resourceVersion"]) >= version


async def left(there: AdapterWorld, resource: Any = STEP_RUN) -> list[str]:
    return sorted(obj["metadata"]["name"] for obj in (await there.client.list(resource, NAMESPACE_NAME)).items)


async def test_a_live_run_is_marked_in_one_write_and_handed_over(there: AdapterWorld) -> None:
    run, _ = await there.definitions()
    there.settings = replace(there.settings, storage=WITH_STORE)
    await there.known(there.world.story_runs, "one")
    await there.known(there.world.stories, "report")
    controller = Controller(there)
    assert await controller.reconcile() == Done()
    assert await controller.reconcile() == Done()
    assert there.wire.writes == ["PATCH one"]
    assert controller.supervisor.adopted == [NamespacedName(NAMESPACE_NAME, "one")] * 2
    marked = await there.client.get(STORY_RUN, "one", NAMESPACE_NAME)
    assert marked["metadata"]["finalizers"] == ["storyrun.bubustack.io/finalizer"]
    assert marked["metadata"]["labels"]["bubustack.io/queue"] == "default"
    assert marked["spec"] == run["spec"]


async def test_a_live_run_without_an_object_store_is_handed_over_without_a_write(there: AdapterWorld) -> None:
    await there.definitions()
    await there.known(there.world.story_runs, "one")
    await there.known(there.world.stories, "report")
    controller = Controller(there)
    assert await controller.reconcile() == Done()
    assert (controller.supervisor.adopted, there.wire.writes) == ([NamespacedName(NAMESPACE_NAME, "one")], [])


async def test_a_run_that_is_gone_needs_nothing(there: AdapterWorld) -> None:
    controller = Controller(there)
    assert await controller.reconcile() == Done()
    assert (controller.supervisor.adopted, there.wire.writes) == ([], [])


async def test_a_deleted_run_is_let_go_when_its_children_are_gone(there: AdapterWorld) -> None:
    """Earlier versions gave each run the finalizer."""
    run, _ = await there.definitions()
    await hold(there, "one")
    controller = Controller(there)
    held = await child(there, run, "one-held", finalizers=[HOLD])
    await child(there, run, "one-a")
    stranger = await there.create(STORY_RUN, "other", {"storyRef": {"name": "report"}})
    await child(there, stranger, "foreign", labels={"bubustack.io/storyrun": "one"})
    nested = await there.create(STORY_RUN, "sub", {"storyRef": {"name": "report"}}, ownerReferences=[_owner(run)])
    await there.known(there.world.story_runs, "sub", _at(nested))
    await there.client.delete(STORY_RUN, "one", NAMESPACE_NAME)
    await there.known(there.world.story_runs, "one", lambda obj: obj["metadata"].get("deletionTimestamp"))
    assert isinstance(await controller.reconcile(), After)
    assert await left(there) == ["foreign", "one-held"]
    assert await left(there, STORY_RUN) == ["one", "other"]
    await there.known(there.world.step_runs, "one-held", lambda obj: obj["metadata"].get("deletionTimestamp"))
    writes = len(there.wire.writes)
    assert isinstance(await controller.reconcile(), After)
    assert len(there.wire.writes) == writes
    await there.client.patch(
        STEP_RUN, held["metadata"]["name"], {"metadata": {"finalizers": None}}, namespace=NAMESPACE_NAME
    )
    await there.known(there.world.step_runs, "one-held", lambda obj: obj is None)
    assert await controller.reconcile() == Done()
    with pytest.raises(NotFoundError):
        await there.client.get(STORY_RUN, "one", NAMESPACE_NAME)
    assert await left(there) == ["foreign"]


@pytest.mark.parametrize("gone", [False, True], ids=["of a run", "of a run that is gone"])
async def test_a_finalizer_of_the_reference_does_not_hold_a_step_run(there: AdapterWorld, gone: bool) -> None:
    run, _ = await there.definitions()
    await there.known(there.world.story_runs, "one")
    await child(there, run, "one-a", finalizers=["steprun.bubustack.io/finalizer"])
    if gone:
        await there.client.delete(STORY_RUN, "one", NAMESPACE_NAME)
        await there.known(there.world.story_runs, "one", lambda obj: obj is None)
    await there.client.delete(STEP_RUN, "one-a", NAMESPACE_NAME)
    await there.known(there.world.step_runs, "one-a", lambda obj: obj["metadata"].get("deletionTimestamp"))
    await Controller(there).reconcile()
    assert await left(there) == []


async def test_children_go_after_their_time_and_that_is_noted_once(there: AdapterWorld) -> None:
    await finished(there)
    controller = Controller(there)
    early = await controller.reconcile(now=NOW + timedelta(seconds=3599))
    assert early == After(timedelta(seconds=0.4))
    assert there.wire.writes == []
    assert await controller.reconcile(now=NOW + timedelta(seconds=3600)) == After(timedelta())
    assert await left(there) == []
    assert sorted(there.wire.writes) == ["DELETE one-a", "DELETE one-b", "PATCH status"]
    run = await there.client.get(STORY_RUN, "one", NAMESPACE_NAME)
    assert run["status"]["childrenCleanedAt"] == "2025-01-02T04:04:05Z"
    assert await controller.reconcile(now=NOW + timedelta(seconds=3700)) == After(timedelta(hours=1))
    assert len(there.wire.writes) == 3


async def test_a_run_goes_after_its_retention(there: AdapterWorld) -> None:
    await finished(there, cleaned=True)
    controller = Controller(there)
    assert await controller.reconcile(now=NOW + timedelta(days=1, seconds=-1)) == After(timedelta(seconds=0.4))
    assert await controller.reconcile(now=NOW + timedelta(days=1)) == Done()
    assert there.wire.writes == ["DELETE one"]
    assert there.world.story_runs.get(NAMESPACE_NAME, "one") is None


@pytest.mark.parametrize("phase", ["Failed", "Finished", "Timeout", "Compensated", "Canceled", "Aborted", "Skipped"])
async def test_however_a_run_ended_it_is_cleaned_and_removed(there: AdapterWorld, phase: str) -> None:
    await finished(there, phase=phase)
    controller = Controller(there)
    assert await controller.reconcile(now=NOW + timedelta(seconds=3600)) == After(timedelta())
    assert await left(there) == []
    assert await controller.reconcile(now=NOW + timedelta(days=1)) == Done()
    assert await left(there, STORY_RUN) == []


async def annotated(there: AdapterWorld, **annotations: str) -> None:
    """Annotate the run, and wait until the informer knows it."""
    named = {f"storyrun.bubustack.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    patch = {"metadata": {"annotations": named}}
    stored = await there.client.patch(STORY_RUN, "one", patch, namespace=NAMESPACE_NAME)
    await there.known(there.world.story_runs, "one", _at(stored))


@pytest.mark.parametrize("asked", [{"redrive_token": "1"}, {"redrive_from_step": "a:1"}])
async def test_a_finished_run_that_is_asked_to_run_again_is_handed_over_and_left_alone(
    there: AdapterWorld, asked: dict[str, str]
) -> None:
    await finished(there)
    await annotated(there, **asked)
    controller = Controller(there)
    assert await controller.reconcile(now=NOW + timedelta(days=2)) == Done()
    assert controller.supervisor.adopted == [NamespacedName(NAMESPACE_NAME, "one")]
    assert there.wire.writes == []


async def test_a_request_that_was_answered_keeps_nothing(there: AdapterWorld) -> None:
    await finished(there, cleaned=True)
    await annotated(there, redrive_token="1", redrive_observed="1")
    controller = Controller(there)
    assert await controller.reconcile(now=NOW + timedelta(days=1)) == Done()
    assert (controller.supervisor.adopted, there.wire.writes) == ([], ["DELETE one"])


async def test_a_request_that_says_nothing_is_handed_over_and_keeps_nothing(there: AdapterWorld) -> None:
    await finished(there, cleaned=True)
    await annotated(there, redrive_from_step="nonsense")
    controller = Controller(there)
    assert await controller.reconcile(now=NOW + timedelta(days=1)) == Done()
    assert controller.supervisor.adopted == [NamespacedName(NAMESPACE_NAME, "one")]
    assert there.wire.writes == ["DELETE one"]


async def test_a_run_that_was_asked_to_run_again_at_the_last_moment_is_not_removed(there: AdapterWorld) -> None:
    seen = await finished(there, cleaned=True)
    await annotated(there, redrive_token="1")
    lagging = replace(there, world=World.watching(there.wired))
    lagging.world.story_runs.remember(seen)
    with pytest.raises(StaleError):
        await Controller(lagging).reconcile(now=NOW + timedelta(days=1))
    assert await left(there, STORY_RUN) == ["one"]


async def test_child_runs_go_with_their_parents_children_whatever_their_own_retention(there: AdapterWorld) -> None:
    parent = await finished(there)
    await nested(there, parent, "sub", annotations={})
    controller = Controller(there)
    assert await controller.reconcile(now=NOW + timedelta(seconds=3600)) == After(timedelta())
    assert await left(there, STORY_RUN) == ["one"]


async def test_a_child_run_is_not_removed_while_its_parent_may_read_its_output(there: AdapterWorld) -> None:
    await finished(there, cleaned=True)
    parent = await there.create(STORY_RUN, "parent", {"storyRef": {"name": "report"}})
    await there.known(there.world.story_runs, "parent", _at(parent))
    owned = {"metadata": {"ownerReferences": [_owner(parent)]}}
    stored = await there.client.patch(STORY_RUN, "one", owned, namespace=NAMESPACE_NAME)
    await there.known(there.world.story_runs, "one", _at(stored))
    controller = Controller(there)
    assert await controller.reconcile(now=NOW + timedelta(days=9)) == Done()
    assert there.wire.writes == []
    ended = {"status": {"phase": "Failed"}}
    stored = await there.client.patch(STORY_RUN, "parent", ended, namespace=NAMESPACE_NAME, subresource="status")
    await there.known(there.world.story_runs, "parent", _at(stored))
    assert await controller.reconcile(now=NOW + timedelta(days=9)) == Done()
    assert there.wire.writes == ["DELETE one"]


async def nested(there: AdapterWorld, parent: Object, name: str, **metadata: Any) -> Object:
    """A child run."""
    owned = {"ownerReferences": [_owner(parent)], **metadata}
    stored = await there.create(STORY_RUN, name, {"storyRef": {"name": "report"}}, **owned)
    await there.known(there.world.story_runs, name, _at(stored))
    return stored


async def test_of_a_deleted_run_the_youngest_go_first(there: AdapterWorld) -> None:
    run, _ = await there.definitions()
    await there.known(there.world.story_runs, "one")
    await nested(there, await nested(there, run, "sub"), "sub-sub")
    await there.known(there.world.stories, "report")
    controller = Controller(there)
    family = ("one", "sub", "sub-sub")
    for name in family:
        await hold(there, name)
    await there.client.delete(STORY_RUN, "one", NAMESPACE_NAME)
    for name in family:
        await there.known(there.world.story_runs, name, lambda obj: obj["metadata"].get("deletionTimestamp"))
        waits = isinstance(await controller.reconcile(name), After)
        assert waits == (name != "sub-sub")
    await there.known(there.world.story_runs, "sub-sub", lambda obj: obj is None)
    for name in ("sub", "one"):
        assert await controller.reconcile(name) == Done()
        await there.known(there.world.story_runs, name, lambda obj: obj is None)
    assert await left(there, STORY_RUN) == []
    deleted = [write for write in there.wire.writes if write.startswith("DELETE")]
    assert deleted == ["DELETE sub", "DELETE sub-sub"]


async def test_a_run_to_be_kept_for_ever_asks_for_nothing(there: AdapterWorld) -> None:
    await finished(there, job={"storyRunRetentionSeconds": 0, "ttlSecondsAfterFinished": -1})
    assert await Controller(there).reconcile(now=NOW + timedelta(days=9999)) == Done()
    assert there.wire.writes == []


async def test_what_is_at_work_of_a_finished_run_is_handed_over_with_it(there: AdapterWorld) -> None:
    await finished(there, at_work=("b",))
    controller = Controller(there)
    assert isinstance(await controller.reconcile(), After)
    assert controller.supervisor.adopted == [NamespacedName(NAMESPACE_NAME, "one")]
    await end(there, "one-b")
    await controller.reconcile()
    assert len(controller.supervisor.adopted) == 1


async def test_a_finished_run_is_not_handed_over(there: AdapterWorld) -> None:
    await finished(there)
    controller = Controller(there)
    await controller.reconcile()
    assert controller.supervisor.adopted == []
