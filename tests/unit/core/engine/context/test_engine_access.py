"""When the engine ensures the access of a run's containers: at the start, and after a restart before the next Job."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.objects import Object
from core.engine.calls import Pace
from core.engine.context.access import RunAccess
from core.engine.errors import RejectedError
from core.engine.executors import Executors
from core.engine.ports import AttemptOrder
from fuzz.engine.adapters import ModelStepRuns
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.definitions import apply_engram
from fuzz.engine.model_jobs import ModelJobExecutor
from fuzz.engine.world import World, open_world


class WatchedExecutor(ModelJobExecutor):
    """Records the calls it gets, in order."""

    asked: list[str]

    async def prepare_run(self, run: Object, story: Object) -> None:
        self.asked.append("prepare")
        await super().prepare_run(run, story)

    async def start(self, order: AttemptOrder) -> None:
        self.asked.append(f"start {order.step['name']}")
        await super().start(order)


def watch(world: World) -> list[str]:
    """Start an engine. The returned list records the calls to its executor."""
    world.start()
    context = world.supervisor._engine
    able = context.step_runs
    assert isinstance(able, ModelStepRuns)
    executor = WatchedExecutor(able.cluster, able.process, able)
    executor.asked = []
    object.__setattr__(context, "executors", Executors([executor]))
    return executor.asked


async def test_a_new_run_gets_it_once_before_its_first_job(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a"), engram("b", "a")])
        asked = watch(world)
        world.supervisor.adopt(one.key)
        assert await world.until_ended(one.key)
    assert asked == ["prepare", "start a", "start b"]


async def test_an_engram_that_is_applied_late_may_need_more(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a"), engram("b", "a", ref="late"), engram("c", "b")])
        asked = watch(world)
        world.supervisor.adopt(one.key)
        await trio.sleep(5)
        apply_engram(world.cluster, "late")
        assert await world.until_ended(one.key)
    assert asked == ["prepare", "start a", "prepare", "start b", "start c"]


async def test_a_run_that_sleeps_is_taken_up_again_without_asking(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [primitive("nap", "sleep", **{"with": {"duration": "60s"}}), engram("after", "nap")])
        world.start(one.key)
        assert await world.until(lambda: one.phases.get("nap") == "Paused")
        await world.kill()
        asked = watch(world)
        world.supervisor.adopt(one.key)
        await trio.sleep(30)
        assert asked == []
        assert await world.until_ended(one.key)
    assert asked == ["prepare", "start after"]


async def test_a_run_with_a_step_at_work_is_looked_at_at_once(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        assert await world.until(lambda: world.step_run(one.key, "a") is not None and one.status.get("startedAt"))
        await world.kill()
        asked = watch(world)
        world.supervisor.adopt(one.key)
        assert await world.until_ended(one.key)
    assert asked[0] == "prepare"
    assert asked.count("prepare") == 1


class Asked:
    """The part of an engine that ``RunAccess`` needs. It refuses the first ``refusals`` calls."""

    def __init__(self, refusals: int = 0) -> None:
        self.calls = 0
        self.refusals = refusals
        self.executors = self

    async def prepare_run(self, run: Object, story: Object) -> None:
        self.calls += 1
        await trio.sleep(1)
        if self.calls <= self.refusals:
            raise RejectedError("no")


def access_of(engine: Any) -> RunAccess:
    return RunAccess(engine, {}, {}, lambda: Pace(lambda: 0.0))


async def test_steps_that_start_together_ask_once(autojump_clock: MockClock) -> None:
    engine = Asked()
    access = access_of(engine)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(access.ensure)
    assert engine.calls == 1


async def test_after_a_refusal_the_next_step_asks_again(autojump_clock: MockClock) -> None:
    engine = Asked(refusals=1)
    access = access_of(engine)
    with pytest.raises(RejectedError):
        await access.ensure()
    await access.ensure()
    await access.ensure()
    assert engine.calls == 2
