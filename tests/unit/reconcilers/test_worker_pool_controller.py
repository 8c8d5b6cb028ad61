"""The size of a pool follows the work, goes to zero after the idle time, and nothing is written while all is quiet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from core.api import keys
from core.api.objects import Object
from core.api.resource import SERVICE_ACCOUNT, WORKER_DEPLOYMENT
from core.engine.errors import NoRoomError, StaleError
from core.kube.informer import Change
from core.kube.store import ChangeKind
from reconcilers.adapters.world import World
from reconcilers.registration import ControllerDependencies
from reconcilers.runtime.controller import Controller, ControllerOptions, Key
from reconcilers.runtime.outcome import After, Done, Outcome
from reconcilers.worker_pool import CONTROLLER, KEPT_EMPTY
from tests.unit.reconcilers.pool_trial import PoolTrial, open_trial
from tests.unit.reconcilers.worker_scene import NAMESPACE, manifest, order_for


@pytest.fixture
async def trial() -> AsyncIterator[PoolTrial]:
    async with open_trial() as made:
        yield made


async def test_replicas_follow_the_steps_up_to_the_bound(trial: PoolTrial) -> None:
    steps = [await trial.asks(f"r{number}") for number in range(2)]
    assert (await trial.looks(), trial.scene.replicas) == (Done(), 1)
    assert trial.patches == 0
    steps += [await trial.asks(f"r{number}") for number in range(2, 4)]
    assert (await trial.looks(), trial.scene.replicas) == (Done(), 2)
    steps += [await trial.asks(f"r{number}") for number in range(4, 20)]
    assert (await trial.looks(), trial.scene.replicas) == (Done(), 3)
    assert trial.patches == 2


async def test_an_idle_pool_loses_its_workers_with_one_write(trial: PoolTrial, autojump_clock: MockClock) -> None:
    step_run = await trial.asks("one")
    trial.ends(step_run)
    outcome = await trial.looks()
    assert isinstance(outcome, After)
    assert outcome.delay.total_seconds() == 60
    await trio.sleep(59)
    assert isinstance(await trial.looks(), After)
    assert trial.patches == 0
    await trio.sleep(1)
    assert await trial.looks() == After(KEPT_EMPTY)
    assert (trial.scene.replicas, trial.patches) == (0, 1)
    for _ in range(3):
        await trial.looks()
    assert trial.patches == 1


async def test_work_in_between_begins_the_idle_time_anew(trial: PoolTrial, autojump_clock: MockClock) -> None:
    trial.ends(await trial.asks("one"))
    await trial.looks()
    await trio.sleep(50)
    second = await trial.asks("two")
    await trial.looks()
    trial.ends(second)
    await trio.sleep(30)
    assert await trial.looks() == After(timedelta(seconds=30))


async def test_a_step_that_is_over_before_the_next_look_is_work_too(
    trial: PoolTrial, autojump_clock: MockClock
) -> None:
    trial.ends(await trial.asks("one"))
    for number in range(5):
        await trial.looks()
        await trio.sleep(50)
        trial.ends(await trial.asks(f"next-{number}"))
    assert (await trial.looks(), trial.scene.replicas) == (After(timedelta(seconds=60)), 1)


async def test_a_step_brings_an_empty_pool_back(trial: PoolTrial, autojump_clock: MockClock) -> None:
    trial.ends(await trial.asks("one"))
    await trial.looks()
    await trio.sleep(61)
    await trial.looks()
    assert trial.scene.replicas == 0
    trial.scene.ready_worker()  # its Pod has not gone yet
    asked: list[str] = []
    trial.scene.registry.when_needed(lambda pool: asked.append(str(pool)))
    await trial.asks("two")
    assert asked == [str(trial.scene.pool)]
    assert await trial.looks() == Done()
    assert trial.scene.replicas == 1
    [deployment] = trial.scene.server.all(WORKER_DEPLOYMENT)
    assert keys.ANNOTATION_POOL_EMPTY_SINCE not in deployment["metadata"]["annotations"]


async def test_a_worker_that_has_not_let_go_keeps_the_pool(trial: PoolTrial, autojump_clock: MockClock) -> None:
    step_run = await trial.asks("one")
    trial.scene.ready_worker()
    await trial.scene.executor.start(order_for("one", step_run=step_run))
    kept = trial.scene.server.objects[("stepruns", NAMESPACE, "one-fetch")]
    canceled = trial.scene.hears({**kept, "status": {"phase": "Canceled"}})
    for _ in range(3):
        assert await trial.looks() == Done()
        await trio.sleep(100)
    trial.scene.releases(canceled, 143)
    assert (await trial.looks(), trial.scene.replicas) == (After(timedelta(seconds=60)), 1)


async def test_nobody_gets_a_place_while_the_workers_are_taken_away(trial: PoolTrial) -> None:
    step_run = await trial.asks("one")
    trial.scene.ready_worker()
    with trial.scene.registry.emptying(trial.scene.pool) as is_idle:
        assert not is_idle
        with pytest.raises(NoRoomError):
            await trial.scene.executor.start(order_for("one", step_run=step_run))
    await trial.scene.executor.start(order_for("one", step_run=step_run))


async def test_an_unused_pool_is_deleted_after_a_day(trial: PoolTrial, autojump_clock: MockClock) -> None:
    trial.ends(await trial.asks("one"))
    await trial.looks()
    await trio.sleep(61)
    await trial.looks()
    trial.ages(hours=23)
    outcome = await trial.looks()
    assert isinstance(outcome, After)
    assert round(outcome.delay.total_seconds(), -1) == 3600
    trial.ages(hours=1)
    assert await trial.looks() == Done()
    assert trial.scene.server.all(SERVICE_ACCOUNT) == []


async def test_one_that_somebody_has_scaled_down_is_deleted_a_day_later(trial: PoolTrial) -> None:
    trial.ends(await trial.asks("one"))
    [deployment] = trial.scene.server.all(WORKER_DEPLOYMENT)
    trial.scene.hears({**deployment, "spec": {**deployment["spec"], "replicas": 0}})
    assert await trial.looks() == After(KEPT_EMPTY)
    trial.ages(days=1)
    assert await trial.looks() == Done()
    assert trial.scene.server.all(SERVICE_ACCOUNT) == []


async def test_the_pool_of_a_deleted_engram_goes_when_its_last_step_has_ended(trial: PoolTrial) -> None:
    step_run = await trial.asks("one")
    trial.scene.loses(trial.scene.server.objects[("engrams", NAMESPACE, "http")])
    await trial.looks()
    assert len(trial.scene.server.all(SERVICE_ACCOUNT)) == 1
    trial.ends(step_run)
    assert await trial.looks() == Done()
    assert trial.scene.server.all(SERVICE_ACCOUNT) == []


async def test_an_engram_that_the_watch_does_not_show_is_asked_for(trial: PoolTrial) -> None:
    trial.ends(await trial.asks("one"))
    trial.scene.world.engrams.forget(NAMESPACE, "http", "uid-Engram-http")
    assert isinstance(await trial.looks(), After)
    assert len(trial.scene.server.all(SERVICE_ACCOUNT)) == 1


async def test_a_deployment_that_has_changed_meanwhile_grows_all_the_same(trial: PoolTrial) -> None:
    """Each Pod that begins or ends changes its status."""
    for number in range(4):
        await trial.asks(f"r{number}")
    trial.deployment_changes()
    assert await trial.looks() == Done()
    assert trial.scene.replicas == 2


async def test_one_that_has_changed_meanwhile_is_looked_at_again_before_it_goes_to_zero(
    trial: PoolTrial, autojump_clock: MockClock
) -> None:
    trial.ends(await trial.asks("one"))
    await trial.looks()
    await trio.sleep(61)
    trial.deployment_changes()
    with pytest.raises(StaleError):
        await trial.looks()
    assert trial.scene.replicas == 1


async def test_a_deployment_that_is_no_pool_is_left_alone(trial: PoolTrial) -> None:
    await trial.asks("one")
    [deployment] = trial.scene.server.all(WORKER_DEPLOYMENT)
    trial.scene.hears({**deployment, "metadata": {**deployment["metadata"], "annotations": {}}})
    assert await trial.looks() == Done()
    assert await trial.controller.reconcile(Key("team", "gone")) == Done()


async def test_changes_concern_the_pool_that_they_name(trial: PoolTrial) -> None:
    await trial.asks("one")
    [deployment] = trial.scene.server.all(WORKER_DEPLOYMENT)
    pool = Key.of(deployment)
    labelled = {"metadata": {"namespace": "team", "name": "x", "labels": {keys.LABEL_WORKER_POOL: pool.name}}}
    engram = {"metadata": {"namespace": "team", "name": "http"}}
    assert _keys(trial.scene.world, labelled) == {
        "deployments (workers)": {Key("team", "x")},
        "stepruns": {pool},
        "pods (workers)": {pool},
        "serviceaccounts": {pool},
        "rolebindings": {pool},
        "engrams": set(),
    }
    assert _keys(trial.scene.world, engram, gone=True)["engrams"] == {pool}
    other = {"metadata": {"namespace": "team", "name": "other"}}
    assert _keys(trial.scene.world, other, gone=True)["engrams"] == set()


def _keys(world: World, obj: Object, *, gone: bool = False) -> dict[str, set[Key]]:
    change = Change(ChangeKind.DELETED, obj, None) if gone else Change(ChangeKind.ADDED, None, obj)
    return {watch.kind.title: set(watch.whom(change, world)) for watch in CONTROLLER.watches}


@pytest.mark.parametrize(("is_served", "at"), [(False, 0.0), (True, 0.1)])
async def test_steps_that_wait_together_are_looked_at_together(
    trial: PoolTrial, autojump_clock: MockClock, is_served: bool, at: float
) -> None:
    """At once if no worker is ready: its start takes long enough."""
    first = await trial.asks("one")
    if is_served:
        trial.scene.ready_worker()
        for name, step_run in (("one", first), ("two", trial.scene.hears(manifest("two")))):
            await trial.scene.executor.start(order_for(name, step_run=step_run))
    looks: list[float] = []
    began_at = trio.current_time()

    async def look(key: Key) -> Outcome:
        assert key == Key(*trial.scene.pool)
        looks.append(trio.current_time() - began_at)
        return Done()

    options = ControllerOptions(2, timedelta(seconds=1), timedelta(seconds=1))
    controller = Controller("workerpool", look, options)
    assert CONTROLLER.beside is not None
    async with trio.open_nursery() as nursery:
        there = cast(ControllerDependencies, SimpleNamespace(workers=trial.scene.registry))
        nursery.start_soon(CONTROLLER.beside, there, controller)
        nursery.start_soon(controller.run)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(50):
            await trial.asks(f"next-{number}")
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert looks[0] == looks[-1] == pytest.approx(at)
    assert len(looks) == 1 or not is_served
