"""What a run and its steps have stored goes with the run.

``reconcilers.storyrun`` deletes the children of a deleted run. When none is left, and no container writes any more,
this controller deletes the objects of the run, and then releases it. It has its own workers, so a store that does not
answer delays nothing but the end of deleted runs.

What others refer to stays: other runs and steps, StoryTriggers without an answer, and stored objects that these refer
to. The last run that refers to it deletes it. What cannot be deleted within ``GIVE_UP_AFTER`` is left to
``bobrapet storage sweep``, and an Event says so.
Source: StoryRun contract 20, SDK contract 9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import trio

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import Object, is_being_deleted
from core.api.resource import JOB, POD, STEP_RUN, STORY_RUN
from core.engine.errors import RejectedError, StorageUnavailableError
from core.engine.ports import Clock, EventSink, EventType
from core.engine.step.manifest import step_run_name
from core.kube.client import KubeClient
from core.kube.informer import Change
from core.payloads.address import may_refer
from core.payloads.owned import objects_of_run
from core.payloads.place import StoredKind, StoredPlace, folders_of, place_of
from core.payloads.referred import reachable_from
from core.payloads.store import Store
from core.policy.settings import ControllerSettings, OperatorSettings
from core.telemetry.logs import get_logger
from core.workloads.kept_data import stored_data_goes
from reconcilers.adapters.stored_payloads import ObjectStores
from reconcilers.adapters.stored_references import REFERRED_OWNER, REFERRING, REFERRING_KINDS, keys_in
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import OWNER_UID, STEP_RUN_NAME, World, job_has_ended, story_of
from reconcilers.adapters.writes import drop_finalizer
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.run_changes import begins_to_go, owning_run
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import After, Done, Outcome, RetryLater
from reconcilers.runtime.watch import Caches, Watch

GIVE_UP_AFTER: Final = timedelta(minutes=10)
"""After the request to delete the run: a run must not stay because its store is gone for good."""
YOUNG: Final = timedelta(hours=1)
"""Objects whose owner is neither a run nor a step: a client may have stored them for a run that does not exist yet."""
REFERRING_BYTES: Final = 16 * 1024 * 1024
"""Size of an object that is read to see what it refers to."""
PATIENCE_SECONDS: Final = 20.0
"""For one look at a run: less than the time that a reconcile may take."""
TURN_SECONDS: Final = 5.0
"""For deletions of one run, before it is another run's turn."""
_DELETED_AT_ONCE: Final = 100
_AT_WORK_CHECK: Final = timedelta(seconds=5)
"""A safety net: the end of each Job and Pod is an event that wakes the key earlier, if its run has a short name."""
_ENDED: Final = frozenset({"Succeeded", "Failed"})
_OWNED: Final = (StoredKind.OUTPUTS, StoredKind.INPUTS)

_log: Final = get_logger("stored-data")


