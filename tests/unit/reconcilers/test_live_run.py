"""The controller of live runs: what it writes, and that there is never more than one run, whatever gets lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import httpx
import orjson
import pytest

from bubu_contract.instants import format_instant
from core.api import keys
from core.api.conditions import find_condition
from core.api.objects import Object, has_ended
from core.api.resource import ENGRAM, STORY, STORY_RUN
from core.engine.errors import PortError
from core.kube.client import KubeClient
from core.policy.settings import OperatorSettings
from core.workloads.live_run import live_run_manifest
from reconcilers.adapters.world import World
from reconcilers.live_run import CONTROLLER, LiveRunReconciler
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After, Done, Outcome
from reconcilers.runtime.watch import connect
from tests.unit.reconcilers.live_run_samples import always_on, live_run
from tests.unit.reconcilers.memory_server import MemoryServer, Request, open_process, refused
from tests.unit.reconcilers.reconciler_samples import NOW, RecordedEvents, clock, open_world, stored

KEY: Final = Key("team", "talk")
CREATE: Final[Request] = ("POST", "storyruns")
CANCEL: Final[Request] = ("PATCH", "storyruns")
SHOW: Final[Request] = ("PATCH", "stories/status")


class ListingServer(MemoryServer):
    """Answers lists as well; checks after each request that no two runs are alive."""

    def __init__(self, *objects: Object) -> None:
        super().__init__((STORY, STORY_RUN, ENGRAM), stored("Engram", "ears", spec={"mode": "deployment"}), *objects)
        self.now = NOW

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        parts = request.url.path.strip("/").split("/")
        if request.method == "GET" and len(parts) == 6:
            self.requests.append(("GET", parts[5]))
            if self.before is not None and (answer := await self.before(("GET", parts[5]))) is not None:
                return answer
            items = [obj for (plural, _, _), obj in self.objects.items() if plural == parts[5]]
            body = {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}
            return httpx.Response(200, content=orjson.dumps(body))
        response = await super().handle_async_request(request)
        alive = [run["metadata"]["name"] for run in self.all(STORY_RUN) if not has_ended(run)]
        assert len(alive) <= 1, f"two runs are alive: {alive}"
        return response

    def put(self, obj: Object) -> Object:
        if obj["kind"] == STORY_RUN.kind and "uid" not in obj["metadata"]:
            made = format_instant(self.now)
            obj = {**obj, "metadata": {**obj["metadata"], "creationTimestamp": made}}
        return super().put(obj)

    def end(self, phase: str, **spec: Any) -> None:
        """The engine ends the run that is alive."""
        [run] = [run for run in self.all(STORY_RUN) if not has_ended(run)]
        status = {"phase": phase, "finishedAt": format_instant(self.now)}
        self.change(run, status=status, spec={**run["spec"], **spec})


@dataclass
class Stage:
    """One process after the other; ``now`` moves by hand."""

    server: ListingServer
    events: RecordedEvents = field(default_factory=RecordedEvents)

    async def reconcile(self, *, hears: bool = True) -> Outcome:
        """One look by a process that has just listed everything; without ``hears`` it has listed before the runs."""
        async with open_process(self.server) as (client, world):
            if not hears:
                for run in self.server.all(STORY_RUN):
                    world.story_runs.forget("team", run["metadata"]["name"], run["metadata"]["uid"])
            return await self.reconciler(client, world).reconcile(KEY)

    def reconciler(self, client: KubeClient, world: World) -> LiveRunReconciler:
        return LiveRunReconciler(client, world, self.events, clock(self.server.now), OperatorSettings)

    @property
    def runs(self) -> list[Object]:
        return self.server.all(STORY_RUN)

    def shown(self) -> tuple[str, str, str]:
        [story] = self.server.all(STORY)
        status = story.get("status") or {}
        condition = find_condition(status.get("conditions") or (), "LiveRun") or {}
        return status.get("liveRun") or "", condition.get("status") or "", condition.get("reason") or ""

    def edit(self, **spec: Any) -> None:
        [story] = self.server.all(STORY)
        generation = story["metadata"]["generation"] + 1
        self.server.change(story, spec={**story["spec"], **spec}, meta={"generation": generation})


async def test_the_first_run_is_created_once_and_the_story_shows_it() -> None:
    stage = Stage(ListingServer(always_on()))

    assert await stage.reconcile() == Done()

    [run] = stage.runs
    [story] = stage.server.all(STORY)
    wanted = live_run_manifest(story, "", 0)
    assert run["spec"] == {"storyRef": {"name": "talk"}}
    assert run["metadata"]["name"] == wanted["metadata"]["name"]
    assert run["metadata"]["annotations"] == wanted["metadata"]["annotations"]
    assert run["metadata"]["labels"] == {
        keys.LABEL_LIVE_RUN_OF: "talk",
        keys.LABEL_QUEUE: "default",
        keys.LABEL_QUEUE_PRIORITY: "0",
    }
    assert stage.shown() == (run["metadata"]["name"], "True", "LiveRunRunning")
    assert stage.server.writes == [CREATE, SHOW]
    assert [emitted[1:] for emitted in stage.events.emitted] == [("Normal", "LiveRunRunning")]

    assert await stage.reconcile() == Done()
    assert stage.server.writes == [CREATE, SHOW]
    assert len(stage.events.emitted) == 1


async def test_a_process_that_has_not_heard_of_the_run_makes_no_second_one() -> None:
    stage = Stage(ListingServer(always_on()))
    await stage.reconcile()
    await stage.reconcile(hears=False)
    assert len(stage.runs) == 1
    assert stage.server.writes.count(CREATE) == 1


async def test_a_process_that_has_not_heard_of_the_edit_makes_no_run_of_the_old_story() -> None:
    stage = Stage(ListingServer(always_on()))
    async with open_process(stage.server) as (client, world):
        stage.edit(version="2")
        await stage.reconciler(client, world).reconcile(KEY)
    [run] = stage.runs
    assert run["metadata"]["annotations"][keys.ANNOTATION_LIVE_GENERATION] == "2"


async def test_a_run_that_another_process_made_in_between_is_the_run() -> None:
    stage = Stage(ListingServer(always_on()))
    [story] = stage.server.all(STORY)

    async def other_process(request: Request) -> None:
        if request == CREATE:
            stage.server.before = None
            stage.server.put(live_run_manifest(story, "", 0))

    stage.server.before = other_process
    assert await stage.reconcile() == Done()
    assert len(stage.runs) == 1
    assert stage.shown()[1:] == ("True", "LiveRunRunning")


async def test_an_edit_replaces_the_run_after_it_has_drained() -> None:
    stage = Stage(ListingServer(always_on()))
    await stage.reconcile()
    [first] = stage.runs
    stage.edit(version="2")

    assert await stage.reconcile() == Done()
    [ending] = stage.runs
    assert ending["spec"]["cancelRequested"] is True
    assert "generation 2" in ending["metadata"]["annotations"][keys.ANNOTATION_LIVE_REPLACED]
    assert stage.shown() == (first["metadata"]["name"], "True", "LiveRunEnding")

    stage.server.end("Finished")
    await stage.reconcile()
    second = next(run for run in stage.runs if not has_ended(run))
    assert second["metadata"]["annotations"][keys.ANNOTATION_LIVE_PREDECESSOR] == first["metadata"]["uid"]
    assert stage.shown() == (second["metadata"]["name"], "True", "LiveRunRunning")


async def test_a_failed_run_is_followed_by_another_one_after_the_pause() -> None:
    stage = Stage(ListingServer(always_on()))
    await stage.reconcile()
    stage.server.end("Failed")
    outcome = await stage.reconcile()
    assert isinstance(outcome, After)
    assert timedelta(seconds=9) <= outcome.delay <= timedelta(seconds=10)
    assert stage.shown()[1:] == ("False", "LiveRunRestarting")
    stage.server.now += timedelta(seconds=11)
    assert await stage.reconcile() == Done()
    assert [run["metadata"]["annotations"][keys.ANNOTATION_LIVE_RESTARTS] for run in stage.runs] == ["0", "1"]


@pytest.mark.parametrize(
    ("phase", "spec", "reason"),
    [("Succeeded", {}, "LiveRunFinished"), ("Finished", {"cancelRequested": True}, "LiveRunCanceled")],
)
async def test_a_story_that_rests_says_why_and_starts_again_when_the_run_is_deleted(
    phase: str, spec: Object, reason: str
) -> None:
    stage = Stage(ListingServer(always_on()))
    await stage.reconcile()
    stage.server.end(phase, **spec)
    stage.server.now += timedelta(days=9)
    assert await stage.reconcile() == Done()
    [run] = stage.runs
    assert stage.shown() == (run["metadata"]["name"], "False", reason)
    stage.server.remove(run)
    await stage.reconcile()
    assert len(stage.runs) == 1
    assert stage.shown()[1:] == ("True", "LiveRunRunning")


async def test_a_run_wakes_its_story_when_it_moves_on_and_other_runs_do_not() -> None:
    heard: list[Key] = []
    async with open_world() as (_, world):
        run = live_run(always_on())
        world.story_runs.remember(run)
        connect(CONTROLLER.watches, world, lambda key, _: heard.append(key))
        heard.clear()
        version = int(run["metadata"]["resourceVersion"])
        canceled: Object = {"spec": {**run["spec"], "cancelRequested": True}}
        progress: Object = {"status": {**run["status"], "message": "goes on"}}
        for change in (canceled, {**canceled, **progress}, {**canceled, "status": {"phase": "Finished"}}):
            version += 100_000
            metadata = {**run["metadata"], "resourceVersion": str(version)}
            world.story_runs.remember({**run, **change, "metadata": metadata})
        world.story_runs.remember(stored("StoryRun", "mine", spec={"storyRef": {"name": "talk"}}))
    assert set(heard) == {KEY}
    assert len(heard) == 4, "the old and the new version of the cancel and of the end; not the progress"


async def test_a_story_wakes_itself_when_its_validity_changes() -> None:
    heard: list[Key] = []
    async with open_world() as (_, world):
        story = always_on()
        world.stories.remember(story)
        connect(CONTROLLER.watches, world, lambda key, _: heard.append(key))
        heard.clear()
        version = int(story["metadata"]["resourceVersion"])
        for status in ({"usageCount": 3}, {"validationStatus": "valid", "observedGeneration": 1}):
            version += 100_000
            metadata = {**story["metadata"], "resourceVersion": str(version)}
            world.stories.remember({**story, "metadata": metadata, "status": status})
    assert heard == [KEY, KEY], "not for the count"


async def test_a_story_with_errors_starts_nothing() -> None:
    stage = Stage(ListingServer(always_on(steps=[{"name": "a", "ref": {"name": "nobody"}}])))
    assert await stage.reconcile() == Done()
    assert stage.runs == []
    assert stage.shown() == ("", "False", "LiveRunNotStarted")
    assert [emitted[1:] for emitted in stage.events.emitted] == [("Warning", "LiveRunNotStarted")]


async def test_a_story_that_is_not_always_on_any_more_ends_its_run_and_shows_nothing() -> None:
    stage = Stage(ListingServer(always_on()))
    await stage.reconcile()
    stage.edit(streamingStrategy="PerStoryRun")
    await stage.reconcile()
    [run] = stage.runs
    assert run["spec"]["cancelRequested"] is True
    assert stage.shown() == ("", "", "")
    stage.server.end("Finished")
    await stage.reconcile()
    assert len(stage.runs) == 1


async def test_other_runs_of_the_story_are_left_alone() -> None:
    """They began before the Story was always on."""
    stage = Stage(ListingServer(always_on()))
    await stage.reconcile()
    stage.server.end("Succeeded")
    other = stage.server.put(
        stored("StoryRun", "mine", spec={"storyRef": {"name": "talk"}}, status={"phase": "Running"})
    )
    stage.edit(streamingStrategy="PerStoryRun")
    await stage.reconcile()
    assert stage.server.objects["storyruns", "team", "mine"] == other


@pytest.mark.parametrize("is_gone", [False, True])
async def test_a_deleted_story_ends_its_run_by_a_cancel(is_gone: bool) -> None:
    stage = Stage(ListingServer(always_on()))
    await stage.reconcile()
    [story] = stage.server.all(STORY)
    stage.server.remove(story)
    if not is_gone:
        stage.server.put({**story, "metadata": {**story["metadata"], "deletionTimestamp": format_instant(NOW)}})
    assert await stage.reconcile() == Done()
    [run] = stage.runs
    assert run["spec"]["cancelRequested"] is True
    assert stage.server.writes.count(CANCEL) == 1


async def test_a_name_that_somebody_else_has_is_reported_and_tried_again() -> None:
    stage = Stage(ListingServer(always_on()))
    [story] = stage.server.all(STORY)
    manifest = live_run_manifest(story, "", 0)
    foreign = {**manifest, "metadata": {"name": manifest["metadata"]["name"], "namespace": "team"}}
    foreign = stage.server.put({**foreign, "status": {"phase": "Succeeded"}})
    outcome = await stage.reconcile()
    assert isinstance(outcome, After)
    assert stage.shown()[1:] == ("False", "LiveRunNameConflict")
    stage.server.remove(foreign)
    await stage.reconcile()
    assert stage.shown()[1:] == ("True", "LiveRunRunning")


async def test_a_refused_run_is_reported_and_tried_again() -> None:
    stage = Stage(ListingServer(always_on()))

    async def refuse(request: Request) -> httpx.Response | None:
        if request != CREATE:
            return None
        code, body = refused("Invalid", "a policy refuses it")
        return httpx.Response(code, content=orjson.dumps(body))

    stage.server.before = refuse
    assert isinstance(await stage.reconcile(), After)
    assert stage.shown()[1:] == ("False", "LiveRunRefused")
    assert ("Warning", "LiveRunRefused") in [emitted[1:] for emitted in stage.events.emitted]


# Faults.

Act = Callable[[Stage], None]


def fail(stage: Stage) -> None:
    stage.server.end("Failed")
    stage.server.now += timedelta(seconds=30)


def delete_story(stage: Stage) -> None:
    [story] = stage.server.all(STORY)
    stage.server.remove(story)


def make_it_again(stage: Stage) -> None:
    delete_story(stage)
    stage.server.put(always_on(uid="s-2"))


def delete_run(stage: Stage) -> None:
    for run in stage.runs:
        stage.server.remove(run)


SCENARIOS: Final[dict[str, tuple[Act, ...]]] = {
    "edit": (lambda stage: stage.edit(version="2"), lambda stage: stage.edit(version="3")),
    "fail": (fail, fail),
    "off and on": (
        lambda stage: stage.edit(streamingStrategy="PerStoryRun"),
        lambda stage: stage.edit(streamingStrategy="PerStory"),
    ),
    "delete the run": (delete_run,),
    "delete the Story": (delete_story,),
    "another Story of that name": (make_it_again,),
}


@dataclass
class Lost:
    """The answer to the request with this number is lost; ``done``: the server has acted on it."""

    number: int
    done: bool
    happened: bool = False


async def play(scenario: str, lost: Lost | None, *, lives: bool) -> tuple[list[Any], Stage]:
    """What is stored in the end, without UIDs and versions."""
    stage = Stage(LosingServer(lost, always_on()))
    for act in (lambda _: None, *SCENARIOS[scenario]):
        act(stage)
        await settle(stage, lives=lives)
    marks = (keys.ANNOTATION_LIVE_GENERATION, keys.ANNOTATION_LIVE_RESTARTS)
    runs = [
        (
            run["status"]["phase"] if has_ended(run) else "alive",
            *(run["metadata"]["annotations"][mark] for mark in marks),
        )
        for run in stage.runs
    ]
    return sorted(runs), stage


class LosingServer(ListingServer):
    def __init__(self, lost: Lost | None, *objects: Object) -> None:
        super().__init__(*objects)
        self._lost = lost

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        lost = self._lost
        if lost is None or lost.happened or len(self.requests) != lost.number:
            return await super().handle_async_request(request)
        lost.happened = True
        if lost.done:
            await super().handle_async_request(request)
        raise httpx.ReadError("the connection broke")


async def settle(stage: Stage, *, lives: bool) -> None:
    """Reconcile, and let the engine end what is canceled, until nothing changes any more."""
    for _ in range(20):
        before = len(stage.server.writes)
        async with open_process(stage.server) as (client, world):
            reconciler, outcome = stage.reconciler(client, world), None
            with suppress(PortError):
                outcome = await reconciler.reconcile(KEY)
            if outcome is None and lives:  # with what it knew before
                with suppress(PortError):
                    outcome = await reconciler.reconcile(KEY)
        canceled = [run for run in stage.runs if run["spec"].get("cancelRequested") and not has_ended(run)]
        for _run in canceled:
            stage.server.end("Finished")
        if outcome is not None and not canceled and len(stage.server.writes) == before:
            return
    raise AssertionError(f"it does not settle: {stage.server.requests[-10:]}")


@pytest.mark.parametrize("lives", [False, True], ids=["dies", "lives"])
@pytest.mark.parametrize("done", [False, True], ids=["not-done", "done"])
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_whichever_answer_is_lost_one_run_is_alive_and_the_end_is_the_same(
    scenario: str, done: bool, lives: bool
) -> None:
    wanted, whole = await play(scenario, None, lives=lives)
    for number in range(60):
        lost = Lost(number, done)
        reached, _ = await play(scenario, lost, lives=lives)
        if not lost.happened:
            break
        assert reached == wanted, f"request {number}: {whole.server.requests[number]}"
    else:
        raise AssertionError("the scenario has more requests than this test tries")
    assert number >= 5


async def test_two_processes_that_decide_on_the_same_state_make_one_run() -> None:
    """A former leader that still writes, and its successor."""
    server = ListingServer(always_on())
    first, second = Stage(server), Stage(server)
    async with open_process(server) as (one, one_world), open_process(server) as (two, two_world):
        await first.reconciler(one, one_world).reconcile(KEY)
        with suppress(PortError):
            await second.reconciler(two, two_world).reconcile(KEY)
    assert len(server.all(STORY_RUN)) == 1


async def test_two_runs_that_are_alive_nevertheless_become_one() -> None:
    story = always_on()
    older = live_run(story, made=NOW - timedelta(minutes=1))
    server = MemoryServer(
        (STORY, STORY_RUN, ENGRAM), stored("Engram", "ears", spec={"mode": "deployment"}), story, older
    )
    server.put({**live_run(story, older), "metadata": {**live_run(story, older)["metadata"], "uid": "u-2"}})
    async with open_process(server) as (client, world):
        await LiveRunReconciler(client, world, RecordedEvents(), clock(), OperatorSettings).reconcile(KEY)
    canceled = [run["metadata"]["uid"] for run in server.all(STORY_RUN) if run["spec"].get("cancelRequested")]
    assert canceled == [older["metadata"]["uid"]]
