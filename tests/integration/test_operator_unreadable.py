"""A StoryRun with an unreadable part fails with a reason, and the steps that it has begun end with it."""

from __future__ import annotations

from core.api.conditions import find_condition
from core.api.resource import JOB, STORY_RUN
from core.api.sizes import MAX_VALUES
from core.kube.errors import NotFoundError
from tests.integration.operator_cluster import OperatorCluster, status_of, step

TOO_MANY = {"x": [1] * (MAX_VALUES + 1)}


async def test_a_run_with_too_many_inputs_fails_and_can_be_deleted(world: OperatorCluster) -> None:
    await world.engram("noop")
    await world.story("plain", step("a", "noop"))
    async with world.operator():
        await world.create(STORY_RUN, "large", {"storyRef": {"name": "plain"}, "inputs": TOO_MANY})
        await world.create(STORY_RUN, "sound", {"storyRef": {"name": "plain"}})
        large = await world.until(STORY_RUN, "large", lambda run: bool(status_of(run).get("finishedAt")))
        sound = await world.until(STORY_RUN, "sound", lambda run: bool(status_of(run).get("finishedAt")))
        await world.client.delete(STORY_RUN, "large", "team")
        await world.gone(STORY_RUN, "large")

    ready = find_condition(status_of(large)["conditions"], "Ready")
    assert ready is not None
    assert (status_of(large)["phase"], ready["reason"]) == ("Failed", "Unreadable")
    assert "spec.inputs is left out" in ready["message"]
    assert status_of(sound)["phase"] == "Succeeded"


async def test_a_run_that_becomes_unreadable_ends_with_what_is_at_work(world: OperatorCluster) -> None:
    await world.engram("nap", "sleep 60")
    await world.story("slow", step("a", "nap"))
    async with world.operator():
        await world.create(STORY_RUN, "changed", {"storyRef": {"name": "slow"}})
        await world.until(STORY_RUN, "changed", lambda run: "a" in (status_of(run).get("stepStates") or {}))
        await world.until(JOB, "changed-a", lambda job: True)
        await world.client.patch(STORY_RUN, "changed", {"spec": {"inputs": TOO_MANY}}, namespace="team")
        run = await world.until(STORY_RUN, "changed", lambda run: bool(status_of(run).get("finishedAt")))
        try:
            job = await world.client.get(JOB, "changed-a", "team")
        except NotFoundError:
            job = {"metadata": {"deletionTimestamp": "gone"}}

    assert (status_of(run)["phase"], status_of(run)["error"]["type"]) == ("Failed", "Unreadable")
    assert job["metadata"].get("deletionTimestamp")
