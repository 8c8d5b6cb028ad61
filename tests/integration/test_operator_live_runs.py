"""Stories that are always on, through the whole operator: one run, replaced, restarted, and never two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.api.conditions import find_condition
from core.api.keys import ANNOTATION_LIVE_GENERATION, ANNOTATION_LIVE_REPLACED
from core.api.objects import Object, has_ended
from core.api.resource import STORY, STORY_RUN, TRANSPORT
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, status_of, step

ALWAYS_ON: Object = {
    "pattern": "realtime",
    "streamingStrategy": "PerStory",
    "transports": [{"name": "wire", "transportRef": "hub"}],
}


async def definitions(world: OperatorCluster) -> None:
    await world.engram("ears", supportedModes=["deployment"], engram={"mode": "deployment"})
    spec = {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]}
    await world.create(TRANSPORT, "hub", spec, namespaced=False)


async def talk(world: OperatorCluster, **spec: Any) -> Object:
    return await world.story("talk", step("listen", "ears"), **{**ALWAYS_ON, **spec})


async def change(world: OperatorCluster, **spec: Any) -> Object:
    return await world.client.patch(STORY, "talk", {"spec": spec}, namespace=NAMESPACE_NAME)


async def runs(world: OperatorCluster) -> Sequence[Object]:
    return (await world.client.list(STORY_RUN, NAMESPACE_NAME)).items


def says(story: Object) -> tuple[str, str]:
    """Reason of the condition ``LiveRun``, and the name of the run."""
    found = find_condition(status_of(story).get("conditions") or (), "LiveRun") or {}
    return str(found.get("reason") or ""), str(status_of(story).get("liveRun") or "")


async def shown(world: OperatorCluster, reason: str, *, other_than: str = "") -> str:
    """Wait until the Story shows this; returns the name of its run."""
    found = await world.until(STORY, "talk", lambda each: says(each)[0] == reason and says(each)[1] != other_than)
    return says(found)[1]


def is_running(run: Object) -> bool:
    return status_of(run).get("phase") == "Running"


async def test_a_story_that_is_always_on_has_one_run_which_an_edit_replaces(world: OperatorCluster) -> None:
    await definitions(world)
    async with world.operator():
        await talk(world)
        first = await shown(world, "LiveRunRunning")
        await world.until(STORY_RUN, first, is_running)

        await change(world, version="2")
        second = await shown(world, "LiveRunRunning", other_than=first)
        ended = await world.finished(first)
        assert status_of(ended)["phase"] == "Finished"
        assert "generation 2" in ended["metadata"]["annotations"][ANNOTATION_LIVE_REPLACED]
        assert status_of(await world.until(STORY_RUN, second, is_running))["attempts"] == 1

        await change(world, streamingStrategy="PerStoryRun")
        await world.finished(second)
        await world.until(STORY, "talk", lambda each: says(each) == ("", ""))
        assert len(await runs(world)) == 2


async def test_another_operator_goes_on_with_the_same_run(world: OperatorCluster) -> None:
    await definitions(world)
    async with world.operator():
        await talk(world)
        name = await shown(world, "LiveRunRunning")
        await world.until(STORY_RUN, name, is_running)
    async with world.operator():
        await change(world, version="2")  # when this has had its effect, the start is over, too
        await shown(world, "LiveRunRunning", other_than=name)
        generations = [run["metadata"]["annotations"][ANNOTATION_LIVE_GENERATION] for run in await runs(world)]
        assert sorted(generations) == ["1", "2"]
        assert [has_ended(run) for run in await runs(world)].count(False) == 1


async def test_a_canceled_run_stays_ended_until_it_is_deleted(world: OperatorCluster) -> None:
    await definitions(world)
    async with world.operator():
        await talk(world, policy={"execution": {"job": {"storyRunRetentionSeconds": -1}}})
        name = await shown(world, "LiveRunRunning")
        before = await world.until(STORY_RUN, name, is_running)
        await world.client.patch(STORY_RUN, name, {"spec": {"cancelRequested": True}}, namespace=NAMESPACE_NAME)
        await shown(world, "LiveRunCanceled")
        await world.finished(name)
        assert [run["metadata"]["uid"] for run in await runs(world)] == [before["metadata"]["uid"]]

        await world.client.delete(STORY_RUN, name, NAMESPACE_NAME)
        again = await world.until(STORY_RUN, name, lambda run: run["metadata"]["uid"] != before["metadata"]["uid"])
        assert again["metadata"]["annotations"][ANNOTATION_LIVE_GENERATION] == "1"
        await shown(world, "LiveRunRunning")


async def test_a_live_run_that_is_deleted_is_made_again(world: OperatorCluster) -> None:
    await definitions(world)
    async with world.operator():
        await talk(world)
        name = await shown(world, "LiveRunRunning")
        before = await world.until(STORY_RUN, name, is_running)
        await world.client.delete(STORY_RUN, name, NAMESPACE_NAME)
        await world.until(STORY_RUN, name, lambda run: run["metadata"]["uid"] != before["metadata"]["uid"])
        assert len(await runs(world)) == 1


async def test_a_deleted_story_ends_its_run_as_a_cancel_does(world: OperatorCluster) -> None:
    await definitions(world)
    async with world.operator():
        await talk(world)
        name = await shown(world, "LiveRunRunning")
        await world.until(STORY_RUN, name, is_running)
        await world.client.delete(STORY, "talk", NAMESPACE_NAME)
        ended = await world.finished(name)
        assert status_of(ended)["phase"] == "Finished"
        assert ended["spec"]["cancelRequested"] is True


async def test_what_has_happened_while_no_operator_was_there_is_made_good(world: OperatorCluster) -> None:
    await definitions(world)
    async with world.operator():
        await talk(world)
        name = await shown(world, "LiveRunRunning")
        await world.until(STORY_RUN, name, is_running)
    await world.client.delete(STORY, "talk", NAMESPACE_NAME)
    async with world.operator():
        ended = await world.finished(name)
    assert status_of(ended)["phase"] == "Finished"
    assert ended["metadata"]["annotations"][ANNOTATION_LIVE_REPLACED] == "the Story was deleted"


async def test_a_run_that_somebody_else_starts_fails_at_once(world: OperatorCluster) -> None:
    """Admission refuses it; here is none."""
    await definitions(world)
    async with world.operator():
        await talk(world)
        await shown(world, "LiveRunRunning")
        await world.run("mine", "talk")
        ended = await world.finished("mine")
    ready = find_condition(status_of(ended)["conditions"], "Ready") or {}
    assert (status_of(ended)["phase"], ready["reason"]) == ("Failed", "InvalidConfiguration")
    assert "streamingStrategy: PerStory" in status_of(ended)["message"]


async def test_a_story_with_errors_starts_nothing_until_they_are_gone(world: OperatorCluster) -> None:
    async with world.operator():
        await talk(world)
        await shown(world, "LiveRunNotStarted", other_than="x")
        assert await runs(world) == []
        await definitions(world)
        name = await shown(world, "LiveRunRunning")
        await world.until(STORY_RUN, name, is_running)
