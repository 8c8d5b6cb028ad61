"""A run is released while it executes: this process writes nothing more for it, and another process continues it."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock

from core.api.objects import NamespacedName
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.shards import FIRST_SHARD, SECOND_SHARD
from fuzz.engine.worker import Script
from fuzz.engine.world import World, open_world


def writes_by(world: World, number: int) -> int:
    """Number of writes of one process; processes are counted from 0 in the order of their start."""
    return sum(write.actor == f"operator-{number}" for write in world.cluster.history)


async def hand_over(world: World, key: NamespacedName) -> None:
    """Hand the run over from the first process to a second one, and start the second one for it."""
    first = world.incarnations[0]
    world.shards.give(key, None)
    await first.release(key)
    world.start(key, shard=SECOND_SHARD)
    world.shards.give(key, SECOND_SHARD)
    world.incarnations[-1].adopt(key)


async def test_a_released_run_is_left_as_it_is_until_it_is_adopted_again(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world({"a": (Script(after_seconds=3),)}) as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        world.start(one.key)
        await trio.sleep(1)
        before = one.writes()
        world.shards.give(one.key, None)
        await world.supervisor.release(one.key)

        assert trio.current_time() == 1.0
        assert not world.supervisor.is_adopted(one.key)
        assert world.supervisor._adopted == {}
        await trio.sleep(9)
        assert one.writes() == before

        world.shards.give(one.key, FIRST_SHARD)
        world.supervisor.adopt(one.key)
        assert await world.until_ended(one.key)
    assert one.phases == {"a": "Succeeded", "b": "Succeeded"}
    assert [step for step, _, _ in world.worker.ran] == ["a", "b"]


async def test_another_process_goes_on_where_the_first_has_left_it(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=3),)}) as world:
        one = scenario(world, [engram("a"), primitive("nap", "sleep", "a", with_={"duration": "5s"})])
        world.start(one.key)
        await trio.sleep(1)
        await hand_over(world, one.key)
        written = writes_by(world, 0)
        assert await world.until_ended(one.key)

        assert (trio.current_time(), one.status["attempts"]) == (8.0, 1)
        assert (writes_by(world, 0), world.crashes) == (written, [])
        assert writes_by(world, 1) > 0


async def test_what_was_sent_is_answered_before_a_release_is_over(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        world.start(one.key, latency=0.3)
        assert await world.until(lambda: world.step_run(one.key, "a") is not None)
        before = trio.current_time()
        world.shards.give(one.key, None)
        await world.supervisor.release(one.key)

        assert trio.current_time() > before
        assert world.processes[-1].on_the_wire == []
        written = one.writes()
        await trio.sleep(60)
        assert one.writes() == written


async def test_who_is_late_to_let_go_writes_nothing(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [primitive("nap", "sleep", with_={"duration": "5s"}), engram("a", "nap")])
        world.start(one.key)
        await trio.sleep(1)
        written = writes_by(world, 0)
        world.shards.give(one.key, None, let_go=False)
        await trio.sleep(60)

        assert writes_by(world, 0) == written
        assert one.phases == {"nap": "Paused"}
        await world.incarnations[0].release(one.key)
        world.shards.give(one.key, FIRST_SHARD)
        world.incarnations[0].adopt(one.key)
        assert await world.until_ended(one.key)
    assert one.status["phase"] == "Succeeded"


async def test_a_run_of_another_process_is_not_adopted(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        world.shards.give(one.key, SECOND_SHARD)
        world.start(one.key)
        world.supervisor.adopt(one.key)
        await trio.sleep(60)

        assert (one.status, one.writes()) == ({}, 0)
        assert not world.supervisor.is_adopted(one.key)


async def test_releasing_what_nobody_has_adopted_changes_nothing(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.start()
        await world.supervisor.release(NamespacedName("default", "ghost"))
        await world.quiet()
        assert world.supervisor.statistics().runs_alive == 0


async def test_a_run_that_was_adopted_and_released_at_once_is_never_begun(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await world.supervisor.release(one.key)
        await trio.sleep(60)
        assert one.writes() == 0


async def test_a_run_that_is_adopted_while_it_is_let_go_is_taken_up_again(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        world.start(one.key, latency=0.3)
        assert await world.until(lambda: world.step_run(one.key, "a") is not None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.supervisor.release, one.key)
            await world.quiet()
            world.supervisor.adopt(one.key)
        assert await world.until_ended(one.key)
    assert one.phases == {"a": "Succeeded", "b": "Succeeded"}


async def test_the_slots_of_a_released_run_go_to_others(autojump_clock: MockClock) -> None:
    async with open_world({"a": (Script(after_seconds=30),)}) as world:
        world.add_story("story", {"steps": [engram("a")], "policy": {"concurrency": 1}})
        one, two = world.add_run("one", "story"), world.add_run("two", "story")
        world.start(one, two)
        await trio.sleep(1)
        first, second = (one, two) if world.step_run(one, "a") is not None else (two, one)
        assert world.step_run(second, "a") is None
        await world.supervisor.release(first)
        await trio.sleep(1)

        assert world.step_run(second, "a") is not None
        assert world.slots is not None
        assert world.slots.running() == {"default": 1}


async def test_runs_elsewhere_fill_no_slots_here(autojump_clock: MockClock) -> None:
    async with open_world({"a": (Script(after_seconds=30),)}) as world:
        world.add_story("story", {"steps": [engram("a")], "policy": {"concurrency": 1}})
        one, two = world.add_run("one", "story"), world.add_run("two", "story")
        world.shards.give(two, SECOND_SHARD)
        world.start(one)
        await trio.sleep(1)
        world.start(two, shard=SECOND_SHARD)
        await trio.sleep(1)
        assert world.step_run(two, "a") is not None


async def test_the_turn_of_a_released_run_is_kept_by_what_is_stored(autojump_clock: MockClock) -> None:
    async with open_world({"a": (Script(after_seconds=5),)}) as world:
        world.add_story("story", {"steps": [engram("a")], "concurrency": {"mode": "serial"}})
        one = world.add_run("one", "story")
        world.start(one, everything=True)
        await trio.sleep(1)
        two = world.add_run("two", "story")
        await trio.sleep(0.5)
        await world.supervisor.release(one)
        await trio.sleep(20)
        assert world.status(two)["phase"] == "Pending"

        world.supervisor.adopt(one)
        assert await world.until_ended(one, two)
    assert [step for step, _, _ in world.worker.ran] == ["a", "a"]
