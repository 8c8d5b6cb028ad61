"""A right is missing: the run names it and waits. When the right is granted, the run continues normally."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.conditions import find_condition
from core.api.objects import Object
from core.engine.errors import DeniedError
from core.engine.executor_port import StopReason
from core.engine.executors import Executors
from core.engine.ports import AttemptOrder
from fuzz.engine.adapters import ModelStepRuns
from fuzz.engine.canonical import engram
from fuzz.engine.model_jobs import ModelJobExecutor
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World, open_world

LACKING = 'jobs.batch is forbidden: User "operator" cannot create resource "jobs" in the namespace "default"'


class UnprivilegedExecutor(ModelJobExecutor):
    """Lacks a right until ``granted_at``."""

    denied: str = ""
    granted_at: float = 100.0
    refusals: int = 0

    async def prepare_run(self, run: Object, story: Object) -> None:
        self._check("prepare_run")
        await super().prepare_run(run, story)

    async def start(self, order: AttemptOrder) -> None:
        self._check(str(order.step["name"]))
        await super().start(order)

    async def stop(self, step_run: Object, why: StopReason) -> None:
        self._check(why.name)
        await super().stop(step_run, why)

    def _check(self, what: str) -> None:
        if what == self.denied and trio.current_time() < self.granted_at:
            self.refusals += 1
            raise DeniedError(LACKING)


def deny(world: World, what: str) -> UnprivilegedExecutor:
    world.start()
    context = world.supervisor._engine
    able = context.step_runs
    assert isinstance(able, ModelStepRuns)
    executor = UnprivilegedExecutor(able.cluster, able.process, able)
    executor.denied = what
    object.__setattr__(context, "executors", Executors([executor]))
    return executor


def said(status: Object, type_: str) -> tuple[Any, ...]:
    condition = find_condition(status["conditions"], type_)
    assert condition is not None
    return condition["status"], condition["reason"], condition["message"]


async def test_a_run_that_cannot_be_prepared_is_pending_and_says_what_is_lacking(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        executor = deny(world, "prepare_run")
        world.supervisor.adopt(one.key)
        await trio.sleep(50)
        assert (one.status["phase"], one.status["message"]) == ("Pending", LACKING)
        assert said(one.status, "Ready") == ("False", "PermissionDenied", LACKING)
        assert said(one.status, "Degraded") == ("True", "PermissionDenied", LACKING)
        assert "startedAt" not in one.status
        assert await world.until_ended(one.key)
        await world.quiet()

    assert 5 < executor.refusals < 20
    assert one.status["phase"] == "Succeeded"
    assert said(one.status, "Degraded")[0] == "False"
    assert "PermissionDenied" not in str(one.status)
    assert world.crashes == []


async def test_only_the_step_that_lacks_a_right_waits(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a"), engram("b")])
        deny(world, "a")
        world.supervisor.adopt(one.key)
        await trio.sleep(50)
        assert one.phases == {"a": "Running", "b": "Succeeded"}
        assert one.status["phase"] == "Running"
        assert said(one.status, "Ready") == ("False", "PermissionDenied", f"step a: {LACKING}")
        assert said(one.status, "Degraded") == ("True", "PermissionDenied", f"step a: {LACKING}")
        assert await world.until_ended(one.key)
        await world.quiet()

    assert one.phases == {"a": "Succeeded", "b": "Succeeded"}
    assert said(one.status, "Degraded")[0] == "False"
    assert "PermissionDenied" not in str(one.status)


async def test_waiting_for_a_right_costs_no_status_writes(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        deny(world, "prepare_run")
        world.supervisor.adopt(one.key)
        await trio.sleep(10)
        before = one.writes("StoryRun")
        await trio.sleep(80)
        assert one.writes("StoryRun") == before == 1


async def test_a_process_that_takes_over_does_not_believe_a_refusal_of_before(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        deny(world, "a")
        world.supervisor.adopt(one.key)
        await trio.sleep(20)
        assert one.status["message"] == f"step a: {LACKING}"
        await world.kill()
        world.start(one.key)
        assert await world.until_ended(one.key)
        await world.quiet()

    assert one.status["phase"] == "Succeeded"
    assert "PermissionDenied" not in str(one.status)


@pytest.mark.parametrize("what", ["prepare_run", "a"])
async def test_a_run_that_waits_for_a_right_can_be_canceled(
    autojump_clock: MockClock, scenario: Any, what: str
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        executor = deny(world, what)
        executor.granted_at = 1e9
        world.supervisor.adopt(one.key)
        await trio.sleep(20)
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)
        await world.quiet()

    assert one.status["phase"] == "Finished"
    assert "PermissionDenied" not in str(one.status)


async def test_a_canceled_step_is_ended_even_when_its_time_to_drain_has_long_been_over(
    autojump_clock: MockClock, scenario: Any
) -> None:
    """A Job that nobody ends would outlive its run."""
    async with open_world({"a": (Script(Act.HANG),)}) as world:
        one = scenario(world, [engram("a")])
        executor = deny(world, StopReason.END.name)
        world.supervisor.adopt(one.key)
        await trio.sleep(3)
        world.cancel_run(one.key)
        assert await world.until_ended(one.key)

    assert executor.refusals > 1
    assert trio.current_time() >= executor.granted_at
    assert one.phases == {"a": "Canceled"}
    assert ("Job", "default", "run-a") not in world.cluster.objects
