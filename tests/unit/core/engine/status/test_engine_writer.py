"""The writer of a run when its writes fail, while reads always succeed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.objects import Object
from core.engine.errors import PortError, StaleError, UnavailableError
from fuzz.engine.adapters import ModelRunStore
from fuzz.engine.canonical import engram
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
