"""The ends of realtime steps, and the authority that their containers trust.

The engine decides when a step begins, is retried or canceled. That its worker has exited, or that the hub is done with
everything that goes to it, needs no decision: this controller looks at the realtime steps of a run after each change,
and does what is due (``reconcilers.adapters.stream_ending``). Its keys are those of runs, so that the owner of a run
does it. Source: streaming contract 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from core.api.objects import Object, controller_of, has_ended, is_being_deleted
from core.api.resource import (
    POD,
    STEP_RUN,
    STORY_RUN,
    STREAM_DEPLOYMENT,
    STREAM_STATEFUL_SET,
    TRANSPORT_BINDING,
)
from core.engine.ports import STREAM
from core.engine.step import record
from core.kube.client import KubeClient
from core.kube.informer import Change
from core.policy.settings import ControllerSettings
from core.workloads.hub_access import HubAccess
from reconcilers.adapters.stream_authority import StreamAuthority
from reconcilers.adapters.stream_ends import StreamEnds
from reconcilers.adapters.stream_objects import StreamObjects
from reconcilers.adapters.stream_permissions import STREAM_PERMISSIONS
from reconcilers.adapters.world import OWNER_UID, World, step_run_of_pod
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.run_changes import owning_run
from reconcilers.runtime.changes import versions
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import Done, Outcome
from reconcilers.runtime.watch import Caches, Watch


class StreamReconciler:
    """Looks at all realtime steps of one run at a time."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        hub: Callable[[], HubAccess | None],
        ends: StreamEnds | None = None,
    ) -> None:
        """
        Args:
            ends: shared with the executor of streams, if there is one in this process.
        """
        self._world = world
        self._hub = hub
        self._objects = StreamObjects(client, world)
        self._ends = ends or StreamEnds(self._objects)
        self._authority = StreamAuthority(client.in_background())

    async def reconcile(self, key: Key) -> Outcome:
        run = self._world.story_runs.get(key.namespace, key.name)
        if run is None:
            return Done()
        is_live = False
        for step_run in self._world.step_runs.by_index(OWNER_UID, run["metadata"]["uid"]):
            if record.executor_of(step_run) != STREAM or is_being_deleted(step_run):
                continue
            await self._ends.advance(self._objects.look(step_run))
            is_live |= self._objects.look(step_run).standing_workload is not None
        access = self._hub()
        if is_live and access is not None and access.ca_bundle is not None:
            await self._authority.ensure(key.namespace, access.ca_bundle)
        return Done()


def _of_step_run(change: Change, caches: Caches) -> Iterator[Key]:
    del caches
    for step_run in versions(change):
        if record.executor_of(step_run) == STREAM:
            yield from _run_of(step_run)


def _of_owned(change: Change, caches: Caches) -> Iterator[Key]:
    """The run of the StepRun that controls the object."""
    for obj in versions(change):
        owner = controller_of(obj) or {}
        if owner.get("kind") == STEP_RUN.kind:
            yield from _run_of_step(obj["metadata"]["namespace"], owner["name"], caches)


def _of_pod(change: Change, caches: Caches) -> Iterator[Key]:
    for pod in versions(change):
        yield from _run_of_step(pod["metadata"]["namespace"], step_run_of_pod(pod), caches)


def _run_of_step(namespace: str, name: str, caches: Caches) -> Iterator[Key]:
    step_run = caches.informer(STEP_RUN).get(namespace, name)
    if step_run is not None and record.executor_of(step_run) == STREAM:
        yield from _run_of(step_run)


def _run_of(step_run: Object) -> Iterator[Key]:
    run = owning_run(step_run)
    if run is not None:
        yield Key(run.namespace, run.name)


def _build(there: ControllerDependencies) -> Reconcile:
    return StreamReconciler(there.client, there.world, there.hub, there.stream_ends).reconcile


_OPTIONS: Final = ControllerSettings(4, timedelta(milliseconds=100), timedelta(minutes=1))
"""Fixed: in the reference this is a part of the controller of StepRuns."""

CONTROLLER: Final = ControllerRegistration(
    "stream",
    STORY_RUN,
    _build,
    options=lambda settings: _OPTIONS,
    watches=(
        Watch(STEP_RUN, _of_step_run),
        Watch(TRANSPORT_BINDING, _of_owned),
        Watch(STREAM_DEPLOYMENT, _of_owned),
        Watch(STREAM_STATEFUL_SET, _of_owned),
        Watch(POD, _of_pod),
    ),
    permissions=STREAM_PERMISSIONS,
    enqueue_at_start=False,  # its watches bring every step that is there
    enqueue_when_settings_change=True,  # the access to the hub is one of them
    enqueue_only=lambda run: not has_ended(run),
)
