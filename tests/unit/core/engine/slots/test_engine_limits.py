"""Limits on Engram steps and turns of runs, tested with whole runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.objects import NamespacedName
from core.engine.slots.queueing import SlotLimits
from core.policy.retry import RetryPolicy
from core.policy.settings import OperatorSettings, QueueSettings
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.cluster import Write
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World, open_world


def at_work(world: World) -> int:
    """Number of StepRuns that were created and have not ended. This is what a limit counts."""
    return sum(
        (step_run.get("status") or {}).get("phase") not in ("Succeeded", "Failed", "Canceled", "Timeout")
        for step_run in world.cluster.list("StepRun", "default")
    )


async def watch(world: World, most: list[int]) -> None:
    world.cluster.listeners.append(lambda write: most.append(at_work(world)))


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("limit", ["story", "queue", "global"])
async def test_26_2_27_a_limit_is_never_exceeded_and_the_rest_is_queued(
    autojump_clock: MockClock, scenario: Any, limit: str, restart: bool
) -> None:
    policy = {"concurrency": 2} if limit == "story" else {"queue": "gpu"}
    most: list[int] = []
    async with open_world() as world:
        if limit == "queue":
            world.limits = SlotLimits(queues={"gpu": QueueSettings(concurrency=2)})
        if limit == "global":
            world.limits = SlotLimits(everywhere=2)
        one = scenario(world, [engram(f"s{n}") for n in range(7)], policy=policy)
        other = world.add_run("other", "story")
        await watch(world, most)
        world.start(one.key, other)
        await trio.sleep(0.5)
        messages = [state.get("message", "") for state in one.status["stepStates"].values()]
        if restart:
            await world.kill()
            world.start(one.key, other)
        assert await world.until_ended(one.key, other)
        assert world.crashes == []

    assert max(most) == 2
    assert (
        sum(message.startswith(f"Queued due to {limit} concurrency limit (2 running, limit 2)") for message in messages)
        >= 3
    )
    assert one.status["phase"] == world.status(other)["phase"] == "Succeeded"
    assert trio.current_time() == pytest.approx(7.0, abs=1.5)


async def test_a_parent_that_waits_for_its_child_holds_no_slot(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        world.limits = SlotLimits(everywhere=1)
        world.add_story("child", {"steps": [engram("work")]})
        steps = [primitive(f"sub{n}", "executeStory", with_={"storyRef": {"name": "child"}}) for n in range(3)]
        status = await scenario(world, [*steps, engram("own")]).to_the_end()

    assert status["phase"] == "Succeeded"
    assert trio.current_time() == pytest.approx(4.0, abs=0.5)


@pytest.mark.parametrize("again", [False, True])
async def test_a_run_that_is_deleted_gives_its_slots_back_also_if_it_was_to_run_again(
    autojump_clock: MockClock, scenario: Any, again: bool
) -> None:
    async with open_world({"a": (Script(Act.HANG),)}) as world:
        world.house = OperatorSettings()  # so that a deleted run is there until its children are gone
        one = scenario(world, [engram("a")], policy={"concurrency": 1})
        world.start(one.key)
        await trio.sleep(0.5)
        other = world.add_run("other", "story")
        world.worker.scripts = {}
        if again:
            world.redrive(one.key, "t1")
        world.delete_run(one.key)
        assert await world.until_ended(other, seconds=60)

        assert world.status(other)["phase"] == "Succeeded"


async def test_a_limit_that_is_lifted_counts_at_once(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=500.0),)}) as world:
        world.limits = SlotLimits(everywhere=1)
        one = scenario(world, [engram("a"), engram("b")])
        world.start(one.key)
        await trio.sleep(20)
        assert one.phases["b"] == "Pending"
        world.limits = SlotLimits()
        assert world.slots is not None
        world.slots.limits_changed()
        assert await world.until(lambda: one.phases["b"] == "Succeeded", 2)


@pytest.mark.parametrize("condition", [{}, {"if": "true"}], ids=["no if", "if"])
async def test_a_restart_does_not_take_from_a_queued_step_the_time_that_it_has_waited(
    autojump_clock: MockClock, scenario: Any, condition: dict[str, str]
) -> None:
    async with open_world({"busy": (Script(after_seconds=50.0),)}) as world:
        world.limits = SlotLimits(everywhere=1)
        busy = scenario(world, [engram("busy")])
        world.add_story("queued", {"steps": [engram("work", **condition)]})
        early = world.add_run("early", "queued")
        world.start(busy.key, early)
        await trio.sleep(10)
        late = [world.add_run(f"late-{number}", "queued") for number in range(10)]
        assert world.supervisor is not None
        for key in late:
            world.supervisor.adopt(key)
        await trio.sleep(10)
        await world.kill()
        world.start(busy.key, *late, early)
        assert await world.until_ended(early, *late)

        started = [world.status(key)["stepStates"]["work"]["startedAt"] for key in (early, *late)]
        assert started[0] == min(started)


async def test_the_time_of_a_queued_step_starts_when_it_does(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=50.0),)}) as world:
        world.limits = SlotLimits(everywhere=1)
        one = scenario(world, [engram("a"), engram("b", execution={"timeout": "30s"})])
        status = await one.to_the_end()

    assert status["phase"] == "Succeeded"
    assert status["stepStates"]["b"]["startedAt"] == "2026-01-02T03:04:55Z"


async def test_nothing_is_written_while_a_step_is_queued_and_nothing_changes(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(after_seconds=5000.0),)}) as world:
        world.limits = SlotLimits(everywhere=1)
        one = scenario(world, [engram("a"), engram("b"), engram("c")])
        world.start(one.key)
        await trio.sleep(60)
        before = one.writes()
        await trio.sleep(1000)
        assert one.writes() == before


async def test_a_canceled_run_gives_its_place_and_its_slot_to_others(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=5000.0, grace_seconds=3.0),)}) as world:
        world.limits = SlotLimits(everywhere=1)
        one = scenario(world, [engram("a"), engram("queued")])
        world.add_story("quick", {"steps": [engram("q")]})
        world.start(one.key)
        await trio.sleep(5)
        other = world.add_run("other", "quick")
        world.supervisor.adopt(other)
        await trio.sleep(5)
        assert world.phases(other)["q"] == "Pending"
        world.cancel_run(one.key)
        assert await world.until_ended(one.key, other, seconds=10)

    assert one.phases == {"a": "Canceled", "queued": "Skipped"}
    assert world.status(other)["phase"] == "Succeeded"


async def test_serial_runs_take_turns_and_say_for_whom_they_wait(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=10.0),)}) as world:
        one = scenario(world, [engram("a")], concurrency={"mode": "serial"})
        world.start(one.key)
        await trio.sleep(1.5)
        others = [world.add_run(f"later-{n}", "story") for n in range(2)]
        for other in others:
            world.supervisor.adopt(other)
        await trio.sleep(1.5)
        assert world.status(others[0])["phase"] == "Pending"
        assert world.status(others[0])["message"] == "Waiting for StoryRun run to end; 1st in line"
        assert await world.until_ended(one.key, *others)

    assert trio.current_time() == pytest.approx(30.0, abs=1.0)


@pytest.mark.parametrize(
    "step", [engram("a"), primitive("a", "sleep", with_={"duration": "1s"})], ids=["engram", "sleep"]
)
async def test_a_run_that_has_its_turn_says_so_before_it_makes_anything(
    autojump_clock: MockClock, scenario: Any, step: dict[str, Any]
) -> None:
    """Otherwise, after a crash in between, another run could take the turn, too."""
    async with open_world() as world:
        one = scenario(world, [step], concurrency={"mode": "serial"})
        await one.to_the_end()
        writes = [write for write in world.cluster.history if write.actor == "operator-0"]

    [began] = [write for write in writes if _has_begun(write.new) and not _has_begun(write.old)]
    made = [write for write in writes if write.place[0] in ("StepRun", "Job") or "annotations" in _metadata(write)]
    assert made
    assert all(began.number < write.number for write in made)


def _has_begun(obj: dict[str, Any] | None) -> bool:
    return bool(((obj or {}).get("status") or {}).get("startedAt")) and (obj or {})["kind"] == "StoryRun"


def _metadata(write: Write) -> dict[str, Any]:
    return dict((write.new or {}).get("metadata") or {}) if write.place[0] == "StoryRun" else {}


async def test_the_newest_run_alone_goes_on(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=100.0),)}) as world:
        one = scenario(world, [engram("a")], concurrency={"mode": "cancelPrevious"})
        world.start(one.key)
        await trio.sleep(5)
        newer: NamespacedName = world.add_run("newer", "story")
        world.supervisor.adopt(newer)
        assert await world.until_ended(one.key, newer)

    assert (one.status["phase"], world.status(newer)["phase"]) == ("Finished", "Succeeded")


@pytest.mark.parametrize("edited", [False, True])
async def test_a_run_that_runs_again_from_a_step_waits_for_its_turn(
    autojump_clock: MockClock, scenario: Any, edited: bool
) -> None:
    """It executes the Story as it was when the redrive was requested, even if the Story is edited meanwhile."""
    async with open_world({"b": (Script(after_seconds=10.0),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")], concurrency={"mode": "serial"})
        world.start(one.key)
        assert await world.until_ended(one.key)
        newer = world.add_run("newer", "story")
        world.supervisor.adopt(newer)
        await trio.sleep(5)
        world.redrive_from(one.key, "b", "again")
        world.supervisor.adopt(one.key)
        await trio.sleep(2)
        assert one.status["message"] == "Waiting for StoryRun newer to end; 1st in line"
        if edited:
            world.edit_story("story", {"steps": [engram("a"), engram("c", "a")], "concurrency": {"mode": "serial"}})
        assert await world.until_ended(one.key, newer)

    assert one.phases == {"a": "Succeeded", "b": "Succeeded"}
    assert trio.current_time() == pytest.approx(32.0, abs=1.5)


async def test_a_step_that_is_to_be_tried_again_keeps_its_slot_through_a_crash(
    autojump_clock: MockClock, scenario: Any
) -> None:
    failing = Script(Act.FAIL, exit_code=1, exit_class="retry")
    retrying = {"work": Engram(retry=RetryPolicy(max_retries=1, delay=timedelta(seconds=4)))}
    async with open_world({"a": (failing, Script())}, engrams=retrying) as world:
        one = scenario(world, [engram("a"), engram("b")], policy={"concurrency": 1})
        world.start(one.key)
        await trio.sleep(0.5)
        await world.kill()
        await trio.sleep(2)
        failed = world.step_run(one.key, "a")
        assert failed is not None
        assert failed["status"]["phase"] == "Failed"
        world.start(one.key)
        await trio.sleep(3)
        assert world.step_run(one.key, "b") is None
        assert await world.until_ended(one.key)

    assert one.phases == {"a": "Succeeded", "b": "Succeeded"}


async def test_a_run_that_waits_for_its_story_gives_back_the_slot_of_a_step_that_had_not_begun(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        world.limits = SlotLimits(everywhere=1)
        one = scenario(world, [engram("a")])
        world.add_story("quick", {"steps": [engram("q")]})

        def go_down_before_the_step_begins(write: Write) -> None:
            if write.place[0] == "ControllerRevision" and write.place[2].startswith("story-"):
                world.take_server_down()

        world.cluster.listeners.append(go_down_before_the_step_begins)
        world.start(one.key)
        await trio.sleep(5)
        world.delete_story("story")
        world.redrive_from(one.key, "a", "again")
        world.bring_server_up()
        await trio.sleep(5)
        assert one.status["message"] == "Story default/story does not exist (yet)"
        assert world.step_run(one.key, "a") is None
        other = world.add_run("other", "quick")
        world.supervisor.adopt(other)
        assert await world.until_ended(other, seconds=10)
