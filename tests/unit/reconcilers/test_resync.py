"""The slow second look: it finds nothing when nothing was lost, and repairs what was lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import orjson
import trio
import trio.testing

from core.api import keys
from core.api.objects import NamespacedName, Object
from core.kube.informer import Change
from core.ownership.ownership import WHOLE_CLUSTER, OwnedKey, Ownership
from core.telemetry import metrics
from reconcilers.adapters.world import World
from reconcilers.resync import INTERVAL, Found, Resync
from reconcilers.runtime.controller import Controller, ControllerOptions, Key
from reconcilers.runtime.outcome import Done, Outcome
from tests.unit.reconcilers.reconciler_samples import RecordingSupervisor, job, open_world, pod, run, step_run, story

ONE, TWO = NamespacedName("team", "one"), NamespacedName("team", "two")


class Lists(httpx.AsyncBaseTransport):
    """The objects of the API server, by plural. Its watches never send an event."""

    def __init__(self) -> None:
        self.objects: dict[str, list[Object]] = {}
        self.requests: list[str] = []
        self.fails = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.method == "GET", "a second look writes nothing"
        self.requests.append(request.url.path)
        if self.fails:
            return httpx.Response(503, json={"kind": "Status", "code": 503, "reason": "ServiceUnavailable"})
        name = request.url.params.get("fieldSelector", "").removeprefix("metadata.name=")
        plural = request.url.path.rpartition("/")[2]
        selector = request.url.params.get("labelSelector", "")
        items = [
            obj
            for obj in self.objects.get(plural, ())
            if name in ("", obj["metadata"]["name"]) and _is_selected(obj, selector)
        ]
        body = {"kind": "List", "metadata": {"resourceVersion": "500000"}, "items": items}
        return httpx.Response(200, content=orjson.dumps(body))


def _is_selected(obj: Object, selector: str) -> bool:
    labels = obj["metadata"].get("labels") or {}
    terms = [term.partition("=") for term in selector.split(",") if term]
    return all(labels.get(key) == value if equals else key in labels for key, equals, value in terms)


class InHand(RecordingSupervisor):
    """Has exactly the runs in ``known``."""

    def __init__(self, known: set[NamespacedName]) -> None:
        super().__init__()
        self.known = known

    def is_adopted(self, key: NamespacedName) -> bool:
        return key in self.known


@dataclass
class Stage:
    server: Lists
    world: World
    supervisor: InHand
    resync: Resync
    enqueued: list[str] = field(default_factory=list)
    told: list[Change] = field(default_factory=list)

    def stands(self, *objects: Object) -> None:
        """Store objects and let this process know them."""
        for obj in objects:
            self.is_stored(obj)
            {"StoryRun": self.world.story_runs, "StepRun": self.world.step_runs, "Job": self.world.jobs}.get(
                obj["kind"], self.world.pods
            ).remember(obj)

    def is_stored(self, obj: Object) -> None:
        plural = {"StoryRun": "storyruns", "StepRun": "stepruns", "Job": "jobs", "Pod": "pods", "Story": "stories"}
        stored = self.server.objects.setdefault(plural[obj["kind"]], [])
        stored[:] = [other for other in stored if other["metadata"]["name"] != obj["metadata"]["name"]] + [obj]


@asynccontextmanager
async def stage(
    *, known: set[NamespacedName], adopts: bool = True, ownership: Ownership = WHOLE_CLUSTER
) -> AsyncIterator[Stage]:
    server, supervisor = Lists(), InHand(known)
    async with open_world(server) as (_, world):

        class NotingController(Controller):
            def enqueue(self, key: Key) -> None:
                result.enqueued.append(str(key))
                if adopts:
                    supervisor.known.add(NamespacedName(key.namespace, key.name))

        options = ControllerOptions(1, timedelta(seconds=1), timedelta(seconds=1))
        controller = NotingController("storyrun", _never, options)
        result = Stage(server, world, supervisor, Resync(world, supervisor, controller, ownership=ownership))
        for informer in world:
            informer.add_handler(result.told.append)
        yield result


async def _never(key: Key) -> Outcome:
    return Done()


def newer(obj: Object, **fields: Any) -> Object:
    version = str(int(obj["metadata"]["resourceVersion"]) + 100_000)
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}, **fields}


async def test_every_live_run_is_looked_at_and_nothing_found(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(known={ONE, TWO}) as here:
        here.stands(run("one"), run("two"), run("over", status={"phase": "Succeeded"}))
        here.stands(run("going", meta={"deletionTimestamp": "2025-01-02T03:04:05Z"}))
        told = len(here.told)

        assert await here.resync.look_again() == {ONE: Found.NOTHING, TWO: Found.NOTHING}
        assert here.enqueued == ["team/one", "team/two"]
        assert len(here.told) == told


async def test_a_lost_event_is_mended_and_counted_for_its_run(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(known={ONE, TWO}) as here:
        one = run("one")
        fetch = step_run(one)
        its_job = job(fetch)
        its_pod = pod(its_job, meta={"labels": {keys.LABEL_STEP_RUN: "one-fetch"}})
        its_pod["metadata"]["ownerReferences"] = [
            {"kind": "Job", "name": its_job["metadata"]["name"], "uid": its_job["metadata"]["uid"], "controller": True}
        ]
        here.stands(one, run("two"), fetch, its_job, its_pod)
        for lost in (newer(fetch, status={"phase": "Succeeded"}), newer(its_job), newer(its_pod)):
            here.told.clear()
            here.is_stored(lost)

            assert await here.resync.look_again() == {ONE: Found.LOST_EVENT, TWO: Found.NOTHING}
            assert [change.object["metadata"]["resourceVersion"] for change in here.told] == [
                lost["metadata"]["resourceVersion"]
            ]
            assert await here.resync.look_again() == {ONE: Found.NOTHING, TWO: Found.NOTHING}


async def test_what_it_finds_is_counted_once_for_each_live_run(autojump_clock: trio.testing.MockClock) -> None:
    with metrics.recording():
        async with stage(known={ONE, TWO}) as here:
            here.stands(run("one"), run("two"))
            here.is_stored(newer(run("one"), status={"phase": "Running"}))
            await here.resync.look_again()
            await here.resync.look_again()

        assert metrics.sample("bobrapet_resync_runs_total", found="lost-event") == 1
        assert metrics.sample("bobrapet_resync_runs_total", found="nothing") == 3


async def test_a_lost_cancel_and_a_run_never_heard_of_are_found(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(known={ONE}) as here:
        one = run("one")
        here.stands(one)
        here.is_stored(newer(one, spec={**one["spec"], "cancelRequested": True}))
        here.is_stored(run("two"))

        assert await here.resync.look_again() == {ONE: Found.LOST_EVENT, TWO: Found.LOST_EVENT}
        assert sorted(here.enqueued) == ["team/one", "team/two"]
        assert (here.world.story_runs.get("team", "one") or {})["spec"]["cancelRequested"]


async def test_what_many_runs_share_is_mended_but_counted_for_none(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(known={ONE}) as here:
        here.stands(run("one"))
        here.is_stored(story("report"))

        assert await here.resync.look_again() == {ONE: Found.NOTHING}
        assert here.world.stories.get("team", "report") is not None


async def test_a_run_that_was_never_adopted_is(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(known={ONE}) as here:
        here.stands(run("one"), run("two"))

        assert await here.resync.look_again() == {ONE: Found.NOTHING, TWO: Found.NOT_ADOPTED}
        assert TWO in here.supervisor.known


async def test_a_run_that_cannot_be_adopted_was_not_lost(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(known={ONE}, adopts=False) as here:
        here.stands(run("one"), run("two"))

        assert await here.resync.look_again() == {ONE: Found.NOTHING, TWO: Found.NOTHING}
        assert here.enqueued == ["team/one", "team/two"]


async def test_without_an_answer_of_the_server_runs_are_still_looked_at(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with stage(known={ONE}) as here:
        here.stands(run("one"))
        here.server.fails = True

        assert await here.resync.look_again() == {ONE: Found.NOTHING}
        assert here.enqueued == ["team/one"]


async def test_it_goes_round_every_ten_minutes(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    async with stage(known={ONE}) as here:
        here.stands(run("one"))
        nursery.start_soon(here.resync.run)
        await trio.sleep(INTERVAL.total_seconds() - 1)
        assert here.server.requests == []
        await trio.sleep(INTERVAL.total_seconds())
        assert here.enqueued == ["team/one"]
        assert len(here.server.requests) == len([*here.world])


async def test_runs_of_other_processes_are_theirs_to_look_at(autojump_clock: trio.testing.MockClock) -> None:
    class Only:
        def owns(self, key: OwnedKey) -> bool:
            return key == ONE

    async with stage(known={ONE}, ownership=Only()) as here:
        here.stands(run("one"), run("two"))
        here.is_stored(newer(run("two"), status={"phase": "Running"}))

        assert await here.resync.look_again() == {ONE: Found.NOTHING}
        assert here.enqueued == ["team/one"]
