"""The controllers and the router of production on the model cluster: the work around the engine.

They are ``reconcilers.storyrun`` and ``reconcilers.router`` themselves, with the model's client and informers:
annotations, hand-over, retention, and the deletion of runs. ``routing`` replaces both in tests of the engine alone.
If there are clients, the controllers of StoryTriggers and EffectClaims work, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Final, cast

import trio

from core.api.objects import NamespacedName, Object
from core.api.resource import Resource
from core.engine.engine_context import EngineContext
from core.engine.errors import PortError
from core.engine.run.supervisor import Supervisor
from core.kube.client import KubeClient
from core.kube.errors import error_from_status
from core.kube.informer import Handler
from core.kube.packed import Resting
from core.kube.store import Change, key_of
from core.policy.settings import OperatorSettings
from fuzz.engine.cluster import Cluster, Objects, RefusedError, place_of
from fuzz.engine.process import Process
from fuzz.engine.routing import wake_owner
from fuzz.engine.stored import ModelPayloads
from fuzz.engine.stream_workers import STREAM_POD
from fuzz.engine.watches import KINDS, OF_CLIENTS, OF_STREAMS, Known
from kubewire import StatusReason, status_failure
from reconcilers import effectclaim, stored_data, storyrun, storytrigger
from reconcilers.adapters import world as production
from reconcilers.adapters.stored_references import REFERRED_OWNER, referred_owners
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.router import connect_engine
from reconcilers.runtime.controller import Controller, ControllerOptions, Glance, Key, Reconcile
from reconcilers.runtime.outcome import Outcome
from reconcilers.runtime.watch import connect_controller

_OPTIONS: Final = ControllerOptions(workers=2, base_delay=timedelta(milliseconds=200), max_delay=timedelta(seconds=30))


_IN_WORLD: Final = {
    "Story": "stories",
    "StoryRun": "story_runs",
    "StepRun": "step_runs",
    "Job": "jobs",
    "Pod": "pods",
    "Engram": "engrams",
    "EngramTemplate": "engram_templates",
    "ReferenceGrant": "reference_grants",
}
"""The names of the informers in ``reconcilers.adapters.world.World``, by kind; others are not needed here."""
NEVER_CHANGES: Final = "ReferenceGrant"
"""A kind for which production has a route; all objects of the model are in one namespace."""
_INDICES: Final = {
    production.LIVE_RUNS: production.live_story_key,
    production.STORY_KEY: production.story_key,
    production.HELD_BY_REFERENCE: production.held_by_reference,
    production.RESTORED_FROM_BACKUP: production.alien,
}
_AT_REST: Final = {kind.resource.kind: kind for kind in production.WATCHED}
_ROWS: Final = (storyrun.CONTROLLER, stored_data.CONTROLLER)
_ROWS_WITH_CLIENTS: Final = (*_ROWS, storytrigger.CONTROLLER, effectclaim.CONTROLLER)


class Housekeeping:
    """The controllers of one process. ``tell`` handles changes of all caches; ``crashed`` gets unexpected errors."""

    def __init__(
        self,
        cluster: Cluster,
        process: Process,
        supervisor: Supervisor,
        engine: EngineContext,
        settings: Callable[[], OperatorSettings],
        crashed: Callable[[Exception], None],
        with_clients: bool = False,
    ) -> None:
        kinds = (*KINDS, *OF_CLIENTS) if with_clients else KINDS
        self.known = process.known = Known(self.tell, kinds)
        self._informers = {kind: ModelInformer(self.known, kind) for kind in (*kinds, NEVER_CHANGES)}
        client = cast(KubeClient, ModelClient(cluster, process))
        named = {name: self._informers[kind] for kind, name in _IN_WORLD.items()}
        world = cast(
            production.World,
            SimpleNamespace(
                informer=lambda kind: self._informers[kind.kind],
                watches=lambda kind: kind.kind in self._informers,
                **named,
            ),
        )
        self._supervisor = supervisor
        owned, payloads = process.ownership, ModelPayloads(cluster, process)
        there = ControllerDependencies(
            client, world, supervisor, engine.events, engine.clock, settings, payloads, payloads, "", owned
        )
        rows = _ROWS_WITH_CLIENTS if with_clients else _ROWS
        self._controllers = [(row, _controller(row, there, crashed)) for row in rows]
        connect_engine(
            world,
            supervisor,
            run_ended=engine.concurrency.ended,
            step_run_ended=engine.slots.step_run_ended,
            definition_changed=engine.awaited.changed,
            ownership=owned,
        )
        for row, controller in self._controllers:
            watches = [watch for watch in row.watches if watch.kind.kind in self._informers]
            connect_controller(watches, world, controller)

    def tell(self, kind: str, change: Change) -> None:
        if kind in OF_STREAMS or (kind == "Pod" and STREAM_POD in change.object["spec"]):
            wake_owner(self._supervisor, self.known, change.object)
        for handler in self._informers[kind].handlers:
            handler(change)

    def adopt(self, key: NamespacedName) -> None:
        """The process now owns the run."""
        for _, controller in self._controllers:
            controller.enqueue(Key(*key))

    async def release(self, key: NamespacedName) -> None:
        """Return when no controller works for the key any more, which the process does not own any more."""
        for _, controller in self._controllers:
            await controller.release(Key(*key))

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for row, controller in self._controllers:
                nursery.start_soon(controller.run)
                for obj in self.known.all(row.kind.kind):  # the initial lists came before
                    controller.enqueue(Key.of(obj))


@dataclass
class ModelInformer:
    """The objects of one kind that a process knows, with the interface of ``core.kube.informer.Informer``."""

    known: Known
    kind: str
    handlers: list[Handler] = field(default_factory=list)

    def add_handler(self, handler: Handler) -> None:
        self.handlers.append(handler)

    def get(self, namespace: str, name: str) -> Object | None:
        return self.known.get(self.kind, namespace, name)

    def all_keys(self) -> Collection[NamespacedName]:
        return {key_of(obj) for obj in self.known.all(self.kind)}

    def resting(self, key: NamespacedName) -> Resting | None:
        obj, kind = self.get(*key), _AT_REST[self.kind]
        if obj is None or kind.is_at_rest is None or not kind.is_at_rest(obj):
            return None
        return Resting(obj["metadata"]["uid"], kind.rest_note(obj) if kind.rest_note is not None else None)

    def is_found_under(self, index: str) -> bool:
        return any(map(_INDICES[index], self.known.all(self.kind)))

    def list(self, namespace: str) -> Sequence[Object]:
        if self.kind == NEVER_CHANGES:
            return ()
        return [obj for obj in self.known.all(self.kind) if obj["metadata"]["namespace"] == namespace]

    def by_index(self, index: str, value: str) -> Objects:
        if index == REFERRED_OWNER:
            return [obj for obj in self.known.all(self.kind) if value in referred_owners(obj)]
        if index == production.STEP_RUN_NAME:
            return self.known.pods_of(*value.split("/"))
        if self.kind in OF_CLIENTS:
            return self.known.by_index(self.kind, index, value)
        if index == production.OWNER_UID:
            return self.known.by_owner(self.kind, value)
        if index == production.LIVE_STEP_RUNS:
            return [obj for obj in self.known.by_owner(self.kind, value) if production.live_owner_uid(obj)]
        keys_of = _INDICES[index]
        return [obj for obj in self.known.all(self.kind) if value in keys_of(obj)]

    def each_by_index(self, index: str, value: str) -> Iterator[Object]:
        return iter(self.by_index(index, value))

    def keys_by_index(self, index: str, value: str) -> Collection[NamespacedName]:
        return [key_of(obj) for obj in self.by_index(index, value)]

    def remember(self, obj: Object) -> Object:
        self.known.remember(obj)
        return obj

    def forget(self, namespace: str, name: str, uid: str) -> None:
        obj = self.get(namespace, name)
        if obj is not None and obj["metadata"]["uid"] == uid:
            self.known.forget(obj)


@dataclass
class ModelClient:
    """The writes of controllers, with the interface of ``core.kube.client.KubeClient``."""

    cluster: Cluster
    process: Process

    def in_background(self) -> ModelClient:
        return self

    def check_fence(self) -> None:
        """A process that is dead, or does not own the run, changes nothing."""
        self.process.check()

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        return await self.process.call(self.cluster, lambda: _answered(lambda: self._get(resource, name, namespace)))

    async def create(self, resource: Resource, manifest: Object) -> Object:
        return await self.process.write(self.cluster, lambda: _answered(lambda: self._create(resource, manifest)))

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Mapping[str, Any],
        *,
        namespace: str,
        subresource: str | None = None,
    ) -> Object:
        """Writes an object as it was read: ``body`` has its UID and version."""
        part = subresource or "metadata"
        seen = {"kind": resource.kind, "metadata": {"name": name, "namespace": namespace, **body["metadata"]}}
        patch = {key: value for key, value in body[part].items() if key not in ("uid", "resourceVersion")}
        actor = self.process.actor
        return await self.process.write(
            self.cluster, lambda: _answered(lambda: self.cluster.patch(actor, seen, part, patch)), versioned=True
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        *,
        uid: str,
        resource_version: str | None = None,
        propagation: str,
    ) -> Object | None:
        assert propagation == "Background"
        return await self.process.write(
            self.cluster,
            lambda: _answered(lambda: self._delete((resource.kind, namespace, name), uid, resource_version)),
            versioned=resource_version is not None,
        )

    def _get(self, resource: Resource, name: str, namespace: str | None) -> Object:
        found = self.cluster.get(resource.kind, namespace or "", name)
        if found is None:
            raise RefusedError(404, StatusReason.NOT_FOUND, f"{resource.kind} {namespace}/{name} not found")
        return found

    def _create(self, resource: Resource, manifest: Object) -> Object:
        created = self.cluster.create(self.process.actor, manifest)
        if created is None:
            raise RefusedError(409, StatusReason.ALREADY_EXISTS, f"{resource.kind} {place_of(manifest)} already exists")
        return created

    def _delete(self, place: tuple[str, str, str], uid: str, version: str | None) -> Object | None:
        stored = self.cluster.objects.get(place)
        if stored is None:
            raise RefusedError(404, StatusReason.NOT_FOUND, f"{place} not found")
        if stored["metadata"]["uid"] != uid or version not in (None, stored["metadata"]["resourceVersion"]):
            raise RefusedError(409, StatusReason.CONFLICT, f"{place} is another, or has moved on")
        return self.cluster.delete(self.process.actor, place, uid=uid)


def _controller(
    row: ControllerRegistration, there: ControllerDependencies, crashed: Callable[[Exception], None]
) -> Controller:
    glance = None if row.glance is None else _telling_at_a_glance(row.glance(there), crashed)
    reconcile = _telling(row.build(there), crashed)
    return Controller(row.name, reconcile, _OPTIONS, glance=glance, ownership=there.ownership)


def _telling_at_a_glance(glance: Glance, crashed: Callable[[Exception], None]) -> Glance:
    def told(key: Key) -> Outcome | None:
        try:
            return glance(key)
        except Exception as error:
            crashed(error)
            raise

    return told


def _telling(reconcile: Reconcile, crashed: Callable[[Exception], None]) -> Reconcile:
    """Reports each unexpected exception, because a controller retries after any error and would hide a bug."""

    async def told(key: Key) -> Outcome:
        try:
            return await reconcile(key)
        except PortError:
            raise
        except Exception as error:
            crashed(error)
            raise

    return told


def _answered(apply: Callable[[], Any]) -> Any:
    try:
        return apply()
    except RefusedError as refused:
        details = {"name": "an object"}  # without a name, 404 means that the server does not know the kind
        failure = status_failure(refused.reason, str(refused), code=refused.code, details=details)
        raise error_from_status(failure) from refused
