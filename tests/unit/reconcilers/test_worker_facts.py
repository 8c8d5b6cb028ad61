"""What a pool and its workers are is read once for each version of their objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.api.objects import Object
from core.api.resource import WORKER_DEPLOYMENT, WORKER_POD
from core.engine.errors import NoRoomError
from reconcilers.adapters import worker_facts
from reconcilers.adapters.worker_facts import PoolFacts
from tests.unit.reconcilers.worker_scene import NAMESPACE, WorkerScene, manifest, open_scene, order_for


@pytest.fixture
async def scene() -> Any:
    async with open_scene() as scene:
        with pytest.raises(NoRoomError):
            await scene.executor.start(order_for("one", step_run=scene.hears(manifest("one"))))
        yield scene


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the objects that were read."""
    found: list[str] = []

    def counted(function: Callable[[Object], Any]) -> Callable[[Object], Any]:
        def call(obj: Object) -> Any:
            found.append(obj["metadata"]["name"])
            return function(obj)

        return call

    for name in ("standing_pool", "_facts_of"):
        monkeypatch.setattr(worker_facts, name, counted(getattr(worker_facts, name)))
    return found


def facts_of(scene: WorkerScene) -> PoolFacts:
    return PoolFacts(scene.world.informer(WORKER_DEPLOYMENT), scene.world.informer(WORKER_POD))


async def test_an_object_is_read_once_for_each_of_its_versions(scene: WorkerScene, read: list[str]) -> None:
    facts, pool = facts_of(scene), scene.pool
    scene.worker("w1")
    scene.worker("w2", ready=False)
    read.clear()  # what others have read meanwhile
    for _ in range(3):
        standing = facts.standing(pool)
        assert standing is not None
        assert standing.warm.concurrency == 2
        assert [(each.full_name, each.is_ready) for each in facts.workers(pool)] == [
            (f"{NAMESPACE}/w1", True),
            (f"{NAMESPACE}/w2", False),
        ]
    assert read == [pool.name, "w1", "w2"]

    scene.worker("w2")
    [deployment] = scene.server.all(WORKER_DEPLOYMENT)
    scene.hears({**deployment, "spec": {**deployment["spec"], "replicas": 3}})
    read.clear()
    for _ in range(3):
        standing = facts.standing(pool)
        assert standing is not None
        assert standing.replicas == 3
        assert [each.is_ready for each in facts.workers(pool)] == [True, True]
    assert read == [pool.name, "w2"]


async def test_a_pool_and_a_worker_that_are_gone_are_not_remembered(scene: WorkerScene) -> None:
    facts, pool = facts_of(scene), scene.pool
    worker = scene.worker("w1")
    assert facts.standing(pool) is not None
    assert len([*facts.workers(pool)]) == 1
    scene.loses(worker)
    assert [*facts.workers(pool)] == []
    [deployment] = scene.server.all(WORKER_DEPLOYMENT)
    scene.hears({**deployment, "metadata": {**deployment["metadata"], "deletionTimestamp": "2025-01-02T03:04:05Z"}})
    assert facts.standing(pool) is None
    scene.loses(deployment)
    assert facts.standing(pool) is None


async def test_the_pod_of_another_controller_is_no_worker(scene: WorkerScene) -> None:
    scene.worker("w1", owner="other-1")
    scene.worker("w2", phase="Failed")
    assert [each.is_ready for each in facts_of(scene).workers(scene.pool)] == [False, False]
