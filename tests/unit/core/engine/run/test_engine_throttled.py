"""An attempt waits until its writes are allowed: its step says so, nothing is degraded, and then it starts."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock

from core.api.conditions import find_condition
from core.engine.errors import ThrottledError
from core.engine.executors import Executors
from core.engine.ports import AttemptOrder
from fuzz.engine.adapters import ModelStepRuns
from fuzz.engine.canonical import engram
from fuzz.engine.model_jobs import ModelJobExecutor
from fuzz.engine.world import open_world


class ThrottlingExecutor(ModelJobExecutor):
    """Starts nothing before second 20."""

    refusals: int = 0

    async def start(self, order: AttemptOrder) -> None:
        if (left := 20.0 - trio.current_time()) > 0:
            self.refusals += 1
            raise ThrottledError("waits for its turn", retry_after_seconds=left)
        await super().start(order)


async def test_a_step_that_is_throttled_says_so_until_it_starts(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        world.start()
        context = world.supervisor._engine
        able = context.step_runs
        assert isinstance(able, ModelStepRuns)
        executor = ThrottlingExecutor(able.cluster, able.process, able)
        object.__setattr__(context, "executors", Executors([executor]))
        world.supervisor.adopt(one.key)
        await trio.sleep(10)
        state = one.status["stepStates"]["a"]
        assert (state["phase"], state["reason"]) == ("Blocked", "BindingThrottled")
        assert state["message"] == "waits for its turn"
        degraded = find_condition(one.status["conditions"], "Degraded") or {}
        assert degraded["status"] == "False"
        writes = len(world.cluster.history)
        await trio.sleep(5)
        assert len(world.cluster.history) == writes
        assert await world.until_ended(one.key)
        await world.quiet()

    assert 1 <= executor.refusals < 6, "only what happens around it wakes it earlier"
    assert one.status["phase"] == "Succeeded"
    assert "BindingThrottled" not in str(one.status)
    assert world.crashes == []
