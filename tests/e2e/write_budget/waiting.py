"""Runs that wait for longer than the test lasts, each in another way: beside them, nothing may be sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from core.api.resource import STEP_RUN
from tests.e2e.operator_rig import status_of, step
from tests.e2e.write_budget.scenarios import Play, Scene


async def a_sleeping_run(scene: Scene) -> None:
    await scene.story({"name": "rest", "type": "sleep", "with": {"duration": "2h"}})
    await scene.start()
    await scene.step_is("rest", "Paused")


async def a_run_that_awaits_a_condition(scene: Scene) -> None:
    """A condition that depends on the time is looked at every five seconds."""
    until = '{{ gt (now | date "2006" | int) 9000 }}'
    await scene.story({"name": "ready", "type": "wait", "with": {"until": until, "timeout": "2h"}})
    await scene.start()
    await scene.step_is("ready", "Paused")


async def a_run_that_awaits_its_retry(scene: Scene) -> None:
    await scene.engram("work", "exit 137")
    retry = {"maxRetries": 2, "delay": "1h", "maxDelay": "2h"}
    await scene.story({**step("a", "work"), "execution": {"retry": retry}})
    await scene.start()
    await scene.until(STEP_RUN, f"{scene.name}-a", lambda obj: bool(status_of(obj).get("nextRetryAt")))


async def a_queued_run(scene: Scene) -> None:
    """It waits for the slot of another run of its Story, whose container works."""
    await scene.engram("work", "exec sleep 3600")
    await scene.story(step("a", "work"), policy={"concurrency": 1})
    await scene.run("first")
    await scene.until(STEP_RUN, "first-a", lambda obj: status_of(obj).get("phase") == "Running")
    await scene.start()
    await scene.step_is("a", "Pending")


PLAYS: Final[Mapping[str, Play]] = {
    each.__name__: each
    for each in (a_sleeping_run, a_run_that_awaits_a_condition, a_run_that_awaits_its_retry, a_queued_run)
}
"""By the name of the namespace."""
