"""A pool of warm workers with its controller, and what tests do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from core.api.objects import Object
from core.api.resource import WORKER_DEPLOYMENT, WORKER_POD
from core.engine.clock import WallClock
from core.engine.errors import NoRoomError
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import Outcome
from reconcilers.worker_pool import WorkerPoolReconciler
from tests.unit.reconcilers.reconciler_samples import NOW, stored
from tests.unit.reconcilers.worker_scene import NAMESPACE, WorkerScene, manifest, open_scene, order_for


class PoolTrial:
    """One pool with its controller. ``ages`` moves the wall clock."""

    def __init__(self, scene: WorkerScene) -> None:
        self.scene = scene
        self._now = NOW
        self.controller = WorkerPoolReconciler(scene.client, scene.world, scene.registry, WallClock(lambda: self._now))

    def ages(self, **by: Any) -> None:
        self._now += timedelta(**by)

    async def asks(self, name: str) -> Object:
        step_run = self.scene.hears(manifest(name))
        with pytest.raises(NoRoomError):
            await self.scene.executor.start(order_for(name, step_run=step_run))
        return step_run

    async def begins(self, name: str) -> Object:
        """The step gets a place at once; returns its StepRun."""
        step_run = self.scene.hears(manifest(name))
        await self.scene.executor.start(order_for(name, step_run=step_run))
        return step_run

    async def looks(self) -> Outcome:
        return await self.controller.reconcile(Key(*self.scene.pool))

    def ends(self, step_run: Object) -> None:
        self.scene.releases(step_run, phase="Succeeded")

    def deployment_changes(self) -> None:
        """Another client writes it, and the event is not there yet."""
        [deployment] = self.scene.server.all(WORKER_DEPLOYMENT)
        self.scene.server.change(deployment, status={"unavailableReplicas": 1})

    @property
    def workers(self) -> set[str]:
        """The names of the Pods that there are."""
        return {each["metadata"]["name"] for each in self.scene.server.all(WORKER_POD)}

    @property
    def patches(self) -> int:
        return len([each for each in self.scene.server.writes if each[0] == "PATCH"])


@asynccontextmanager
async def open_trial() -> AsyncIterator[PoolTrial]:
    """No step has asked for the pool yet. Its bounds are ``WARM``."""
    async with open_scene(stored("Engram", "http", spec={})) as scene:
        scene.world.engrams.remember(scene.server.objects[("engrams", NAMESPACE, "http")])
        yield PoolTrial(scene)
