"""Which runs are alive, and that trouble in one run does not affect another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.conditions import find_condition
from core.api.objects import NamespacedName, Object
from core.engine.errors import RejectedError
from core.engine.ports import Binding
from fuzz.engine.adapters import ModelBindings, ModelRunStore
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World, open_world


class PoisonedBindings(ModelBindings):
    """A bug in the middle of one run: binding a step of ``poisoned`` raises an error that no port may raise."""

    poisoned: str = ""
    bites: int = 0

    async def bind(self, run: Object, story: Object, step: Mapping[str, Any]) -> Binding:
        if run["metadata"]["name"] == self.poisoned:
            self.bites += 1
            raise KeyError("a bug")
        return await super().bind(run, story, step)


def poison(world: World, name: str) -> PoisonedBindings:
    """Start an engine whose binding of steps has a bug that affects one run."""
    world.start()
    engine = world.supervisor._engine
    assert isinstance(engine.bindings, ModelBindings)
    bindings = PoisonedBindings(engine.bindings.cluster, engine.bindings.process, engine.bindings.engrams)
    bindings.poisoned = name
    object.__setattr__(engine, "bindings", bindings)
    return bindings


async def test_adopting_again_changes_nothing(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        world.start(one.key, one.key)
        for _ in range(3):
            world.supervisor.adopt(one.key)
        assert await world.until_ended(one.key)
        await world.quiet()

        assert world.supervisor.statistics().runs_alive == 0
    assert len(world.worker.ran) == 1


async def test_a_finished_run_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.add_story("story", {"steps": [engram("a"), engram("b", "a")]})
        keys = [world.add_run(f"run-{number}", "story") for number in range(50)]
        world.start(*keys)
        await trio.sleep(1.5)
        assert world.supervisor.statistics().runs_alive == 50
        assert world.supervisor.statistics().steps_at_work == 50
        assert await world.until_ended(*keys)
        await world.quiet()

        assert (world.supervisor.statistics().runs_alive, world.supervisor.statistics().steps_at_work) == (0, 0)
        assert world.supervisor._adopted == {}


async def test_waking_a_run_nobody_adopted_is_ignored(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.start()
        world.supervisor.wake(NamespacedName("default", "ghost"))
        world.supervisor.wake(NamespacedName("default", "ghost"), "a")
        world.supervisor.adopt(NamespacedName("default", "ghost"))
        await world.quiet()

        assert world.supervisor.statistics().runs_alive == 0


async def test_a_bug_in_one_run_is_told_and_touches_no_other(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.add_story("story", {"steps": [engram("a")]})
        keys = [world.add_run(name, "story") for name in ("good", "bad", "fine")]
        poison(world, "bad")
        for key in keys:
            world.supervisor.adopt(key)
        assert await world.until_ended(keys[0], keys[2])

        assert trio.current_time() == 1.0
        degraded = find_condition(world.status(keys[1])["conditions"], "Degraded")
        assert degraded is not None
        assert (degraded["status"], degraded["reason"]) == ("True", "EngineError")
        assert "a bug" not in degraded["message"]
        assert find_condition(world.status(keys[1])["conditions"], "Ready") is not None
        assert len(world.crashes) == world.supervisor.statistics().scope_crashes > 0
        assert "EngineError" in [reason for _, reason, _ in world.events.told]


async def test_a_crashing_scope_is_restarted_ever_less_often_and_writes_its_condition_once(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        world.add_story("story", {"steps": [engram("a")]})
        key = world.add_run("bad", "story")
        bindings = poison(world, "bad")
        world.supervisor.adopt(key)
        await trio.sleep(3600)
        writes = sum(write.actor.startswith("operator") for write in world.cluster.history)
        at_first = bindings.bites
        await trio.sleep(3600)

        assert 15 <= at_first <= 22  # 1, 2, 4, … 256, then every 300 s
        assert bindings.bites - at_first == 12
        assert sum(write.actor.startswith("operator") for write in world.cluster.history) == writes


async def test_a_run_goes_on_when_the_bug_is_gone_and_its_condition_heals(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.add_story("story", {"steps": [engram("a")]})
        key = world.add_run("bad", "story")
        bindings = poison(world, "bad")
        world.supervisor.adopt(key)
        await trio.sleep(10)
        bindings.poisoned = ""
        assert await world.until_ended(key)

    degraded = find_condition(world.status(key)["conditions"], "Degraded")
    assert world.status(key)["phase"] == "Succeeded"
    assert degraded is not None
    assert degraded["status"] == "False"


async def test_a_poisoned_run_can_still_be_canceled(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.add_story("story", {"steps": [engram("a")]})
        key = world.add_run("bad", "story")
        poison(world, "bad")
        world.supervisor.adopt(key)
        await trio.sleep(10)
        world.cancel_run(key)
        assert await world.until_ended(key)

    assert world.status(key)["phase"] == "Finished"


async def test_stopping_the_process_writes_nothing_and_ends_no_run(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=5),)}) as world:
        one = scenario(world, [engram("a"), primitive("nap", "sleep", with_={"duration": "9s"})])
        world.start(one.key)
        await trio.sleep(3)
        before = len(world.cluster.history)
        await world.stop()
        await trio.sleep(1)
        assert len(world.cluster.history) == before
        assert trio.current_time() == 4.0
        await one.to_the_end()

    assert trio.current_time() == 9.0
    assert one.status["attempts"] == 1


async def test_a_write_in_flight_is_awaited_when_the_process_stops(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        world.start(one.key, latency=0.3)
        assert await world.until(lambda: world.step_run(one.key, "a") is not None)
        await world.stop()

    assert world.step_run(one.key, "a") is not None
    assert world.processes[-1].on_the_wire == []


async def test_nothing_is_adopted_after_draining(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        world.start()
        await world.stop()
        world.supervisor.adopt(one.key)
        await trio.sleep(5)

        assert one.status == {}
        assert world.supervisor.statistics().runs_alive == 0


async def test_whoever_ends_later_than_the_supervisor_may_still_hand_runs_over(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        world.start()
        await world.quiet()
        world.kill_nowait()
        for _ in range(20):  # at every moment of its end
            world.supervisor.adopt(one.key)
            await trio.lowlevel.checkpoint()
        await world.gone()

        assert world.supervisor.statistics().runs_alive == 0
        assert not world.supervisor.is_adopted(one.key)


async def test_a_deleted_run_is_let_go_without_a_write(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(Act.HANG),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(5)
        world.cluster.force_patch("user", ("StoryRun", *one.key), "metadata", {"finalizers": ["example.com/keep"]})
        world.delete_run(one.key)
        writes = one.writes()
        await trio.sleep(60)

        assert one.writes() == writes
        assert world.supervisor.statistics().runs_alive == 0


async def test_a_namesake_created_after_a_delete_is_another_run(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=5),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(2)
        world.cluster.delete("user", ("StoryRun", *one.key))
        world.add_run("run", "story")
        world.supervisor.adopt(one.key)
        assert await world.until_ended(one.key)

    assert trio.current_time() == 7.0
    assert one.status["phase"] == "Succeeded"


async def test_a_refused_status_is_told_and_retried_ever_less_often(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    async def refuse(self: ModelRunStore, run: Object, patch: Mapping[str, Any]) -> Object:
        nonlocal calls
        calls += 1
        raise RejectedError("status.message is too long")

    async with open_world() as world:
        one = scenario(world, [engram("a")])
        monkeypatch.setattr(ModelRunStore, "patch_run_status", refuse)
        world.start(one.key)
        await trio.sleep(600)

        assert calls < 40
        assert "EngineError" in [reason for _, reason, _ in world.events.told]


async def test_a_supervisor_runs_once(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.start()
        await world.quiet()
        with pytest.raises(RuntimeError, match="running already"):
            await world.supervisor.run()


@pytest.mark.parametrize(
    ("steps", "at_most"),
    [
        ([engram("a")], 4 + 2),
        ([engram("a"), engram("b", "a")], 2 * 4 + 3),
        ([engram("a"), engram("b"), engram("c"), engram("d")], 4 * 4 + 3),
        ([engram("a"), engram("b", "a"), engram("c", "b"), engram("d", "c")], 4 * 4 + 5),
        ([primitive("a", "condition"), primitive("b", "condition", "a")], 2),
        ([primitive("a", "sleep", with_={"duration": "5s"})], 4),
    ],
    ids=["one", "chain of two", "four at once", "chain of four", "conditions", "sleep"],
)
async def test_a_step_costs_four_writes_and_a_run_one_per_wave_and_one(
    autojump_clock: MockClock, scenario: Any, steps: list[Any], at_most: int
) -> None:
    async with open_world() as world:
        one = scenario(world, steps)
        await one.to_the_end()

    kept_once_for_all_runs = one.writes("ControllerRevision")
    assert kept_once_for_all_runs == 1
    assert one.writes() - kept_once_for_all_runs <= at_most


async def test_nothing_is_read_or_written_while_nothing_happens(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=3000),)}) as world:
        one = scenario(
            world,
            [engram("a"), primitive("nap", "sleep", with_={"duration": "1h"}), engram("b", "a")],
            policy={"timeouts": {"story": "2h"}},
        )
        process = world.start(one.key)
        await trio.sleep(60)
        before = process.calls, one.writes()
        await trio.sleep(1200)

        assert (process.calls, one.writes()) == before


async def test_a_successor_does_not_wait_for_the_write_that_records_its_predecessor(
    autojump_clock: MockClock, scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., Awaitable[Object]] = ModelRunStore.patch_run_status

    async def slowly(self: ModelRunStore, run: Object, patch: Mapping[str, Any]) -> Object:
        await trio.sleep(20)
        return await original(self, run, patch)

    async with open_world() as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        monkeypatch.setattr(ModelRunStore, "patch_run_status", slowly)
        world.start(one.key)
        assert await world.until(lambda: world.step_run(one.key, "b") is not None)

        assert trio.current_time() == 1.0


async def test_a_run_that_lasts_shows_soon_that_it_runs(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=10),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(0.3)

        assert one.status["phase"] == "Running"
