"""The size of each pool of warm workers, its rights, and its end.

A pool has as many workers as its unfinished steps need, between its bounds. When fewer would have been enough for its
idle timeout, those that are too many go, each when it is idle; when it has had no step for that time, all of them. A
day later, or when its Engram is gone, its account is deleted, and everything else with it. What gives the account its
rights is restored if somebody deletes or changes it. While nothing changes, nothing is written; a restarted operator
counts the idle time anew. Source: StepRun contract 3.5; docs/warm-workers.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from math import inf
from typing import Final

import trio

from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api import keys
from core.api.objects import Object, is_being_deleted
from core.api.permission import Permission
from core.api.resource import (
    DEPLOYMENT,
    ENGRAM,
    LEASE,
    POD,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    STEP_RUN,
    WORKER_DEPLOYMENT,
    WORKER_POD,
)
from core.engine.ports import Clock
from core.kube.client import KubeClient
from core.kube.errors import ConflictError, NotFoundError
from core.kube.informer import Change
from core.policy.settings import ControllerSettings
from core.telemetry.logs import get_logger
from core.workloads.worker_pool import StandingPool, standing_pool
from reconcilers.adapters.permissions import RACE
from reconcilers.adapters.pool_objects import PoolObjects
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.worker_registry import PoolKey, WorkerPlace, WorkerRegistry
from reconcilers.adapters.world import World, find
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.runtime.changes import versions
from reconcilers.runtime.controller import Controller, Key, Reconcile
from reconcilers.runtime.outcome import After, Done, Outcome
from reconcilers.runtime.watch import Caches, Watch, own_keys

_log = get_logger("controller.workerpool")

KEPT_EMPTY: Final = timedelta(days=1)
"""How long a pool without workers is kept: its next step finds it, and only waits for a Pod."""
RESTORED_AFTER: Final = timedelta(seconds=1)
"""How long rights are missing before they are made again. Another process may just have made them: the watches of
several kinds are not in step.
"""


class WorkerPoolReconciler:
    """Looks at one pool at a time."""

    def __init__(self, client: KubeClient, world: World, registry: WorkerRegistry, clock: Clock) -> None:
        self._client = client
        self._world = world
        self._deployments = world.informer(WORKER_DEPLOYMENT)
        self._pods = world.informer(WORKER_POD)
        self._registry = registry
        self._clock = clock
        self._objects = PoolObjects(client, world)
        self._lacks_since: dict[Key, float] = {}

    async def reconcile(self, key: Key) -> Outcome:
        deployment = self._deployments.get(key.namespace, key.name)
        pool = None if deployment is None or is_being_deleted(deployment) else standing_pool(deployment)
        if deployment is None or pool is None:
            self._lacks_since.pop(key, None)
            return Done()
        if left := await self._restore(key, pool):
            return After(left)
        return await self._resize(key, deployment, pool)

    async def _restore(self, key: Key, pool: StandingPool) -> timedelta | None:
        """Restore the rights of the workers; returns the time until that is to be done, if it is not yet.

        Without their rights they count as lost after twenty seconds, and no other worker becomes ready.
        """
        if not self._objects.lacks_rights(pool):
            self._lacks_since.pop(key, None)
            return None
        now = trio.current_time()
        left = RESTORED_AFTER - timedelta(seconds=now - self._lacks_since.setdefault(key, now))
        if left > timedelta():
            return left
        del self._lacks_since[key]
        await self._objects.ensure_rights(pool.namespace, pool.name, pool.account_uid)
        _log.warning("restored the rights of a pool of warm workers", namespace=pool.namespace, pool=pool.name)
        return None

    async def _resize(self, key: Key, deployment: Object, pool: StandingPool) -> Outcome:
        place, now = PoolKey(key.namespace, key.name), trio.current_time()
        steps, use = self._registry.demand(place), self._registry.use_of(place)
        if pool.warm.replicas_for(use.most) >= pool.replicas:
            use.begin_anew(steps, now)
            self._registry.keep_all(place)
        if steps:
            return await self._fit(deployment, pool, steps)
        if self._registry.is_at_work(place):
            use.used_at = inf  # the idle time begins with the look after its end
            return Done()  # its end is a change
        use.used_at = min(use.used_at, now)
        if await self._engram_is_gone(pool):
            return await self._delete(pool)
        return await self._empty(deployment, pool) if pool.replicas else await self._rest(deployment, pool)

    async def _fit(self, deployment: Object, pool: StandingPool, steps: int) -> Outcome:
        """To what the unfinished steps need, or to the most that was needed in the idle time."""
        wanted = pool.warm.replicas_for(steps)
        if wanted >= pool.replicas:
            if wanted != pool.replicas:
                await self._scale(deployment, wanted)
            return Done()
        use = self._registry.use_of(PoolKey(pool.namespace, pool.name))
        if left := _left(pool, use.since):
            return After(left)
        await self._shed(deployment, pool, pool.warm.replicas_for(use.most))
        return Done()  # the end of a step is a change

    async def _shed(self, deployment: Object, pool: StandingPool, wanted: int) -> None:
        """Take away the idle ones among the workers that are too many; the others get nothing new.

        A smaller number alone would let Kubernetes choose. So the Pods are deleted first: what takes their place is not
        ready when the number shrinks, and Kubernetes chooses that.
        """
        idle = self._registry.retire(PoolKey(pool.namespace, pool.name), pool.replicas, wanted)
        for worker in idle:
            await self._end(pool.namespace, worker)
        if idle:
            await self._scale(deployment, pool.replicas - len(idle))

    async def _end(self, namespace: str, worker: WorkerPlace) -> None:
        left: Object | None = None
        with port_errors(), suppress(NotFoundError, ConflictError):
            left = await self._client.delete(WORKER_POD, worker.worker, namespace, uid=worker.uid)
        if left is None:
            self._pods.forget(namespace, worker.worker, worker.uid)
        elif left["metadata"]["uid"] == worker.uid:
            self._pods.remember(left)

    async def _empty(self, deployment: Object, pool: StandingPool) -> Outcome:
        """To zero, when it has been idle for long enough."""
        place = PoolKey(pool.namespace, pool.name)
        if left := _left(pool, self._registry.use_of(place).used_at):
            return After(left)
        with self._registry.emptying(place) as is_idle:
            if is_idle:
                await self._scale_to_zero(deployment)
        return After(KEPT_EMPTY)

    async def _rest(self, deployment: Object, pool: StandingPool) -> Outcome:
        """Delete a pool that has been empty for long enough. One that somebody else has scaled down counts from now."""
        annotations = deployment["metadata"].get("annotations") or {}
        since = parse_instant_or_none(annotations.get(keys.ANNOTATION_POOL_EMPTY_SINCE))
        if since is None:
            await self._scale_to_zero(deployment)
            return After(KEPT_EMPTY)
        left = since + KEPT_EMPTY - self._clock.now()
        return After(left) if left > timedelta() else await self._delete(pool)

    async def _engram_is_gone(self, pool: StandingPool) -> bool:
        namespace, name = pool.engram
        with port_errors():
            return await find(self._client, self._world.engrams, ENGRAM, namespace, name) is None

    async def _scale(self, deployment: Object, replicas: int) -> None:
        """Also if the Deployment has changed since: each Pod that begins or ends changes its status."""
        await self._patch(deployment, {"annotations": {keys.ANNOTATION_POOL_EMPTY_SINCE: None}}, replicas)

    async def _scale_to_zero(self, deployment: Object) -> None:
        version = {"resourceVersion": deployment["metadata"]["resourceVersion"]}
        since = format_instant(self._clock.now())
        await self._patch(deployment, {**version, "annotations": {keys.ANNOTATION_POOL_EMPTY_SINCE: since}}, 0)

    async def _patch(self, deployment: Object, changes: Object, replicas: int) -> None:
        metadata = deployment["metadata"]
        patch: Object = {"metadata": {"uid": metadata["uid"], **changes}, "spec": {"replicas": replicas}}
        with port_errors():
            stored = await self._client.patch(
                WORKER_DEPLOYMENT, metadata["name"], patch, namespace=metadata["namespace"]
            )
        self._deployments.remember(stored)

    async def _delete(self, pool: StandingPool) -> Outcome:
        """The account; the garbage collector deletes what it owns, the Deployment among it."""
        with port_errors(), suppress(NotFoundError):
            await self._client.delete(
                SERVICE_ACCOUNT, pool.name, pool.namespace, uid=pool.account_uid, propagation="Background"
            )
        return Done()


def _left(pool: StandingPool, since: float) -> timedelta | None:
    """The rest of its idle timeout; None: it is over."""
    left = pool.warm.idle_timeout - timedelta(seconds=trio.current_time() - since)
    return left if left > timedelta() else None


def _of_step_run(change: Change, caches: Caches) -> Iterator[Key]:
    """The pool that the StepRun asks for or is served by."""
    del caches
    for step_run in versions(change):
        yield from _pool_named(step_run)


def _of_object(change: Change, caches: Caches) -> Iterator[Key]:
    """The pool of one of its Pods, or of what gives it its rights."""
    del caches
    yield from _pool_named(change.object)


def _of_engram(change: Change, caches: Caches) -> Iterator[Key]:
    """The pools of an Engram that is gone."""
    metadata = change.object["metadata"]
    if change.new is not None:
        return
    gone = f"{metadata['namespace']}/{metadata['name']}"
    for deployment in caches.informer(WORKER_DEPLOYMENT).each():
        if (deployment["metadata"].get("annotations") or {}).get(keys.ANNOTATION_POOL_ENGRAM) == gone:
            yield Key.of(deployment)


def _pool_named(obj: Object) -> Iterator[Key]:
    name = (obj["metadata"].get("labels") or {}).get(keys.LABEL_WORKER_POOL)
    if name:
        yield Key(obj["metadata"]["namespace"], str(name))


def _build(there: ControllerDependencies) -> Reconcile:
    registry = there.workers or WorkerRegistry(there.client, there.world)
    return WorkerPoolReconciler(there.client.in_background(), there.world, registry, there.clock).reconcile


async def _listen(there: ControllerDependencies, controller: Controller) -> None:
    """Look again whenever another step waits for a worker, or a worker is lost; at once if no worker is ready."""
    if (workers := there.workers) is not None:

        def look(pool: PoolKey) -> None:
            if workers.is_served(pool):
                controller.queue.add_after(Key(*pool), _SOON)
            else:
                controller.enqueue(Key(*pool))

        workers.when_needed(look)
    await trio.sleep_forever()


_OPTIONS: Final = ControllerSettings(2, timedelta(milliseconds=100), timedelta(minutes=1))
"""Fixed: the reference has no such controller."""
_SOON: Final = timedelta(milliseconds=100)
"""Many steps begin and end together; the size of the pool is wanted once."""

CONTROLLER: Final = ControllerRegistration(
    "workerpool",
    WORKER_DEPLOYMENT,
    _build,
    options=lambda settings: _OPTIONS,
    watches=(
        Watch(WORKER_DEPLOYMENT, own_keys),
        Watch(STEP_RUN, _of_step_run, delay=_SOON),
        Watch(WORKER_POD, _of_object, delay=_SOON),
        Watch(SERVICE_ACCOUNT, _of_object),
        Watch(ROLE_BINDING, _of_object),
        Watch(ENGRAM, _of_engram),
    ),
    permissions=(
        Permission(DEPLOYMENT, ("create",), "Runs the warm workers of a pool."),
        Permission(DEPLOYMENT, ("patch",), "Scales a pool of warm workers with the work."),
        Permission(DEPLOYMENT, ("get",), "Examines a Deployment that has the name of a new pool.", seldom=RACE),
        Permission(
            SERVICE_ACCOUNT,
            ("delete",),
            "The account of a pool that is unused for a day, or whose Engram is gone; all of the pool goes with it.",
        ),
        Permission(POD, ("delete",), "Ends an idle worker that its pool has not needed for the idle timeout."),
        Permission(
            POD,
            ("get",),
            "A worker that the watch does not show is read before its steps count as lost.",
            seldom="Only when a worker is gone.",
        ),
        Permission(
            LEASE,
            ("get",),
            "A worker without a heartbeat is read before its steps count as lost: the watch may be late.",
            seldom="Only when a worker is silent.",
        ),
    ),
    beside=_listen,
)
