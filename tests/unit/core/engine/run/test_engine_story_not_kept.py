"""A run in progress whose Story has changed, and whose stored copy of the Story was deleted."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.conditions import find_condition
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.worker import Script
from fuzz.engine.world import open_world

SLOW = {"a": (Script(after_seconds=60.0),)}


def ready(status: dict[str, Any]) -> tuple[str, str]:
    found = find_condition(status["conditions"], "Ready")
    assert found is not None
    return str(found["reason"]), str(found["message"])


async def test_it_goes_on_by_the_story_as_it_is_while_that_fits(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world(SLOW) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        assert await world.until(lambda: one.phases == {"a": "Running"})
        await world.kill()
        world.delete_revisions()
        world.edit_story("story", {"steps": [engram("a"), engram("b", "a")]})
        status = await one.to_the_end()

    assert status["phase"] == "Succeeded"
    assert one.phases == {"a": "Succeeded", "b": "Succeeded"}


async def test_it_waits_for_its_story_and_goes_on_as_soon_as_that_is_there(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world(SLOW) as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        spec = world.cluster.objects["Story", "default", "story"]["spec"]
        world.start(one.key)
        assert await world.until(lambda: one.phases == {"a": "Running"})
        await world.kill()
        world.delete_story("story")
        world.delete_revisions()
        world.start(one.key)
        await trio.sleep(100)
        assert (one.status["phase"], ready(one.status)[0]) == ("Running", "StoryNotFound")
        written_over = {"message": "Executing the steps of the Story"}
        world.cluster.force_patch("another operator", ("StoryRun", *one.key), "status", written_over)
        assert await world.until(lambda: one.status["message"] == "Story default/story does not exist (yet)", seconds=1)
        world.add_story("story", spec)
        assert await world.until(lambda: one.phases == {"a": "Succeeded", "b": "Running"}, seconds=2)


@pytest.mark.parametrize(
    ("steps", "astray"),
    [
        ([engram("b")], "a, nap"),
        ([primitive("a", "condition"), primitive("nap", "sleep", with_={"duration": "10s"})], "a"),
    ],
    ids=["gone", "of another kind"],
)
async def test_it_ends_with_all_that_has_begun_when_the_story_does_not_fit(
    autojump_clock: MockClock, scenario: Any, steps: list[dict[str, Any]], astray: str
) -> None:
    async with open_world(SLOW) as world:
        one = scenario(world, [engram("a"), primitive("nap", "sleep", with_={"duration": "500s"})])
        world.start(one.key)
        assert await world.until(lambda: one.phases == {"a": "Running", "nap": "Paused"})
        await world.kill()
        world.delete_revisions()
        world.edit_story("story", {"steps": steps})
        status = await one.to_the_end()
        step_run = world.step_run(one.key, "a")
        assert step_run is not None

    assert (status["phase"], ready(status)[0]) == ("Failed", "InvalidConfiguration")
    assert f"missing or different in the present Story: {astray}; start a new run" in ready(status)[1]
    assert (one.phases["a"], one.phases["nap"]) == ("Canceled", "Canceled")
    assert step_run["status"]["phase"] == "Canceled"
    assert trio.current_time() < 60.0


async def test_it_ends_as_canceled_when_that_was_asked_for_before(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world(SLOW) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        assert await world.until(lambda: one.phases == {"a": "Running"})
        await world.kill()
        world.delete_revisions()
        world.edit_story("story", {"steps": [engram("b")]})
        world.cancel_run(one.key)
        status = await one.to_the_end()

    assert (status["phase"], ready(status)[0]) == ("Finished", "Canceled")
    assert one.phases == {"a": "Canceled", "b": "Skipped"}


async def test_a_story_that_is_deleted_changes_nothing_for_its_runs(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world(SLOW) as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        world.start(one.key)
        assert await world.until(lambda: one.phases == {"a": "Running"})
        await world.kill()
        world.delete_story("story")
        status = await one.to_the_end()

    assert status["phase"] == "Succeeded"
