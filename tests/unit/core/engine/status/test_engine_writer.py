"""The writer of a run when its writes fail, while reads always succeed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.objects import Object
from core.engine.errors import PortError, StaleError, UnavailableError
from fuzz.engine.adapters import ModelRunStore
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.worker import Script
from fuzz.engine.world import open_world


class RefusingRunStore(ModelRunStore):
    """Refuses status writes until ``able_at``. Reads come from the cache and never fail."""

    able_at: float = 30.0
    refusals: int = 0
    error: PortError

    async def patch_run_status(self, run: Object, patch: Mapping[str, Any]) -> Object:
        if trio.current_time() < self.able_at:
            self.refusals += 1
            raise self.error
        return await super().patch_run_status(run, patch)


@pytest.mark.parametrize(
    ("error", "most", "late_seconds"),
    [
        pytest.param(StaleError("another version is stored"), 60, 3, id="another version, and no watch tells it"),
        pytest.param(UnavailableError("no answer"), 15, 16, id="the server is down"),
    ],
)
async def test_a_write_that_fails_again_and_again_is_tried_less_and_less(
    autojump_clock: MockClock, scenario: Any, error: PortError, most: int, late_seconds: float
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        process = world.start()
        context = world.supervisor._engine
        store = RefusingRunStore(world.cluster, process)
        store.error = error
        object.__setattr__(context, "runs", store)
        world.supervisor.adopt(one.key)
        assert await world.until_ended(one.key)
        ended_at = trio.current_time()

    assert 5 < store.refusals < most
    assert store.able_at <= ended_at < store.able_at + late_seconds


async def test_a_leader_that_comes_late_goes_on_under_the_revision_that_another_has_begun_with(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        world.start(one.key, latency=0.4)  # it stores the copy of the Story, but not its name yet
        await trio.sleep(1.7)
        world.edit_story("story", {"steps": [engram("b")]})
        world.start(one.key)
        assert await world.until_ended(one.key)
        status = world.status(one.key)
        revisions = {
            (write.new.get("status") or {}).get("storyRevision")
            for write in world.cluster.history
            if write.place[0] == "StoryRun" and write.new is not None
        }

    assert one.phases == {"b": "Succeeded"}
    assert revisions == {None, status["storyRevision"]}


async def test_a_process_that_stops_does_not_wait_for_the_next_try_of_a_refused_write(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        process = world.start()
        context = world.supervisor._engine
        store = RefusingRunStore(world.cluster, process)
        store.error, store.able_at = UnavailableError("no answer"), 1000.0
        object.__setattr__(context, "runs", store)
        world.supervisor.adopt(one.key)
        await trio.sleep(60)
        tries, asked_at = store.refusals, trio.current_time()
        await world.stop()

    assert tries > 8  # by now, the next one is many seconds away
    assert store.refusals == tries
    assert trio.current_time() - asked_at < 1


def status_writes(world: Any) -> list[float]:
    """When the engine has written the status of the run, in seconds since its start."""
    start = world.cluster.history[0].at
    writes = [write for write in world.cluster.history if write.place[0] == "StoryRun" and write.verb != "create"]
    return [(write.at - start).total_seconds() for write in writes if write.actor.startswith("operator")]


async def test_short_steps_in_a_row_share_writes(autojump_clock: MockClock, scenario: Any) -> None:
    """Ten steps of 0.3 s: the start, the end, and one write a second between them."""
    names = [f"s{number}" for number in range(10)]
    needs = [(), *((name,) for name in names)]
    async with open_world(dict.fromkeys(names, (Script(after_seconds=0.3),))) as world:
        one = scenario(world, [engram(name, *before) for name, before in zip(names, needs, strict=False)])
        world.start(one.key)
        assert await world.until_ended(one.key)
        found = status_writes(world)

    assert len(found) <= 2 + 3
    assert all(later - earlier > 0.99 for earlier, later in itertools.pairwise(found[:-1]))


@pytest.mark.parametrize(("seconds", "writes"), [(0.2, 1), (0.4, 2)])
async def test_a_run_that_is_over_within_a_moment_needs_one_write(
    autojump_clock: MockClock, scenario: Any, seconds: float, writes: int
) -> None:
    async with open_world({"a": (Script(after_seconds=seconds),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        assert await world.until_ended(one.key)
        found = status_writes(world)

    assert len(found) == writes


async def test_a_change_after_a_calm_time_is_shown_at_once(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=5.0),), "b": (Script(after_seconds=5.0),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        world.start(one.key)
        assert await world.until(lambda: one.phases == {"a": "Succeeded", "b": "Running"}, seconds=5.5)
        assert await world.until_ended(one.key)
        found = status_writes(world)

    assert len(found) == 3


async def test_what_a_step_relies_on_is_stored_without_a_pause(autojump_clock: MockClock, scenario: Any) -> None:
    """The instant of the second sleep is stored as soon as the first has ended, less than a second after the start."""
    naps = [
        primitive("a", "sleep", with_={"duration": "300ms"}),
        primitive("b", "sleep", "a", with_={"duration": "1h"}),
    ]
    async with open_world() as world:
        one = scenario(world, naps)
        world.start(one.key)
        await trio.sleep(0.5)
        run = world.cluster.objects["StoryRun", one.key.namespace, one.key.name]

    assert '"b"' in run["metadata"]["annotations"]["runs.bubustack.io/step-timers"]