class StoredDataReconciler:
    """Reconciles one deleted StoryRun at a time, by key."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        stores: ObjectStores,
        events: EventSink,
        clock: Clock,
        settings: Callable[[], OperatorSettings],
    ) -> None:
        self._client = client.in_background()
        self._world = world
        self._stores = stores
        self._events = events
        self._clock = clock
        self._settings = settings

    async def reconcile(self, key: Key) -> Outcome:
        run = self._world.story_runs.get(key.namespace, key.name)
        if run is None or not is_being_deleted(run):
            return Done()
        if keys.FINALIZER_STORY_RUN not in (run["metadata"].get("finalizers") or []) or self._has_children(run):
            return Done()
        if stored_data_goes(run, story_of(run, self._world), self._settings()):
            is_late = self._clock.now() >= _deleted_at(run) + GIVE_UP_AFTER
            if not is_late and self._is_at_work(run):
                return After(_AT_WORK_CHECK)
            try:
                if not await self._deleted(run):
                    return After(timedelta())
            except (StorageUnavailableError, RejectedError) as error:
                self._report(run, error, is_late=is_late)
                if not is_late:
                    return RetryLater(error)
        await drop_finalizer(self._client, self._world.story_runs, STORY_RUN, run, keys.FINALIZER_STORY_RUN)
        return Done()

    def _has_children(self, run: Object) -> bool:
        uid = run["metadata"]["uid"]
        return any(informer.by_index(OWNER_UID, uid) for informer in (self._world.step_runs, self._world.story_runs))

    def _is_at_work(self, run: Object) -> bool:
        """Whether a container may still store something. Deleted Jobs and Pods have time to end."""
        namespace = run["metadata"]["namespace"]
        for name in step_runs_of(run):
            pods = self._world.pods.by_index(STEP_RUN_NAME, f"{namespace}/{name}")
            if any((pod.get("status") or {}).get("phase") not in _ENDED for pod in pods):
                return True
            job = self._world.jobs.get(namespace, name)
            if job is not None and not job_has_ended(job):
                return True
        return False

    async def _deleted(self, run: Object) -> bool:
        """Whether everything is deleted; False after a while, so that others get their turn.

        Raises:
            StorageUnavailableError: also if the store says nothing for so long.
            RejectedError: see ``_delete``.
        """
        timeout_seconds = self._settings().reconcile_timeout.total_seconds() or PATIENCE_SECONDS
        patience_seconds = min(PATIENCE_SECONDS, timeout_seconds * 2 / 3)  # a reconcile that is ended reports no reason
        with trio.move_on_after(patience_seconds):
            return await self._stores.use(run["metadata"]["namespace"], partial(self._delete, run))
        raise StorageUnavailableError(f"the object store did not answer within {patience_seconds:.0f} s")

    def _report(self, run: Object, error: Exception, *, is_late: bool) -> None:
        if is_late:
            text = f"the stored data of the run was not deleted: {error}; delete it with: bobrapet storage sweep"
            self._events.emit(run, EventType.WARNING, "StoredDataLeft", text)
        else:
            text = f"the run is kept until its stored data can be deleted: {error}"
            self._events.emit(run, EventType.WARNING, "StorageUnavailable", text)

    async def _delete(self, run: Object, store: Store) -> bool:
        """Delete what the run has stored, and what it was the last to refer to; False if some of it is left.

        Raises:
            PayloadError: an object that others refer to cannot be examined, so it may refer to anything.
            StoreUnavailableError: see ``Store``.
        """
        namespace, name = run["metadata"]["namespace"], run["metadata"]["name"]
        own = await objects_of_run(store, namespace, name, step_runs_of(run))
        wanted = {each.key for each in own if not self._is_of_another(run, each.key)}
        wanted |= await self._inherited(run, store)
        if not wanted:
            return True
        gone = sorted(wanted - await self._kept(run, wanted, store))
        began_at = trio.current_time()
        for start in range(0, len(gone), _DELETED_AT_ONCE):
            if trio.current_time() - began_at > TURN_SECONDS:
                return False
            with port_errors():
                self._client.check_fence()  # a new run of this name may have stored equal objects under another leader
            await store.delete(gone[start : start + _DELETED_AT_ONCE])
        _log.info("stored data deleted", run=f"{namespace}/{name}", objects=len(gone), kept=len(wanted) - len(gone))
        return True

    def _is_of_another(self, run: Object, key: str) -> bool:
        """Whether the owner of the object exists. A name can belong to a step of one run, or to another run."""
        namespace, owner = key.split("/")[1:3]
        other = self._world.story_runs.get(namespace, owner)
        if other is not None and other["metadata"]["uid"] != run["metadata"]["uid"]:
            return True
        return self._world.step_runs.get(namespace, owner) is not None

    async def _inherited(self, run: Object, store: Store) -> set[str]:
        """Objects that the run refers to, and whose owner is gone: for example the inputs of its StoryTrigger."""
        namespace = run["metadata"]["namespace"]
        own = {run["metadata"]["name"], *step_runs_of(run)}
        reached = await reachable_from(keys_in(run), store, namespace=namespace, object_bytes=REFERRING_BYTES)
        places = {place for key in reached if (place := _place(key, namespace)) is not None and place.owner not in own}
        found = set[str]()
        for place in sorted(places):
            if self._world.story_runs.get(namespace, place.owner) or self._world.step_runs.get(namespace, place.owner):
                continue
            folder = f"{folders_of(namespace)[place.kind]}/{place.owner}"
            old = self._clock.now() - YOUNG
            after = ""
            while page := await store.page(folder, after=after):
                found |= {each.key for each in page if each.key in reached and each.modified_at < old}
                after = page[-1].key
        return found

    async def _kept(self, run: Object, wanted: Iterable[str], store: Store) -> frozenset[str]:
        """Those of ``wanted``, and others, that something else refers to."""
        namespace = run["metadata"]["namespace"]
        direct = set[str]()
        for owner in {key.split("/")[2] for key in wanted}:
            direct.update(*map(keys_in, self._referring(run, f"{namespace}/{owner}")))
        inside = {key for obj in self._referring(run, f"{namespace}/") for key in keys_in(obj) if may_refer(key)}
        return frozenset(direct) | await reachable_from(
            inside, store, namespace=namespace, object_bytes=REFERRING_BYTES
        )

    def _referring(self, run: Object, value: str) -> Iterator[Object]:
        for resource in REFERRING_KINDS:
            if self._world.watches(resource):
                for obj in self._world.informer(resource).each_by_index(REFERRED_OWNER, value):
                    if obj["metadata"]["uid"] != run["metadata"]["uid"]:
                        yield obj


def step_runs_of(run: Object) -> frozenset[str]:
    """The names of the StepRuns that the run has had. Its child runs go by themselves."""
    states: Mapping[str, Any] = (run.get("status") or {}).get("stepStates") or {}
    name = run["metadata"]["name"]
    return frozenset(step_run_name(name, step) for step, state in states.items() if not state.get("subStoryRunName"))


def _place(key: str, namespace: str) -> StoredPlace | None:
    for kind in _OWNED:
        place = place_of(key, kind, namespace)
        if place is not None:
            return place
    return None


def _deleted_at(run: Object) -> datetime:
    deleted_at = parse_instant_or_none(run["metadata"]["deletionTimestamp"])
    assert deleted_at is not None, "the API server stamps it"
    return deleted_at


def _of_run(change: Change, caches: Caches) -> Iterator[Key]:
    """A run that is being deleted; and the one that waits for the end of this child run."""
    if change.new is not None and is_being_deleted(change.new):
        yield Key.of(change.new)
    yield from _of_child(change, caches)


def _of_child(change: Change, caches: Caches) -> Iterator[Key]:
    del caches
    run = owning_run(change.object)
    if run is not None and begins_to_go(change):
        yield Key(run.namespace, run.name)


def _of_workload(change: Change, caches: Caches) -> Iterator[Key]:
    """The deleted run that waits for the end of a Job or Pod of its steps."""
    metadata = change.object["metadata"]
    name = (metadata.get("labels") or {}).get(keys.LABEL_STORY_RUN, "")
    run = caches.informer(STORY_RUN).get(metadata["namespace"], name)
    if run is not None and is_being_deleted(run):
        yield Key.of(run)


def _build(there: ControllerDependencies) -> Reconcile:
    return StoredDataReconciler(
        there.client, there.world, there.stores, there.events, there.clock, there.settings
    ).reconcile


CONTROLLER: Final = ControllerRegistration(
    "storeddata",
    STORY_RUN,
    _build,
    options=lambda _: ControllerSettings(2, timedelta(seconds=1), timedelta(minutes=1)),
    watches=(
        Watch(STORY_RUN, _of_run),
        Watch(STEP_RUN, _of_child),
        Watch(JOB, _of_workload),
        Watch(POD, _of_workload),
    ),
    informers=REFERRING,
    enqueue_when_settings_change=True,
    enqueue_only=is_being_deleted,
)
