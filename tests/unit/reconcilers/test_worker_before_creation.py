"""A step waits for a worker before it has a StepRun: for a short time, in line, and only if a worker is ready."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core.api import keys
from core.api.objects import Object
from core.api.resource import STEP_RUN
from core.engine.errors import NoRoomError, UnavailableError
from core.engine.step.assignment import assignment_of
from tests.unit.reconcilers.reconciler_samples import NOW
from tests.unit.reconcilers.worker_scene import WorkerScene, manifest, open_scene, order_for

PATIENCE = 2.0


@asynccontextmanager
async def busy(places: int = 2) -> AsyncIterator[tuple[WorkerScene, list[Object]]]:
    """A pool of one worker that is at work for ``places`` steps, whose StepRuns are given."""
    began = trio.current_time()
    now = lambda: NOW + timedelta(seconds=trio.current_time() - began)  # noqa: E731
    async with open_scene(patience=PATIENCE, now=now) as scene:
        first = await scene.creates("first")
        with pytest.raises(NoRoomError):
            await scene.executor.start(order_for("first", step_run=first))
        scene.ready_worker()
        await scene.executor.start(order_for("first", step_run=first))
        at_work = [await scene.creates(f"w{number}") for number in range(places - 1)]
        assert [scene.assigned_to(each) for each in at_work] == ["w1"] * (places - 1)
        yield scene, [first, *at_work]


async def test_the_step_run_is_created_with_the_place_that_becomes_free(autojump_clock: MockClock) -> None:
    async with busy() as (scene, at_work), trio.open_nursery() as nursery:
        nursery.start_soon(scene.creates, "late")
        await trio.sleep(PATIENCE / 2)
        assert len(scene.server.all(STEP_RUN)) == 2
        assert scene.registry.demand(scene.pool) == 3, "the pool grows for those who wait"
        scene.releases(at_work[1], phase="Succeeded")
        await wait_all_tasks_blocked()
        assert scene.assigned_to(manifest("late")) == "w1"
        assert scene.woken[1:] == [], "its task waits in the executor"


async def test_those_who_wait_are_served_in_their_order(autojump_clock: MockClock) -> None:
    async with busy() as (scene, at_work), trio.open_nursery() as nursery:
        for name in ("a", "b"):
            nursery.start_soon(scene.creates, name)
            await wait_all_tasks_blocked()
        for step_run, name in zip(at_work, ("a", "b"), strict=True):
            scene.releases(step_run, phase="Succeeded")
            await wait_all_tasks_blocked()
            assert scene.assigned_to(manifest(name)) == "w1"


async def test_a_step_that_has_waited_long_has_a_step_run_and_keeps_its_place_in_the_line(
    autojump_clock: MockClock,
) -> None:
    async with busy() as (scene, at_work), trio.open_nursery() as nursery:
        began = trio.current_time()
        early = await scene.creates("early")
        assert trio.current_time() == began + PATIENCE
        assert scene.assigned_to(early) is None
        assert early["metadata"]["labels"] == {keys.LABEL_WORKER_POOL: scene.pool.name}
        nursery.start_soon(scene.creates, "late")
        await wait_all_tasks_blocked()
        with pytest.raises(NoRoomError):
            await scene.executor.start(order_for("early", step_run=early))
        scene.woken.clear()
        scene.releases(at_work[1], phase="Succeeded")
        assert scene.woken == [(("team", "early"), "fetch")], "it has a StepRun, so its task is woken"
        await scene.executor.start(order_for("early", step_run=early))
        assert scene.assigned_to(early) == "w1"
        scene.releases(at_work[0], phase="Succeeded")


async def test_the_time_of_the_step_begins_with_its_assignment(autojump_clock: MockClock) -> None:
    async with busy() as (scene, at_work), trio.open_nursery() as nursery:
        nursery.start_soon(scene.creates, "late")
        await trio.sleep(PATIENCE / 2)
        scene.releases(at_work[1], phase="Succeeded")
        await wait_all_tasks_blocked()
        early, late = (scene.server.objects[("stepruns", "team", f"{name}-fetch")] for name in ("first", "late"))
        ends = [assignment.deadline_at for each in (early, late) if (assignment := assignment_of(each)) is not None]
        assert ends[0] is not None
        assert ends[1] is not None
        assert (ends[1] - ends[0]).total_seconds() == PATIENCE / 2


async def test_a_step_that_is_cancelled_or_cannot_be_created_leaves_the_line(autojump_clock: MockClock) -> None:
    async def refused(added: Object) -> Object:
        raise UnavailableError("the API server does not answer")

    async with busy() as (scene, at_work):
        with trio.move_on_after(PATIENCE / 2):
            await scene.creates("cancelled")
        with pytest.raises(UnavailableError):
            await scene.executor.start(replace(order_for("refused", step_run=manifest("refused")), create=refused))
        assert scene.registry.demand(scene.pool) == 2
        scene.releases(at_work[1], phase="Succeeded")
        assert scene.assigned_to(await scene.creates("next")) == "w1"


async def test_without_a_ready_worker_nothing_is_waited_for(autojump_clock: MockClock) -> None:
    async with open_scene(patience=PATIENCE) as scene:
        began = trio.current_time()
        await scene.creates("first")
        assert trio.current_time() == began
