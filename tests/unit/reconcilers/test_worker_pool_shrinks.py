"""A pool that has needed fewer workers for its idle time loses those that are too many, and never one at work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
import trio
from trio.testing import MockClock

from core.api.objects import Object
from core.api.resource import WORKER_POD
from core.engine.errors import DeniedError, NoRoomError
from reconcilers.runtime.outcome import After, Done
from tests.unit.reconcilers.memory_server import Request, refused
from tests.unit.reconcilers.pool_trial import PoolTrial, open_trial
from tests.unit.reconcilers.worker_scene import manifest, order_for

IDLE_SECONDS = 60


@pytest.fixture
async def trial() -> AsyncIterator[PoolTrial]:
    async with open_trial() as made:
        yield made


async def grown(trial: PoolTrial) -> list[Object]:
    """A pool at its upper bound: three ready workers with two steps each. The steps alternate: w3, w2, w1, w3, …"""
    waiting = [await trial.asks(f"r{number}") for number in range(6)]
    await trial.looks()
    assert trial.scene.replicas == 3
    for name in ("w1", "w2", "w3"):
        trial.scene.ready_worker(name)
    for number, step_run in enumerate(waiting):
        await trial.scene.executor.start(order_for(f"r{number}", step_run=step_run))
    assert [trial.scene.assigned_to(each) for each in waiting] == ["w3", "w2", "w1", "w3", "w2", "w1"]
    await trial.looks()
    return waiting


async def test_the_idle_workers_go_when_fewer_were_enough_for_the_idle_time(
    trial: PoolTrial, autojump_clock: MockClock
) -> None:
    steps = await grown(trial)
    for step_run in (steps[0], steps[3], steps[1], steps[4], steps[2]):
        trial.ends(step_run)
    assert await trial.looks() == After(timedelta(seconds=IDLE_SECONDS))
    await trio.sleep(IDLE_SECONDS - 1)
    assert await trial.looks() == After(timedelta(seconds=1))
    assert trial.workers == {"w1", "w2", "w3"}
    await trio.sleep(1)
    patches = trial.patches
    assert await trial.looks() == Done()
    assert trial.workers == {"w1"}
    assert (trial.scene.replicas, trial.patches - patches) == (1, 1)
    assert await trial.looks() == Done()
    assert trial.patches - patches == 1


async def test_a_pod_is_deleted_before_the_number_shrinks(trial: PoolTrial, autojump_clock: MockClock) -> None:
    """Else Kubernetes would choose another one, too."""
    steps = await grown(trial)
    for step_run in (steps[0], steps[3]):
        trial.ends(step_run)
    await trial.looks()
    await trio.sleep(IDLE_SECONDS)
    before = len(trial.scene.server.writes)
    await trial.looks()
    assert [verb for verb, *_ in trial.scene.server.writes[before:]] == ["DELETE", "PATCH"]
    assert (trial.workers, trial.scene.replicas) == ({"w1", "w2"}, 2)


async def test_the_most_that_was_needed_in_that_time_stays(trial: PoolTrial, autojump_clock: MockClock) -> None:
    steps = await grown(trial)
    for step_run in (steps[0], steps[3], steps[1], steps[4], steps[2]):
        trial.ends(step_run)
    await trial.looks()
    await trio.sleep(IDLE_SECONDS / 2)
    short = [await trial.begins(f"short-{number}") for number in range(2)]
    for step_run in short:
        trial.ends(step_run)
    await trio.sleep(IDLE_SECONDS / 2)
    await trial.looks()
    assert (len(trial.workers), trial.scene.replicas) == (2, 2)
    assert await trial.looks() == After(timedelta(seconds=IDLE_SECONDS)), "the time begins anew"
    await trio.sleep(IDLE_SECONDS)
    await trial.looks()
    assert (trial.workers, trial.scene.replicas) == ({"w1"}, 1)


async def test_a_worker_at_work_takes_nothing_new_and_goes_when_it_is_idle(
    trial: PoolTrial, autojump_clock: MockClock
) -> None:
    steps = await grown(trial)
    for step_run in steps[3:]:
        trial.ends(step_run)  # each worker has one step
    await trial.looks()
    await trio.sleep(IDLE_SECONDS)
    patches = trial.patches
    assert await trial.looks() == Done()
    assert trial.workers == {"w1", "w2", "w3"}
    assert trial.patches == patches, "two workers are enough, and none is idle"
    trial.ends(steps[1])
    trial.ends(steps[2])
    assert trial.scene.assigned_to(await trial.begins("next")) in {"w2", "w3"}, "w1 is to go, the first by name"
    await trial.looks()
    assert (len(trial.workers), trial.scene.replicas) == (2, 2)
    assert trial.scene.assigned_to(steps[0]) in trial.workers


async def test_more_steps_bring_a_worker_back_that_was_to_go(trial: PoolTrial, autojump_clock: MockClock) -> None:
    steps = await grown(trial)
    for step_run in steps[3:]:
        trial.ends(step_run)
    await trial.looks()
    await trio.sleep(IDLE_SECONDS)
    await trial.looks()
    assert [trial.scene.assigned_to(await trial.begins(f"n{number}")) for number in range(2)] == ["w3", "w2"]
    waits = trial.scene.hears(manifest("waits"))
    with pytest.raises(NoRoomError):
        await trial.scene.executor.start(order_for("waits", step_run=waits))
    trial.scene.woken.clear()
    assert await trial.looks() == Done()
    assert [key.name for key, _ in trial.scene.woken] == ["waits"]
    await trial.scene.executor.start(order_for("waits", step_run=waits))
    assert trial.scene.assigned_to(waits) == "w1"
    assert (len(trial.workers), trial.scene.replicas) == (3, 3)


async def test_a_worker_that_is_not_ready_goes_first(trial: PoolTrial, autojump_clock: MockClock) -> None:
    steps = await grown(trial)
    for step_run in (steps[0], steps[3]):
        trial.ends(step_run)
    for step_run in (steps[2], steps[5]):
        trial.ends(step_run)
    trial.scene.worker("w3", ready=False)
    await trial.begins("r6")
    await trial.looks()
    await trio.sleep(IDLE_SECONDS)
    await trial.looks()
    assert (trial.workers, trial.scene.replicas) == ({"w1", "w2"}, 2)


async def test_a_pod_that_is_gone_already_was_replaced_by_one_that_is_not_ready(
    trial: PoolTrial, autojump_clock: MockClock
) -> None:
    steps = await grown(trial)
    for step_run in (steps[0], steps[3]):
        trial.ends(step_run)
    await trial.looks()
    await trio.sleep(IDLE_SECONDS)
    [pod] = [each for (kind, _, name), each in trial.scene.server.objects.items() if (kind, name) == ("pods", "w3")]
    trial.scene.server.remove(pod)  # the watch is late
    await trial.looks()
    assert (trial.workers, trial.scene.replicas) == ({"w1", "w2"}, 2)


async def test_the_end_of_a_pod_may_change_the_deployment_before_the_number_shrinks(
    trial: PoolTrial, autojump_clock: MockClock
) -> None:
    steps = await grown(trial)
    for step_run in (steps[0], steps[3]):
        trial.ends(step_run)
    await trial.looks()
    await trio.sleep(IDLE_SECONDS)

    def one_is_not_available(request: Request) -> None:
        if request == ("DELETE", "pods"):
            trial.deployment_changes()

    trial.scene.server.after = one_is_not_available
    assert await trial.looks() == Done()
    assert (trial.workers, trial.scene.replicas) == ({"w1", "w2"}, 2)


async def test_nothing_is_taken_away_while_pods_are_being_replaced(trial: PoolTrial, autojump_clock: MockClock) -> None:
    steps = await grown(trial)
    for step_run in (steps[0], steps[3]):
        trial.ends(step_run)
    await trial.looks()
    trial.scene.worker("w4", ready=False)
    await trio.sleep(IDLE_SECONDS)
    assert await trial.looks() == Done()
    assert (len(trial.workers), trial.scene.replicas) == (4, 3)


async def test_a_worker_that_is_ending_gets_nothing_also_when_all_are_needed_again(
    trial: PoolTrial, autojump_clock: MockClock
) -> None:
    steps = await grown(trial)
    [pod] = [each for each in trial.scene.server.all(WORKER_POD) if each["metadata"]["name"] == "w3"]
    trial.scene.hears({**pod, "metadata": {**pod["metadata"], "finalizers": ["test/slow-to-end"]}})
    for step_run in (steps[0], steps[3]):
        trial.ends(step_run)
    await trial.looks()
    await trio.sleep(IDLE_SECONDS)
    await trial.looks()
    assert (trial.workers, trial.scene.replicas) == ({"w1", "w2", "w3"}, 2)
    await trial.asks("waits")
    assert await trial.looks() == Done()
    assert trial.scene.replicas == 3
    await trial.asks("waits too")


async def test_a_pool_without_any_step_goes_as_a_whole(trial: PoolTrial, autojump_clock: MockClock) -> None:
    for step_run in await grown(trial):
        trial.ends(step_run)
    await trial.looks()
    await trio.sleep(IDLE_SECONDS)
    before = len(trial.scene.server.writes)
    await trial.looks()
    assert [verb for verb, *_ in trial.scene.server.writes[before:]] == ["PATCH"]
    assert trial.scene.replicas == 0


async def forbids_to_delete_pods(request: Request) -> httpx.Response | None:
    await trio.lowlevel.checkpoint()
    if request != ("DELETE", "pods"):
        return None
    code, status = refused("Forbidden", 'pods "w3" is forbidden: User "u" cannot delete resource "pods"')
    return httpx.Response(code, json=status)


async def test_without_the_right_to_delete_pods_the_rest_goes_on(trial: PoolTrial, autojump_clock: MockClock) -> None:
    steps = await grown(trial)
    for step_run in (steps[0], steps[3]):
        trial.ends(step_run)
    await trial.looks()
    await trio.sleep(IDLE_SECONDS)
    trial.scene.server.before = forbids_to_delete_pods
    with pytest.raises(DeniedError):
        await trial.looks()
    assert (len(trial.workers), trial.scene.replicas) == (3, 3)
