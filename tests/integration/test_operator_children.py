"""Child runs, pinned Stories and occupied slots through the engine's ports, on a server that stores."""

from __future__ import annotations

import pytest
import trio

from core.api import keys
from core.api.objects import NamespacedName, Object
from core.api.resource import CONTROLLER_REVISION, STEP_RUN, STORY, STORY_RUN
from core.engine.errors import GoneError, NameConflictError, StaleError, UnavailableError
from reconcilers.adapters.run_store import KubeRunStore
from reconcilers.adapters.world import World
from tests.integration.adapter_world import AdapterWorld
from tests.integration.operator_cluster import NAMESPACE_NAME

HOLD = "tests.example/hold"


async def parent_of(there: AdapterWorld) -> tuple[Object, Object]:
    """A run that the informer knows, and the manifest of its child ``one-call``, which runs the same Story."""
    run, story = await there.definitions()
    await there.known(there.world.story_runs, "one")
    kind = {"apiVersion": STORY_RUN.api_version, "kind": STORY_RUN.kind}
    owner = {**kind, "name": "one", "uid": run["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}
    metadata = {
        "name": "one-call",
        "namespace": NAMESPACE_NAME,
        "annotations": {keys.ANNOTATION_STEP_PATH: "call"},
        "ownerReferences": [owner],
    }
    own = story["metadata"]
    reference = {"name": own["name"], "namespace": own["namespace"], "uid": own["uid"]}
    spec = {"storyRef": reference, "inputs": {"n": 1}}
    return run, {**kind, "metadata": metadata, "spec": spec}


async def test_a_run_can_be_read_as_it_is_stored_whatever_is_known_of_it(there: AdapterWorld) -> None:
    """The watches of another world have brought nothing. It knows the answer to its read from then on."""
    await there.definitions()
    known = await there.known(there.world.story_runs, "one")
    deaf = World.watching(there.wired)
    deaf.story_runs.remember(known)
    runs, key = KubeRunStore(there.wired, deaf), NamespacedName(NAMESPACE_NAME, "one")
    asked = {"spec": {"cancelRequested": True}}
    await there.client.patch(STORY_RUN, "one", asked, namespace=NAMESPACE_NAME)
    assert await runs.read_run(key) == known
    newest = await runs.read_run_anew(key)
    assert newest is not None
    assert newest["spec"]["cancelRequested"] is True
    found = await runs.read_run(key)
    assert found is not None
    assert found["spec"] == newest["spec"]
    assert await runs.read_run_anew(NamespacedName(NAMESPACE_NAME, "nobody")) is None


async def test_a_child_run_is_created_once_and_seen_at_once(there: AdapterWorld) -> None:
    run, manifest = await parent_of(there)
    created = await there.runs.create_child_run(run, manifest)
    assert [child["metadata"]["uid"] for child in await there.runs.child_runs(run)] == [created["metadata"]["uid"]]
    again = await there.runs.create_child_run(run, manifest)
    assert again["metadata"]["uid"] == created["metadata"]["uid"]
    assert there.wire.writes == ["POST storyruns", "POST storyruns"]


async def test_a_child_run_whose_creation_was_not_answered_is_found_by_the_next_try(there: AdapterWorld) -> None:
    run, manifest = await parent_of(there)
    there.wire.lose_answer_to = "POST"
    with pytest.raises(UnavailableError):
        await there.runs.create_child_run(run, manifest)
    await there.runs.create_child_run(run, manifest)
    assert len((await there.client.list(STORY_RUN, NAMESPACE_NAME)).items) == 2


async def test_a_stranger_that_has_the_name_is_neither_adopted_nor_seen(there: AdapterWorld) -> None:
    run, manifest = await parent_of(there)
    foreign = {**manifest, "metadata": {"name": "one-call", "namespace": NAMESPACE_NAME}}
    stored = await there.client.create(STORY_RUN, foreign)
    with pytest.raises(NameConflictError, match=f"{NAMESPACE_NAME}/one-call .* StoryRun {NAMESPACE_NAME}/one"):
        await there.runs.create_child_run(run, manifest)
    assert await there.runs.child_runs(run) == []
    assert await there.client.get(STORY_RUN, "one-call", NAMESPACE_NAME) == stored


async def test_a_child_run_that_is_going_is_waited_for(there: AdapterWorld) -> None:
    run, manifest = await parent_of(there)
    held = {**manifest, "metadata": {**manifest["metadata"], "finalizers": [HOLD]}}
    child = await there.runs.create_child_run(run, held)
    await there.runs.delete_child_run(child)
    with pytest.raises(UnavailableError, match="is still being removed"):
        await there.runs.create_child_run(run, manifest)
    await there.client.patch(STORY_RUN, "one-call", {"metadata": {"finalizers": None}}, namespace=NAMESPACE_NAME)
    assert (await there.runs.create_child_run(run, manifest))["metadata"]["uid"] != child["metadata"]["uid"]


async def test_the_child_of_a_deleted_run_of_the_same_name_is_waited_for(there: AdapterWorld) -> None:
    run, manifest = await parent_of(there)
    [owner] = manifest["metadata"]["ownerReferences"]
    left = {**manifest["metadata"], "ownerReferences": [{**owner, "uid": "of-a-deleted-run"}], "finalizers": [HOLD]}
    await there.client.create(STORY_RUN, {**manifest, "metadata": left})
    with pytest.raises(UnavailableError, match="of a deleted run is still being removed"):
        await there.runs.create_child_run(run, manifest)


async def test_no_child_run_is_made_again_for_a_run_that_is_gone(there: AdapterWorld) -> None:
    run, manifest = await parent_of(there)
    recorded = {**run, "status": {"stepStates": {"call": {"phase": "Running"}}}}
    await there.client.delete(STORY_RUN, "one", NAMESPACE_NAME)
    with pytest.raises(GoneError):
        await there.runs.create_child_run(recorded, manifest)
    assert there.wire.writes == []


async def test_a_child_run_is_asked_to_cancel_once(there: AdapterWorld) -> None:
    run, manifest = await parent_of(there)
    child = await there.runs.create_child_run(run, manifest)
    await there.runs.request_cancel(child)
    await there.runs.request_cancel(child)
    [known] = await there.runs.child_runs(run)
    assert known["spec"]["cancelRequested"] is True
    assert (await there.client.get(STORY_RUN, "one-call", NAMESPACE_NAME))["spec"]["cancelRequested"] is True
    assert there.wire.writes == ["POST storyruns", "PATCH one-call"]


async def test_nobody_is_asked_who_has_ended_is_gone_or_is_another(there: AdapterWorld) -> None:
    run, manifest = await parent_of(there)
    child = await there.runs.create_child_run(run, manifest)
    ended = await there.runs.patch_run_status(child, {"phase": "Succeeded"})
    await there.runs.request_cancel(child)
    await there.client.delete(STORY_RUN, "one-call", NAMESPACE_NAME)
    await there.known(there.world.story_runs, "one-call", lambda found: found is None)
    await there.runs.request_cancel({**ended, "status": {}})
    await there.client.create(STORY_RUN, manifest)
    await there.known(there.world.story_runs, "one-call")
    await there.runs.request_cancel(child)
    assert "cancelRequested" not in (await there.client.get(STORY_RUN, "one-call", NAMESPACE_NAME))["spec"]


async def test_a_child_run_that_changed_meanwhile_is_looked_at_again(there: AdapterWorld) -> None:
    run, manifest = await parent_of(there)
    child = await there.runs.create_child_run(run, manifest)
    newer = {**child, "metadata": {**child["metadata"], "resourceVersion": "1"}}
    there.world.story_runs.forget(NAMESPACE_NAME, "one-call", child["metadata"]["uid"])
    with pytest.raises(StaleError):
        await there.runs.request_cancel(newer)


async def test_only_the_child_run_that_was_meant_is_deleted(there: AdapterWorld) -> None:
    run, manifest = await parent_of(there)
    child = await there.runs.create_child_run(run, manifest)
    await there.runs.delete_child_run({**child, "metadata": {**child["metadata"], "uid": "another"}})
    assert (await there.client.get(STORY_RUN, "one-call", NAMESPACE_NAME))["metadata"]["uid"] == child["metadata"][
        "uid"
    ]
    await there.runs.delete_child_run(child)
    assert await there.runs.child_runs(run) == []
    await there.runs.delete_child_run(child)


async def test_runs_of_a_story_that_have_ended_or_are_going_are_not_live(there: AdapterWorld) -> None:
    run, manifest = await parent_of(there)
    await there.runs.create_child_run(run, manifest)
    names = {found["metadata"]["name"] for found in await there.runs.live_runs_of_story(NAMESPACE_NAME, "report")}
    assert names == {"one", "one-call"}
    assert await there.runs.live_runs_of_story(NAMESPACE_NAME, "other") == []
    [child] = await there.runs.child_runs(run)
    await there.runs.patch_run_status(child, {"phase": "Failed"})
    [live] = await there.runs.live_runs_of_story(NAMESPACE_NAME, "report")
    assert live["metadata"]["name"] == "one"
    await there.runs.patch_run_metadata(live, {"finalizers": [HOLD]})
    await there.client.delete(STORY_RUN, "one", NAMESPACE_NAME)
    await there.known(there.world.story_runs, "one", lambda found: found["metadata"].get("deletionTimestamp"))
    assert await there.runs.live_runs_of_story(NAMESPACE_NAME, "report") == []


# Pinned Stories.


async def known_story(there: AdapterWorld) -> Object:
    await there.definitions()
    return dict(await there.known(there.world.stories, "report"))


async def revisions(there: AdapterWorld) -> list[Object]:
    return (await there.client.list(CONTROLLER_REVISION, NAMESPACE_NAME)).items


async def test_a_story_is_pinned_once_however_many_runs_begin_with_it(there: AdapterWorld) -> None:
    story = await known_story(there)
    names: list[str] = []
    runs = there.runs

    async def begin() -> None:
        names.append(await runs.pin_story(story))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(begin)
    [stored] = await revisions(there)
    assert set(names) == {stored["metadata"]["name"]}
    assert await there.runs.pin_story(story) == stored["metadata"]["name"]
    assert there.wire.writes == ["POST controllerrevisions"]


async def test_a_story_that_another_process_pins_at_the_same_moment_is_pinned(there: AdapterWorld) -> None:
    story = await known_story(there)
    name = await there.runs.pin_story(story)
    [stored] = await revisions(there)
    there.world.story_revisions.forget(NAMESPACE_NAME, name, stored["metadata"]["uid"])
    assert await there.runs.pin_story(story) == name


async def test_what_was_pinned_is_given_back_without_asking_while_the_story_is_as_it_was(there: AdapterWorld) -> None:
    story = await known_story(there)
    name = await there.runs.pin_story(story)
    kept = await there.runs.read_pinned_story(NAMESPACE_NAME, name)
    assert kept is not None
    assert (kept["kind"], kept["spec"], kept["metadata"]["uid"]) == ("Story", story["spec"], story["metadata"]["uid"])
    assert f"GET {name}" not in there.wire.reads


async def test_what_was_pinned_is_asked_for_once_when_the_story_has_changed_or_gone(there: AdapterWorld) -> None:
    story = await known_story(there)
    name = await there.runs.pin_story(story)
    await there.client.patch(STORY, "report", {"spec": {"version": "2"}}, namespace=NAMESPACE_NAME)
    changed = await there.known(there.world.stories, "report", lambda found: found["spec"].get("version") == "2")
    assert await there.runs.pin_story(changed) != name
    runs = there.runs
    found: list[Object | None] = []

    async def take_up() -> None:
        found.append(await runs.read_pinned_story(NAMESPACE_NAME, name))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(take_up)
    assert found[0] is not None
    assert found[0]["spec"] == story["spec"]
    assert all(kept is found[0] for kept in found)
    await there.client.delete(STORY, "report", NAMESPACE_NAME)
    await there.known(there.world.stories, "report", lambda known: known is None)
    assert await runs.read_pinned_story(NAMESPACE_NAME, name) == found[0]
    assert there.wire.reads.count(f"GET {name}") == 1


@pytest.mark.parametrize("name", ["report-0123456789abcdef", "nothing", "No/Name", ""])
async def test_what_is_not_there_is_nothing(there: AdapterWorld, name: str) -> None:
    await known_story(there)
    assert await there.runs.read_pinned_story(NAMESPACE_NAME, name) is None


async def test_a_revision_that_somebody_else_made_under_the_name_is_refused(there: AdapterWorld) -> None:
    story = await known_story(there)
    name = await there.runs.pin_story(story)
    [stored] = await revisions(there)
    await there.client.delete(CONTROLLER_REVISION, name, NAMESPACE_NAME)
    await there.known(there.world.story_revisions, name, lambda found: found is None)
    own = {key: stored["metadata"][key] for key in ("name", "namespace", "labels")}
    forged = {**stored, "metadata": own, "data": {**stored["data"], "spec": {"steps": []}}}
    await there.client.create(CONTROLLER_REVISION, forged)
    for _ in range(2):  # before and after the watch has reported it
        with pytest.raises(NameConflictError, match=f"{name} does not contain the Story that its name identifies"):
            await there.runs.pin_story(story)
        await there.known(there.world.story_revisions, name)
    await there.client.delete(STORY, "report", NAMESPACE_NAME)
    await there.known(there.world.stories, "report", lambda known: known is None)
    with pytest.raises(NameConflictError, match="delete it"):
        await there.runs.read_pinned_story(NAMESPACE_NAME, name)


# Occupied slots.


async def test_places_are_occupied_by_what_has_not_ended_wherever_it_is(there: AdapterWorld) -> None:
    await there.namespace("elsewhere")
    spec = {"storyRunRef": {"name": "x"}, "stepId": "a", "engramRef": {"name": "http"}}
    for name in ("running", "ended", "new"):
        await there.create(STEP_RUN, name, spec)
    await there.create(STEP_RUN, "far", spec, namespace="elsewhere")
    for name, phase in (("running", "Running"), ("ended", "Failed")):
        await there.client.patch(
            STEP_RUN, name, {"status": {"phase": phase}}, namespace=NAMESPACE_NAME, subresource="status"
        )
    found = await there.step_runs.occupants()
    assert sorted(step_run["metadata"]["name"] for step_run in found) == ["far", "new", "running"]
    assert not any("managedFields" in step_run["metadata"] for step_run in found)
    assert not any("status" in step_run for step_run in found), "they are all held at once, and may report much"


async def test_a_step_run_of_a_branch_is_told_from_one_whose_name_is_composed_alike(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    manifest = await there.manifest(run, story)
    branch = {**manifest, "metadata": {**manifest["metadata"], "annotations": {keys.ANNOTATION_STEP_PATH: "fan/fetch"}}}
    await there.step_runs.create_step_run(run, branch)
    with pytest.raises(NameConflictError, match="belongs to step 'fan/fetch'; rename step 'fetch'"):
        await there.step_runs.create_step_run(run, manifest)
