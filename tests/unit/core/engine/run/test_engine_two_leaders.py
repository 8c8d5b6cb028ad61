"""Two processes both believe that they lead, and one gets events late: neither undoes the work of the other."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.keys import ANNOTATION_STEP_TIMERS
from core.engine.slots.queueing import SlotLimits
from core.engine.step.timers import timers_from
from fuzz.engine import model_jobs
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.watches import Delivery
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import EPOCH, World, open_world
from kubewire import copy_value

SLOW_TO_GO = (Script(Act.HANG, grace_seconds=0.1),)


def jobs_of(world: World, step: str) -> int:
    """How many Jobs were created for the step."""
    return sum(
        write.verb == "create" and write.place[0] == "Job" and write.object["spec"]["step"] == step
        for write in world.cluster.history
    )


def start_both(world: World, one: Any, **lags: float) -> None:
    """Start both. The first gets events at once but acts slowly. The second gets events late: ``lags``, by kind."""
    world.second_lags = lags
    world.start_twin(one.key)
    world.start(one.key, latency=0.2)


async def test_what_one_ends_for_a_cancel_the_other_does_not_start_again(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": SLOW_TO_GO}) as world:
        one = scenario(world, [engram("a")], **{"finally": [engram("sweep")]})
        start_both(world, one, StoryRun=5.0, StepRun=5.0)
        await trio.sleep(20)
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)
        await world.quiet()

    assert (jobs_of(world, "a"), jobs_of(world, "sweep")) == (1, 1)
    assert one.phases == {"a": "Canceled", "sweep": "Succeeded"}


async def test_without_the_question_whether_its_run_was_canceled_it_would_be(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_jobs, "is_asked_to_end", lambda seen, stored: False)
    async with open_world({"a": SLOW_TO_GO}) as world:
        one = scenario(world, [engram("a")])
        start_both(world, one, StoryRun=5.0, StepRun=5.0)
        await trio.sleep(20)
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)
        await world.quiet()

    assert jobs_of(world, "a") > 1


async def test_both_sleep_until_the_instant_that_was_stored_first(autojump_clock: MockClock, scenario: Any) -> None:
    """The first begins at 1.5 s, but it gets news of the run before it can store the instant it waits for."""
    async with open_world(deliveries={0: Delivery.LOST}) as world:
        one = scenario(world, [primitive("nap", "sleep", with_={"duration": "800ms"})])
        spec = world.cluster.objects["Story", "default", "story"]["spec"]
        world.delete_story("story")
        world.second_lags = {"Story": 0.6}
        world.start_twin(one.key)
        world.twins[0].watches.deliveries = {}
        await trio.sleep(0.5)
        world.start(one.key)
        world.cluster.force_patch("user", ("StoryRun", *one.key), "metadata", {"labels": {"seen": "by-the-second"}})
        await trio.sleep(1)
        world.add_story("story", spec)
        assert await world.until_ended(one.key, seconds=60)
        ended_at = trio.current_time()
        await world.quiet()

    runs = [write.new for write in world.cluster.history if write.place[0] == "StoryRun" and write.new is not None]
    kept = [timers_from((run["metadata"].get("annotations") or {}).get(ANNOTATION_STEP_TIMERS)) for run in runs]
    [timer] = {timers["nap"] for timers in kept if timers}
    assert ended_at >= (timer.at - EPOCH).total_seconds() > 2.6


async def test_what_has_begun_here_is_ended_when_another_has_ended_the_run(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": SLOW_TO_GO}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("a") == "Running")
        ended = {"phase": "Failed", "finishedAt": "2026-01-02T03:04:06Z"}
        world.cluster.force_patch("another operator", ("StoryRun", *one.key), "status", ended)
        assert await world.until(lambda: phase_of_step(world, one, "a") == "Canceled", seconds=10)
        await world.quiet()

    assert jobs_of(world, "a") == 1
    assert ("Job", "default", "run-a") not in world.cluster.objects
    assert world.step_run(one.key, "b") is None
    assert one.status | ended == one.status
    assert world.crashes == []


async def test_a_step_that_waits_for_a_slot_goes_on_when_another_has_begun_it(
    autojump_clock: MockClock, scenario: Any
) -> None:
    """A step that the other process started runs whatever the limits are, and its end is noticed without delay."""
    async with open_world({"a": (Script(after_seconds=500.0),)}) as world:
        world.limits = SlotLimits(everywhere=1)
        one = scenario(world, [engram("a"), engram("b"), engram("c", "b")])
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("b") == "Pending", seconds=20)
        begun = copy_value(world.step_run(one.key, "a"))
        begun["metadata"]["name"], begun["spec"]["stepId"] = "run-b", "b"
        world.cluster.create("another operator", begun)
        reported = {"phase": "Succeeded", "output": {"n": 1}}
        world.cluster.force_patch("sdk", ("StepRun", "default", "run-b"), "status", reported)
        assert await world.until(lambda: one.phases.get("b") == "Succeeded", seconds=2)
        waits = {"a": "Running", "b": "Succeeded", "c": "Pending"}
        assert await world.until(lambda: one.phases == waits, seconds=2)
        await trio.sleep(30)
        assert one.phases == waits

    assert (jobs_of(world, "b"), jobs_of(world, "c")) == (0, 0)


@pytest.mark.parametrize("known", [True, False])
async def test_what_a_leader_has_begun_that_did_not_live_to_hear_of_the_end_is_ended_by_the_next(
    autojump_clock: MockClock, scenario: Any, known: bool
) -> None:
    """``known``: whether the StepRun exists when the next leader starts, or appears later."""
    async with open_world({"a": SLOW_TO_GO}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key, everything=True)
        assert await world.until(lambda: one.phases.get("a") == "Running")
        await world.kill()
        ended = {"phase": "Failed", "finishedAt": "2026-01-02T03:04:06Z"}
        world.cluster.force_patch("another operator", ("StoryRun", *one.key), "status", ended)
        place = ("StepRun", "default", "run-a")
        stored = world.cluster.objects[place]
        if not known:
            del world.cluster.objects[place]
        world.start(everything=True)
        await world.quiet()
        if not known:
            world.cluster.objects[place] = stored
            world.cluster.force_patch("another operator", place, "metadata", {"labels": {"late": "yes"}})
        assert await world.until(lambda: phase_of_step(world, one, "a") == "Canceled", seconds=10)
        await world.quiet()

    assert ("Job", "default", "run-a") not in world.cluster.objects
    assert one.status | ended == one.status
    assert [told[1] for told in world.events.told].count("StartingExecution") == 1
    assert world.crashes == []


async def test_what_an_operator_of_the_reference_has_left_behind_stays_as_it_is(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()
        await world.kill()
        place = ("StepRun", "default", "run-a")
        world.cluster.force_patch("bobrapet", place, "status", {"conditions": None})
        before = world.cluster.objects[place]
        world.start(everything=True)
        await trio.sleep(60)

    assert world.cluster.objects[place] is before
    assert world.crashes == []


def phase_of_step(world: World, one: Any, step: str) -> Any:
    return ((world.step_run(one.key, step) or {}).get("status") or {}).get("phase")
