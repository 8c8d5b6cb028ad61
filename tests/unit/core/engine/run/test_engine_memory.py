"""What a run holds in memory while it waits: StepRuns may be large, and thousands of steps wait at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import trio
from trio.testing import MockClock

from core.engine.ports import Observation
from fuzz.engine.canonical import engram
from fuzz.engine.worker import Script
from fuzz.engine.world import open_world


def tasks_below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    yield task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from tasks_below(child)


def step_runs_held() -> list[str]:
    """Variables of engine tasks that hold a StepRun."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    return [
        f"{frame.f_code.co_qualname}: {name}"
        for task in tasks_below(root)
        for frame, _ in task.iter_await_frames()
        if "/core/engine/" in frame.f_code.co_filename
        for name, value in frame.f_locals.items()
        if is_step_run(value)
    ]


def is_step_run(value: Any) -> bool:
    if isinstance(value, Observation):
        return value.step_run is not None
    return isinstance(value, dict) and value.get("kind") == "StepRun"


async def test_a_step_that_waits_for_its_container_holds_no_step_run(autojump_clock: MockClock, scenario: Any) -> None:
    async with open_world({"a": (Script(after_seconds=50.0),)}) as world:
        one = scenario(world, [engram("a")])
        world.start(one.key)
        await trio.sleep(20)
        assert one.phases == {"a": "Running"}
        assert step_runs_held() == []
        assert await world.until_ended(one.key)
