"""What happens to the container of a step whose end is recorded. One that ends by itself keeps its Job and its logs."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from core.engine.step.record import is_final
from fuzz.engine.canonical import engram
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import open_world


async def test_a_failure_that_its_sdk_reports_leaves_its_job_with_what_it_has_logged(
    autojump_clock: MockClock, scenario: Any
) -> None:
    slow_to_exit = (Script(Act.FAIL, 1.0, exit_code=1, exit_class="terminal", exit_lag_seconds=0.5),)
    async with open_world({"a": slow_to_exit}) as world:
        one = scenario(world, [engram("a")])
        await one.to_the_end()

    assert one.phases == {"a": "Failed"}
    assert world.cluster.objects[("Job", "default", "run-a")]["metadata"].get("deletionTimestamp") is None


@pytest.mark.parametrize("leaves", [True, False])
async def test_after_a_crash_a_container_has_a_while_to_leave_before_it_is_told_to(
    autojump_clock: MockClock, scenario: Any, leaves: bool
) -> None:
    """After the crash, nobody knows whether the step timed out or its SDK reported a failure."""
    lag = 2.0 if leaves else 60.0
    failed = (Script(Act.FAIL, 1.0, exit_code=1, exit_class="terminal", exit_lag_seconds=lag),)
    async with open_world({"a": failed, "b": (Script(after_seconds=30.0),)}) as world:
        one = scenario(world, [engram("a"), engram("b")], policy={"retries": {"continueOnStepFailure": True}})
        world.start(one.key)
        assert await world.until(lambda: is_final((world.step_run(one.key, "a") or {}).get("status") or {}))
        await world.kill()
        world.start(one.key)
        assert await world.until_ended(one.key)

    assert one.phases == {"a": "Failed", "b": "Succeeded"}
    assert (("Job", "default", "run-a") in world.cluster.objects) is leaves
