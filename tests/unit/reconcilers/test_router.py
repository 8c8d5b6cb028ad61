"""Which runs and controllers an event wakes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from core.api.objects import Object
from core.api.resource import STREAM_DEPLOYMENT, STREAM_STATEFUL_SET, TRANSPORT, TRANSPORT_BINDING, Resource
from core.engine.errors import Definition
from core.ownership.ownership import OwnedKey
from reconcilers.adapters.world import World
from reconcilers.router import connect_engine, connect_streams
from reconcilers.runtime.controller import Controller, ControllerOptions, Key
from reconcilers.runtime.outcome import Done, Outcome
from reconcilers.runtime.watch import connect_controller
from reconcilers.storyrun import WATCHES
from tests.unit.reconcilers.reconciler_samples import (
    RecordingSupervisor,
    job,
    open_world,
    pod,
    run,
    step_run,
    stored,
    story,
)


@dataclass
class Woken:
    """Records what the connected handlers did since the last look."""

    world: World
    supervisor: RecordingSupervisor = field(default_factory=RecordingSupervisor)
    enqueued: list[str] = field(default_factory=list)
    ended_runs: list[str] = field(default_factory=list)
    ended_step_runs: list[str] = field(default_factory=list)
    definitions: list[Definition] = field(default_factory=list)

    def look(self) -> tuple[list[tuple[str, str | None]], list[str]]:
        seen = self.supervisor.woken[:], self.enqueued[:]
        self.supervisor.woken.clear()
        self.enqueued.clear()
        return seen


class NotingController(Controller):
    def __init__(self, notes: list[str]) -> None:
        super().__init__("storyrun", _never, ControllerOptions(1, timedelta(seconds=1), timedelta(seconds=1)))
        self._notes = notes

    def enqueue(self, key: Key) -> None:
        self._notes.append(str(key))


async def _never(key: Key) -> Outcome:
    return Done()


@pytest.fixture
async def woken() -> AsyncIterator[Woken]:
    async with open_world() as (_, world):
        result = Woken(world)
        connect_engine(
            world,
            result.supervisor,
            run_ended=result.ended_runs.append,
            step_run_ended=lambda step_run: result.ended_step_runs.append(step_run["metadata"]["name"]),
            definition_changed=result.definitions.append,
        )
        connect_streams(world, result.supervisor, definition_changed=result.definitions.append)
        connect_controller(WATCHES, world, NotingController(result.enqueued))
        yield result


def changed(obj: Object, *, meta: Object | None = None, **fields: Any) -> Object:
    """A later version of ``obj``."""
    metadata = {**obj["metadata"], "resourceVersion": str(int(obj["metadata"]["resourceVersion"]) + 100_000)}
    return {**obj, "metadata": {**metadata, **(meta or {})}, **fields}


async def test_a_new_run_is_reconciled(woken: Woken) -> None:
    woken.world.story_runs.remember(run())
    assert woken.look() == ([("team/one", None)], ["team/one"])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"meta": {"deletionTimestamp": "2025-01-02T03:04:05Z"}}, id="deletion"),
        pytest.param({"meta": {"generation": 2}, "spec": {"cancelRequested": True}}, id="cancel"),
        pytest.param({"meta": {"annotations": {"storyrun.bubustack.io/redrive-token": "x"}}}, id="redrive"),
        pytest.param(
            {"meta": {"annotations": {"storyrun.bubustack.io/redrive-from-step": "a:x"}}}, id="redrive from a step"
        ),
        pytest.param({"meta": {"labels": {}}}, id="labels"),
        pytest.param({"status": {"phase": "Succeeded"}}, id="end"),
        pytest.param({"status": {"message": "what another leader says"}}, id="message"),
        pytest.param({"status": {"gates": {"a": {"state": "Approved"}}}}, id="gate"),
    ],
)
async def test_what_others_change_about_a_run_wakes_it(woken: Woken, change: Object) -> None:
    first = run()
    woken.world.story_runs.remember(first)
    woken.look()
    woken.world.story_runs.remember(changed(first, **change))
    assert woken.look() == ([("team/one", None)], ["team/one"])


async def test_the_progress_that_a_run_records_wakes_nobody(woken: Woken) -> None:
    first = run(status={"phase": "Running"})
    woken.world.story_runs.remember(first)
    woken.look()
    status = {"phase": "Running", "stepStates": {"a": {"phase": "Running"}}, "stepsComplete": 1}
    woken.world.story_runs.remember(changed(first, status=status))
    timers = {"runs.bubustack.io/step-timers": "{}", "storyrun.bubustack.io/graceful-cancel-observed-at": "now"}
    woken.world.story_runs.remember(changed(changed(first, status=status), meta={"annotations": timers}))
    assert woken.look() == ([], [])


async def test_a_vanished_run_is_told(woken: Woken) -> None:
    first = run()
    woken.world.story_runs.remember(first)
    woken.look()
    woken.world.story_runs.forget("team", "one", first["metadata"]["uid"])
    assert woken.look() == ([("team/one", None)], ["team/one"])


def child_of(parent: Object, path: str = "fan/call", **fields: Any) -> Object:
    annotations = {"runs.bubustack.io/step-path": path} if path else {}
    return run("child", owner=parent, meta={"annotations": annotations}, **fields)


async def test_a_child_run_wakes_its_parents_step_when_it_appears_moves_on_or_goes(woken: Woken) -> None:
    child = child_of(run("parent"))
    woken.world.story_runs.remember(child)
    assert woken.look() == ([("team/child", None), ("team/parent", "fan/call")], ["team/child"])
    child = changed(child, status={"phase": "Running"})
    woken.world.story_runs.remember(child)
    assert woken.look() == ([("team/child", None), ("team/parent", "fan/call")], ["team/child"])
    child = changed(child, meta={"deletionTimestamp": "2025-01-02T03:04:05Z"})
    woken.world.story_runs.remember(child)
    assert woken.look() == ([("team/child", None), ("team/parent", "fan/call")], ["team/child", "team/parent"])
    child = changed(child, meta={"finalizers": ["x"]})
    woken.world.story_runs.remember(child)
    assert woken.look() == ([("team/child", None)], ["team/child"])


async def test_a_child_run_that_is_gone_lets_its_parent_go(woken: Woken) -> None:
    child = child_of(run("parent"))
    woken.world.story_runs.remember(child)
    woken.look()
    woken.world.story_runs.forget("team", "child", child["metadata"]["uid"])
    assert woken.look() == ([("team/child", None), ("team/parent", "fan/call")], ["team/child", "team/parent"])


async def test_what_a_child_run_records_or_is_labelled_with_does_not_wake_its_parent(woken: Woken) -> None:
    child = child_of(run("parent"), status={"phase": "Running"})
    woken.world.story_runs.remember(child)
    woken.look()
    child = changed(child, status={"phase": "Running", "stepStates": {"a": {"phase": "Running"}}})
    woken.world.story_runs.remember(child)
    assert woken.look() == ([], [])
    woken.world.story_runs.remember(changed(child, meta={"labels": {"a": "b"}}))
    assert woken.look() == ([("team/child", None)], ["team/child"])


async def test_a_child_run_of_an_unknown_step_wakes_the_whole_parent(woken: Woken) -> None:
    woken.world.story_runs.remember(child_of(run("parent"), ""))
    assert woken.look()[0] == [("team/child", None), ("team/parent", None)]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param("Running", {"status": {"phase": "Succeeded"}}, True, id="ended"),
        pytest.param("Pending", {"status": {"phase": "Finished"}}, True, id="canceled while it waited"),
        pytest.param("Running", {"meta": {"deletionTimestamp": "2025-01-02T03:04:05Z"}}, True, id="deleted"),
        pytest.param("Pending", {"status": {"phase": "Running"}}, False, id="began"),
        pytest.param("Failed", {"status": {"phase": "Failed", "childrenCleanedAt": "now"}}, False, id="cleaned up"),
        pytest.param("Failed", {"status": {}}, False, id="run again"),
    ],
)
async def test_the_end_of_a_run_is_told_once(woken: Woken, before: str, after: Object, told: bool) -> None:
    first = run(status={"phase": before})
    woken.world.story_runs.remember(first)
    woken.world.story_runs.remember(changed(first, **after))
    assert woken.ended_runs == (["uid-StoryRun-one"] if told else [])


async def test_the_children_of_a_run_that_has_ended_are_looked_after(woken: Woken) -> None:
    parent = run("parent", status={"phase": "Running"})
    woken.world.story_runs.remember(parent)
    woken.world.story_runs.remember(child_of(parent))
    woken.look()
    woken.world.story_runs.remember(changed(parent, status={"phase": "Succeeded"}))
    assert woken.look()[1] == ["team/parent", "team/child"]


async def test_a_run_that_is_gone_without_an_end_is_told_one_that_had_ended_is_not(woken: Woken) -> None:
    for phase in ("Running", "Succeeded"):
        first = run(phase.lower(), status={"phase": phase})
        woken.world.story_runs.remember(first)
        woken.world.story_runs.forget("team", phase.lower(), first["metadata"]["uid"])
    assert woken.ended_runs == ["uid-StoryRun-running"]


async def test_the_end_of_a_step_run_is_told_and_that_it_is_gone(woken: Woken) -> None:
    first = step_run(run(), "fetch")
    woken.world.step_runs.remember(first)
    woken.world.step_runs.remember(changed(first, status={"phase": "Running"}))
    assert woken.ended_step_runs == []
    ended = changed(changed(first), status={"phase": "Failed"})
    woken.world.step_runs.remember(ended)
    woken.world.step_runs.remember(changed(ended, status={"phase": "Failed", "duration": "1s"}))
    assert woken.ended_step_runs == ["one-fetch"]
    woken.world.step_runs.forget("team", "one-fetch", first["metadata"]["uid"])
    assert woken.ended_step_runs == ["one-fetch"] * 2


async def test_a_step_run_wakes_its_step_only(woken: Woken) -> None:
    first = step_run(run(), "fetch")
    woken.world.step_runs.remember(first)
    assert woken.look() == ([("team/one", "fetch")], [])
    woken.world.step_runs.remember(changed(first, status={"phase": "Succeeded"}))
    assert woken.look() == ([("team/one", "fetch")], [])


@pytest.mark.parametrize("phase", ["Running", "Succeeded"])
async def test_what_is_begun_for_a_run_that_has_ended_is_told_to_it(woken: Woken, phase: str) -> None:
    ended = run(status={"phase": "Succeeded", "finishedAt": "2025-01-02T03:04:05Z"})
    woken.world.story_runs.remember(ended)
    woken.look()
    first = step_run(ended, "fetch", status={"phase": phase})
    woken.world.step_runs.remember(first)
    assert woken.look()[1] == (["team/one"] if phase == "Running" else [])
    woken.world.step_runs.remember(changed(first, meta={"labels": {"some": "label"}}))
    assert woken.look()[1] == []


async def test_a_step_run_of_a_branch_wakes_the_branch(woken: Woken) -> None:
    path = {"annotations": {"runs.bubustack.io/step-path": "fan/fetch"}}
    woken.world.step_runs.remember(step_run(run(), "fetch", meta=path))
    assert woken.look() == ([("team/one", "fan/fetch")], [])


async def test_a_step_run_that_goes_lets_its_run_look_after_its_children(woken: Woken) -> None:
    first = step_run(run(), "fetch")
    woken.world.step_runs.remember(first)
    woken.look()
    other = step_run(run(), "other")
    woken.world.step_runs.remember(other)
    woken.look()
    woken.world.step_runs.remember(changed(first, meta={"deletionTimestamp": "2025-01-02T03:04:05Z"}))
    assert woken.look() == ([("team/one", "fetch")], ["team/one"])
    woken.world.step_runs.forget("team", "one-other", other["metadata"]["uid"])
    assert woken.look() == ([("team/one", "other")], ["team/one"])


async def test_jobs_and_pods_wake_the_step_they_work_for(woken: Woken) -> None:
    owner = step_run(run(), "fetch")
    woken.world.step_runs.remember(owner)
    woken.look()
    work = job(owner)
    woken.world.jobs.remember(work)
    assert woken.look() == ([("team/one", "fetch")], [])
    first = pod(work)
    woken.world.pods.remember(first)
    assert woken.look() == ([("team/one", "fetch")], [])
    woken.world.pods.remember(changed(first, status={"phase": "Succeeded"}))
    assert woken.look() == ([("team/one", "fetch")], [])
    woken.world.pods.forget("team", "pod-1", first["metadata"]["uid"])
    assert woken.look() == ([("team/one", "fetch")], [])
    woken.world.jobs.forget("team", "one-fetch", work["metadata"]["uid"])
    assert woken.look() == ([("team/one", "fetch")], [])


@pytest.mark.parametrize(
    "kind", [TRANSPORT_BINDING, STREAM_DEPLOYMENT, STREAM_STATEFUL_SET], ids=lambda kind: kind.kind
)
async def test_what_a_realtime_step_owns_wakes_it(woken: Woken, kind: Resource) -> None:
    owner = step_run(run(), "listen")
    woken.world.step_runs.remember(owner)
    woken.look()
    informer, first = woken.world.informer(kind), stored(kind.kind, "any", owner=owner)
    informer.remember(first)
    assert woken.look() == ([("team/one", "listen")], [])
    informer.remember(changed(first, status={"readyReplicas": 1}))
    assert woken.look() == ([("team/one", "listen")], [])
    informer.remember(stored(kind.kind, "other", owner=stored("Workflow", "w")))
    assert woken.look() == ([], [])


@pytest.mark.parametrize(
    "kind", [TRANSPORT_BINDING, STREAM_DEPLOYMENT, STREAM_STATEFUL_SET], ids=lambda kind: kind.kind
)
async def test_of_many_realtime_steps_only_the_one_whose_object_has_changed_is_woken(
    woken: Woken, kind: Resource
) -> None:
    """Whatever its annotations say: the owner decides."""
    owners = [step_run(run(name), step) for name in ("one", "two") for step in ("listen", "store")]
    informer = woken.world.informer(kind)
    for owner in owners:
        woken.world.step_runs.remember(owner)
        informer.remember(stored(kind.kind, owner["metadata"]["name"], owner=owner))
    woken.look()
    marks = {"annotations": {"bubustack.io/story": "report", "bubustack.io/step": "store"}}
    own = informer.get("team", "two-listen")
    assert own is not None
    informer.remember(changed(own, meta=marks, status={"readyReplicas": 1}))
    assert woken.look() == ([("team/two", "listen")], [])


async def test_the_pod_of_a_realtime_step_wakes_it(woken: Woken) -> None:
    woken.world.step_runs.remember(step_run(run(), "listen"))
    woken.look()
    labels = {"app.kubernetes.io/name": "bobrapet-realtime-runtime", "bubustack.io/steprun": "one-listen"}
    woken.world.pods.remember(stored("Pod", "p", owner=stored("ReplicaSet", "one-listen-5d4"), meta={"labels": labels}))
    assert woken.look() == ([("team/one", "listen")], [])


async def test_a_transport_is_a_definition_that_steps_may_wait_for(woken: Woken) -> None:
    first = stored("Transport", "hub", namespace="", spec={"driver": "a"})
    woken.world.informer(TRANSPORT).remember(first)
    woken.world.informer(TRANSPORT).remember(changed(first, status={"usageCount": 1}))
    assert woken.definitions == [Definition("Transport", "", "hub")]


async def test_objects_of_strangers_wake_nobody(woken: Woken) -> None:
    woken.world.step_runs.remember(stored("StepRun", "lonely", spec={"stepId": "a"}))
    woken.world.step_runs.remember(stored("StepRun", "other", spec={}, owner=stored("Workflow", "w")))
    woken.world.jobs.remember(stored("Job", "job", owner=stored("CronJob", "c")))
    woken.world.jobs.remember(stored("Job", "lost", owner=stored("StepRun", "unknown")))
    woken.world.pods.remember(stored("Pod", "pod"))
    assert woken.look() == ([], [])


WAITS = ([("team/one", None)], ["team/one"])
MAY_WAIT_FOR_ITS_STORY: tuple[list[tuple[str, str]], list[str]] = ([("team/one", "")], [])


@pytest.mark.parametrize(
    ("phase", "looks"),
    [(None, WAITS), ("", WAITS), ("Pending", WAITS), ("Running", MAY_WAIT_FOR_ITS_STORY), ("Succeeded", ([], []))],
)
async def test_a_story_that_appears_wakes_the_runs_that_wait_for_it(woken: Woken, phase: str, looks: Any) -> None:
    woken.world.story_runs.remember(run(status={} if phase is None else {"phase": phase}))
    woken.world.story_runs.remember(run("other", "another"))
    woken.look()
    woken.world.stories.remember(story())
    assert woken.look() == looks


async def test_an_edited_story_wakes_the_runs_that_wait_and_its_counts_do_not(woken: Woken) -> None:
    woken.world.story_runs.remember(run())
    first = story()
    woken.world.stories.remember(first)
    woken.look()
    woken.world.stories.remember(changed(first, status={"triggers": 1}))
    assert woken.look() == ([], [])
    woken.world.stories.remember(changed(changed(first), meta={"generation": 2}))
    assert woken.look() == ([("team/one", None)], ["team/one"])


async def test_what_a_story_says_of_how_long_runs_are_kept_counts_at_once_for_those_that_have_ended(
    woken: Woken,
) -> None:
    woken.world.story_runs.remember(run(status={"phase": "Succeeded"}))
    woken.world.story_runs.remember(run("other", "another", status={"phase": "Succeeded"}))
    first = story()
    woken.world.stories.remember(first)
    woken.look()
    kept = {"policy": {"execution": {"job": {"storyRunRetentionSeconds": 60}}}}
    edited = changed(first, meta={"generation": 2}, spec=first["spec"] | kept)
    woken.world.stories.remember(edited)
    assert woken.look() == ([], ["team/one"])
    woken.world.stories.remember(changed(edited, meta={"generation": 3}))
    assert woken.look() == ([], [])
    woken.world.stories.forget("team", "report", first["metadata"]["uid"])
    assert woken.look() == ([], ["team/one"])


async def test_steps_that_wait_for_a_definition_hear_that_it_appears_or_changes(woken: Woken) -> None:
    world = woken.world
    engram = stored("Engram", "http", spec={"templateRef": {"name": "http-1"}})
    world.engrams.remember(engram)
    world.engrams.remember(changed(engram, status={"usageCount": 1}))
    assert woken.definitions == [Definition("Engram", "team", "http")], "its status lets no step continue"
    world.engrams.remember(changed(changed(engram), meta={"generation": 2}))
    world.engram_templates.remember(stored("EngramTemplate", "http-1", namespace="", spec={"image": "http"}))
    world.reference_grants.remember(stored("ReferenceGrant", "open", spec={}))
    assert woken.definitions[1:] == [
        Definition("Engram", "team", "http"),
        Definition("EngramTemplate", "", "http-1"),
        Definition("ReferenceGrant", "team", ""),
    ]
    assert woken.look() == ([], [])


async def test_what_concerns_a_run_of_another_process_wakes_nobody_here_but_its_end_is_heard() -> None:
    class NotOne:
        def owns(self, key: OwnedKey) -> bool:
            return key != ("team", "one")

    async with open_world() as (_, world):
        here = Woken(world)
        connect_engine(
            world,
            here.supervisor,
            run_ended=here.ended_runs.append,
            step_run_ended=lambda step_run: here.ended_step_runs.append(step_run["metadata"]["name"]),
            definition_changed=here.definitions.append,
            ownership=NotOne(),
        )
        elsewhere = run()
        world.story_runs.remember(run("two"))
        world.story_runs.remember(elsewhere)
        world.step_runs.remember(step_run(elsewhere))
        assert here.look() == ([("team/two", None)], [])
        world.story_runs.remember(changed(elsewhere, status={"phase": "Succeeded"}))
        assert here.look() == ([], [])
        assert here.ended_runs == [elsewhere["metadata"]["uid"]]
