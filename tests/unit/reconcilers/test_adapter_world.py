"""How objects are found by their owner or by what they refer to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from core.api.objects import is_controlled_by
from core.api.resource import ENGRAM, JOB
from core.kube.client import open_client
from core.kube.config import ClusterConfig
from core.kube.errors import ForbiddenError, UnreachableError
from manager.run import _Readiness
from reconcilers.adapters.world import (
    ENGRAM_KEYS,
    OWNER_UID,
    STEP_RUN_NAME,
    STORY_KEY,
    STUCK_SECONDS,
    TEMPLATE_NAME,
    World,
    find,
    is_object_name,
    step_references,
)
from tests.unit.reconcilers.reconciler_samples import job, open_world, pod, run, step_run, stored, story


def names(objects: list[dict[str, Any]]) -> list[str]:
    return sorted(obj["metadata"]["name"] for obj in objects)


async def test_children_are_found_by_the_uid_of_their_run() -> None:
    one, namesake = run("one"), run("one", meta={"uid": "other"})
    async with open_world() as (_, world):
        world.step_runs.remember(step_run(one, "a"))
        world.step_runs.remember(step_run(namesake, "b"))
        assert names(world.step_runs.by_index(OWNER_UID, one["metadata"]["uid"])) == ["one-a"]


async def test_runs_are_found_by_their_story_in_whatever_namespace() -> None:
    async with open_world() as (_, world):
        world.story_runs.remember(run("own"))
        world.story_runs.remember(stored("StoryRun", "far", spec={"storyRef": {"name": "report", "namespace": "team"}}))
        world.story_runs.remember(stored("StoryRun", "else", spec={"storyRef": {"name": "report"}}, namespace="b"))
        world.story_runs.remember(stored("StoryRun", "broken", spec={}))
        assert names(world.story_runs.by_index(STORY_KEY, "team/report")) == ["far", "own"]


async def test_stories_are_found_by_every_engram_they_refer_to() -> None:
    nested = {"name": "p", "type": "parallel", "with": {"steps": [{"name": "x", "ref": {"name": "inner"}}]}}
    told = story(
        "report",
        {"name": "a", "ref": {"name": "http"}},
        {"name": "b", "ref": {"name": "http", "namespace": "b"}},
        nested,
        compensations=[{"name": "c", "ref": {"name": "undo"}}],
        **{"finally": [{"name": "d", "ref": {"name": "notify"}}]},
    )
    async with open_world() as (_, world):
        world.stories.remember(told)
        for key in ("team/http", "b/http", "team/inner", "team/undo", "team/notify"):
            assert names(world.stories.by_index(ENGRAM_KEYS, key)) == ["report"], key
    assert [step["name"] for step in step_references(told)] == ["a", "b", "x", "c", "d"]


@pytest.mark.parametrize("steps", ["not a list", [1], None])
def test_damaged_branches_are_passed_over(steps: object) -> None:
    assert list(step_references(story("s", {"name": "p", "type": "parallel", "with": {"steps": steps}}))) == []


async def test_engrams_are_found_by_their_template_and_step_runs_by_their_engram() -> None:
    async with open_world() as (_, world):
        world.engrams.remember(stored("Engram", "e", spec={"templateRef": {"name": " http "}}))
        world.step_runs.remember(step_run(run(), "a"))
        assert names(world.engrams.by_index(TEMPLATE_NAME, "http")) == ["e"]
        assert names(world.step_runs.by_index(ENGRAM_KEYS, "team/http")) == ["one-a"]


async def test_pods_are_found_by_the_step_they_work_for_even_when_their_job_is_gone() -> None:
    work = job(step_run(run()))
    orphan = stored("Pod", "orphan", meta={"labels": {"job-name": "one-fetch"}})
    foreign = stored("Pod", "foreign", owner=stored("ReplicaSet", "one-fetch"))
    stray = stored("Pod", "stray")
    async with open_world() as (_, world):
        for obj in (pod(work, "owned"), orphan, foreign, stray):
            world.pods.remember(obj)
        assert names(world.pods.by_index(STEP_RUN_NAME, "team/one-fetch")) == ["orphan", "owned"]


async def test_what_nobody_reads_is_not_kept() -> None:
    managed = {"managedFields": [{"manager": "x"}]}
    async with open_world() as (_, world):
        world.jobs.remember(stored("Job", "j", spec={"backoffLimit": 1, "template": {"secret": 1}}, meta=managed))
        world.pods.remember(stored("Pod", "p", spec={"nodeName": "n", "containers": [1]}, meta=managed))
        world.stories.remember(stored("Story", "s", spec={"steps": []}, meta=managed))
        [kept_job], [kept_pod], [kept_story] = world.jobs.list(), world.pods.list(), world.stories.list()
    assert kept_job["spec"] == {"backoffLimit": 1}
    assert kept_pod["spec"] == {"nodeName": "n"}
    assert kept_story["spec"] == {"steps": []}
    assert not any("managedFields" in obj["metadata"] for obj in (kept_job, kept_pod, kept_story))


@pytest.mark.parametrize("name", ["", "a/b", "..", "A", "a b", "-a", "a" * 254, "a%2f"])
async def test_what_cannot_be_a_name_is_the_name_of_nothing_and_is_not_asked_for(name: str) -> None:
    assert not is_object_name(name)
    async with open_world() as (client, world):
        assert await find(client, world.engrams, ENGRAM, "team", name) is None
        assert await find(client, world.engrams, ENGRAM, name or "x/y", "http") is None


async def test_what_an_informer_knows_is_not_asked_for() -> None:
    async with open_world() as (client, world):
        world.engrams.remember(stored("Engram", "http", spec={}))
        found = await find(client, world.engrams, ENGRAM, "team", "http")
    assert found is not None


async def test_what_cannot_be_listed_is_named_with_the_sort_of_error_and_nothing_else() -> None:
    async with open_world() as (_, world):
        assert world.trouble == ""
        world.jobs.last_error = UnreachableError("https://10.0.0.1 does not answer")
        world.pods.last_error = ForbiddenError({"message": 'pods is forbidden: User "x" cannot list'})
        assert world.trouble == "jobs (UnreachableError), pods (ForbiddenError)"


def test_only_the_controller_owns() -> None:
    owner = run()
    child = step_run(owner)
    assert is_controlled_by(child, owner["metadata"]["uid"])
    child["metadata"]["ownerReferences"][0]["controller"] = False
    assert not is_controlled_by(child, owner["metadata"]["uid"])
    assert not is_controlled_by(owner, "x")


class _Forbidden(httpx.AsyncBaseTransport):
    """Allows lists of every kind, but refuses to watch one of them."""

    def __init__(self, plural: str) -> None:
        self._plural = plural

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        if "watch" not in request.url.params:
            return httpx.Response(200, content=b'{"metadata":{"resourceVersion":"1"},"items":[]}')
        if request.url.path.endswith(self._plural):
            return httpx.Response(403, content=b'{"kind":"Status","reason":"Forbidden","code":403}')
        return httpx.Response(200, stream=_Bookmarks())


class _Bookmarks(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await trio.sleep(60)
            yield b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"2"}}}\n'


async def test_a_kind_that_cannot_be_followed_is_told_after_a_while_also_after_the_first_lists(
    autojump_clock: trio.testing.MockClock,
) -> None:
    config = ClusterConfig("https://api.test")
    async with open_client(config, transport=_Forbidden(JOB.plural)) as client, trio.open_nursery() as nursery:
        readiness = _Readiness()
        readiness.world = World.watching(client)
        await nursery.start(readiness.world.run)
        readiness.synced = True
        await trio.sleep(STUCK_SECONDS - 10)
        assert readiness.informers() == ""
        await trio.sleep(20)
        assert readiness.informers() == f"cannot watch jobs for {STUCK_SECONDS + 10:.0f} s (ForbiddenError)"
        nursery.cancel_scope.cancel()
