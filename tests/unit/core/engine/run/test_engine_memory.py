"""What a run holds in memory while it waits: StepRuns may be large, and thousands of steps wait at once."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from core.api.objects import Object
from core.engine.ports import Observation
from fuzz.engine.adapters import ModelRunStore
from fuzz.engine.canonical import engram, primitive
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


MARK = "key-of-the-story"


def specs_held() -> int:
    gc.collect()
    return sum(MARK in each for each in gc.get_objects() if type(each) is dict)


@pytest.mark.parametrize("spec", [{}, {"concurrency": {"mode": "serial"}}], ids=["at work", "in a queue"])
async def test_live_runs_of_a_story_hold_its_values_once(
    autojump_clock: MockClock, scenario: Any, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read of a large Story returns a copy."""

    async def read_copy(self: ModelRunStore, namespace: str, name: str) -> Object | None:
        return copy.deepcopy(await read_story(self, namespace, name))

    read_story = ModelRunStore.read_story
    monkeypatch.setattr(ModelRunStore, "read_story", read_copy)
    steps = [primitive("ask", "gate"), primitive("big", "condition", "ask", with_={MARK: [1, 2, 3]})]
    held = []
    for runs in (2, 7):
        async with open_world({}) as world:
            keys = [scenario(world, steps, **spec).key]
            keys += [world.add_run(f"other-{number}", "story") for number in range(1, runs)]
            world.start(*keys)
            await trio.sleep(5)
            started = [key for key in keys if world.status(key)["phase"] == "Running"]
            assert len(started) == (1 if spec else runs)
            held.append(specs_held())
    assert held[0] == held[1]
