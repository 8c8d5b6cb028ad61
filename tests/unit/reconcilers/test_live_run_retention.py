"""An ended run of a Story that is always on stays as long as it is what says that the Story rests."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from core.api.objects import Object
from core.policy.settings import OperatorSettings, RunSettings
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import Outcome
from reconcilers.runtime.watch import connect
from reconcilers.storyrun import WATCHES, StoryRunReconciler
from tests.unit.reconcilers.live_run_samples import always_on, live_run
from tests.unit.reconcilers.memory_server import open_process
from tests.unit.reconcilers.reconciler_samples import NOW, RecordingSupervisor, clock, open_world
from tests.unit.reconcilers.test_live_run import ListingServer

AT_ONCE = replace(OperatorSettings(), runs=RunSettings(retention_seconds=-1))


def over(story: Object, before: Object | None = None, phase: str = "Succeeded") -> Object:
    return live_run(story, before, phase=phase, made=NOW - timedelta(days=9), lived=timedelta(seconds=1))


async def retired(server: ListingServer, run: Object) -> bool:
    """Whether the run is deleted."""
    async with open_process(server) as (client, world):
        reconciler = StoryRunReconciler(client, world, RecordingSupervisor(), clock(), lambda: AT_ONCE)
        outcome: Outcome = await reconciler.reconcile(Key.of(run))
        assert outcome is not None
    return ("storyruns", "team", run["metadata"]["name"]) not in server.objects


@pytest.mark.parametrize("phase", ["Succeeded", "Finished", "Failed"])
async def test_the_newest_ended_run_stays(phase: str) -> None:
    story = always_on()
    run = over(story, phase=phase)
    assert not await retired(ListingServer(story, run), run)


async def test_an_ended_run_with_a_successor_goes() -> None:
    story = always_on()
    run = over(story, phase="Failed")
    assert await retired(ListingServer(story, run, live_run(story, run, restarts=1)), run)


@pytest.mark.parametrize("story", [always_on(2), always_on(1, streamingStrategy="PerStoryRun"), always_on(uid="s-2")])
async def test_an_ended_run_of_an_earlier_story_goes(story: Object) -> None:
    run = over(always_on())
    assert await retired(ListingServer(story, run), run)


async def test_a_successor_and_an_edit_of_the_story_wake_the_ended_run() -> None:
    story = always_on()
    run = over(story)
    async with open_world() as (_, world):
        world.story_runs.remember(run)
        world.stories.remember(story)
        heard: set[Key] = set()
        connect(WATCHES, world, lambda key, _: heard.add(key))
        world.story_runs.remember(live_run(always_on(2), run))
        assert Key.of(run) in heard
        heard.clear()
        world.stories.remember(always_on(2))
        assert Key.of(run) in heard
