"""StoryRuns: pass live runs to the engine, and clean up the others.

``core.engine`` executes live runs: this controller marks a run (finalizer, labels: one write, usually none) and passes
its key on; so it does with a finished run that has a redrive request. For any other finished run,
it removes the children after their TTL, whatever retention child runs have of their own, and the run itself after its
retention; but not while the run that started it is live, because that run may still read its output, and not before
the StoryTrigger that it was created for has an answer. A deleted run is released when its children are gone
and, by ``reconcilers.stored_data``, what it has stored. Children are those with the run's UID as their controller
owner; a label alone does not count.
Source: StoryRun contract 1.4, 4, 6.2, 18, 19 and 20.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import starmap
from typing import Final

from bubu_contract.instants import format_instant
from core.api import keys
from core.api.objects import NamespacedName, Object, controller_of, has_ended, is_being_deleted
from core.api.resource import STEP_RUN, STORY, STORY_RUN, STORY_TRIGGER, Resource
from core.engine.ports import Clock, EventSink
from core.engine.redrive.request import Malformed, pending_redrive
from core.engine.run.supervisor import Supervisor
from core.engine.run.termination import orphans
from core.engine.run_marks import needed_marks
from core.kube.client import KubeClient
from core.kube.informer import Change, Informer
from core.policy.settings import OperatorSettings
from core.telemetry import catalogue, metrics
from core.workloads.kept_data import stored_data_goes
from core.workloads.live_run import is_live_run
from core.workloads.trigger import is_answered
from reconcilers.adapters.permissions import ENGINE_PERMISSIONS
from reconcilers.adapters.triggers import TRIGGERS, is_awaited, run_of
from reconcilers.adapters.world import (
    HELD_BY_REFERENCE,
    LIVE_RUNS_KEPT,
    LIVE_STEP_RUNS,
    OWNER_UID,
    STORY_KEY,
    World,
    live_run_key,
    story_of,
)
from reconcilers.adapters.writes import delete, drop_finalizer, patch_metadata, patch_status
from reconcilers.live_run_decision import is_record_of_rest
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.resting_runs import RestingRuns
from reconcilers.restored import RestoredRunKeeper, run_of_alien
from reconcilers.resync import Resync
from reconcilers.retention import Act, CleanUp, KeepUntil, Remove, child_ttl, next_act, retention, retention_rules_of
from reconcilers.run_changes import (
    begins_to_go,
    concerns_the_run,
    is_waiting_to_begin,
    live_runs_of_story,
    no_longer_live,
    owning_run,
    story_was_edited,
)
from reconcilers.runtime.controller import Controller, Key
from reconcilers.runtime.outcome import After, Done, Outcome
from reconcilers.runtime.watch import Caches, Watch

_CHILDREN_GONE_CHECK: Final = timedelta(seconds=5)
"""A safety net: the deletion of each child is an event that wakes the key earlier."""
_LONGEST_WAIT: Final = timedelta(hours=1)
"""Timers of the queue ignore suspended machines and corrected clocks: check the wall clock in between."""


def _by_nobody(_: Object) -> bool:
    """Nothing waits for the run."""
    return False


class StoryRunReconciler:
    """Reconciles one StoryRun at a time, by key."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        supervisor: Supervisor,
        clock: Clock,
        settings: Callable[[], OperatorSettings],
        is_awaited: Callable[[Object], bool] = _by_nobody,
        events: EventSink | None = None,
    ) -> None:
        """
        Args:
            is_awaited: whether something waits for the run that has not read it yet.
        """
        self._client = client.in_background()
        self._world = world
        self._supervisor = supervisor
        self._clock = clock
        self._settings = settings
        self._is_awaited = is_awaited
        self._restored = RestoredRunKeeper(self._client, world, clock, settings, events)
        self._resting = RestingRuns(world, clock, settings)

    def glance(self, key: Key) -> Outcome | None:
        """The outcome for a finished run for which nothing is to be done now: there may be many thousands of them."""
        if (keep := self._resting.keep_until(key)) is not None:
            return _until(keep, self._clock.now())
        run = self._world.story_runs.get(key.namespace, key.name)
        if run is None or is_being_deleted(run) or not has_ended(run) or pending_redrive(run) is not None:
            return None
        if self._restored.concerns(run):
            return None
        held, live = self._world.step_runs.keys_by_index(HELD_BY_REFERENCE, str(key)), self._live_step_runs_of(run)
        act = self._next_act(run)
        return _until(act, self._clock.now()) if isinstance(act, KeepUntil) and not (held or live) else None

    async def reconcile(self, key: Key) -> Outcome:
        await self._release_step_runs(key)
        run = self._world.story_runs.get(key.namespace, key.name)
        if run is None:
            return Done()
        if is_being_deleted(run):
            return await self._release(run)
        if (outcome := await self._restored.take_over(run)) is not None:
            return outcome
        if has_ended(run):
            return await self._retire_or_hand_over(run)
        await self._mark(run)
        self._supervisor.adopt(NamespacedName(key.namespace, key.name))
        return Done()

    async def _retire_or_hand_over(self, run: Object) -> Outcome:
        """The engine answers a redrive request; a malformed request does not keep a run longer.

        The engine also ends steps of the run that still run: another operator started them, and did not live to see the
        end.
        """
        request = pending_redrive(run)
        live = (self._world.step_runs.get(*key) for key in self._live_step_runs_of(run))
        if request is not None or orphans(one for one in live if one is not None):
            self._supervisor.adopt(NamespacedName(run["metadata"]["namespace"], run["metadata"]["name"]))
        if request is None or isinstance(request, Malformed):
            return await self._retire(run)
        return Done()

    async def _mark(self, run: Object) -> None:
        patch = needed_marks(run, self._story_of(run), self._settings())
        if patch:
            await patch_metadata(self._client, self._world.story_runs, STORY_RUN, run, patch)

    async def _retire(self, run: Object) -> Outcome:
        self._show_windows(run)
        match act := self._next_act(run):
            case Remove():
                await delete(self._client, self._world.story_runs, STORY_RUN, run, unchanged=True)
                return Done()
            case CleanUp():
                if await self._delete_children(run):
                    return After(_CHILDREN_GONE_CHECK)
                cleaned = {"childrenCleanedAt": format_instant(self._clock.now())}
                await patch_status(self._client, self._world.story_runs, STORY_RUN, run, cleaned)
                return After(timedelta())
            case KeepUntil():
                return _until(act, self._clock.now())

    def _show_windows(self, run: Object) -> None:
        story, settings = self._story_of(run), self._settings()
        name = str(((run.get("spec") or {}).get("storyRef") or {}).get("name") or "")
        for window, kept in (("child_ttl", child_ttl(story, settings)), ("retention", retention(story, settings))):
            if kept is not None:
                where = {"namespace": run["metadata"]["namespace"], "story": name, "window": window}
                metrics.set_gauge(catalogue.STORY_RUN_WINDOW, kept.total_seconds(), **where)

    def _next_act(self, run: Object) -> Act:
        # The end of its parent, the answer of its StoryTrigger, and its successor, wake this key.
        is_needed = self._is_needed(run) or self._is_awaited(run) or self._records_that_its_story_rests(run)
        return next_act(run, self._story_of(run), self._settings(), self._clock.now(), is_needed=is_needed)

    def _live_step_runs_of(self, run: Object) -> list[NamespacedName]:
        return [*self._world.step_runs.keys_by_index(LIVE_STEP_RUNS, run["metadata"]["uid"])]

    def _is_needed(self, run: Object) -> bool:
        """Whether the run that started it has not ended: after a restart, the output of its step is still read from
        this run.
        """
        owner = controller_of(run)
        if owner is None or owner.get("kind") != STORY_RUN.kind:
            return False
        parent = self._world.story_runs.get(run["metadata"]["namespace"], owner["name"])
        if parent is None or parent["metadata"]["uid"] != owner.get("uid"):
            return False
        return not (has_ended(parent) or is_being_deleted(parent))

    def _records_that_its_story_rests(self, run: Object) -> bool:
        """Whether the run is needed to know that its Story, which is always on, starts no other one, or when."""
        if not is_live_run(run):
            return False
        others = (each for place in live_run_key(run) for each in self._kept(place))
        return is_record_of_rest(run, self._story_of(run), others)

    def _kept(self, story: str) -> list[Object]:
        return self._world.story_runs.by_index(LIVE_RUNS_KEPT, story)

    async def _release(self, run: Object) -> Outcome:
        """Delete the objects that the run owns; release it when none is left."""
        finalizers = run["metadata"].get("finalizers") or []
        if keys.FINALIZER_STORY_RUN not in finalizers:
            return Done()
        if await self._delete_children(run):
            return After(_CHILDREN_GONE_CHECK)
        if not stored_data_goes(run, self._story_of(run), self._settings()):  # else reconcilers.stored_data releases it
            await drop_finalizer(self._client, self._world.story_runs, STORY_RUN, run, keys.FINALIZER_STORY_RUN)
        return Done()

    async def _delete_children(self, run: Object) -> bool:
        """Request the deletion of every child; True while any is left."""
        for resource, informer, child in self._children(run):
            if not is_being_deleted(child):
                await delete(self._client, informer, resource, child)
        return any(self._children(run))

    async def _release_step_runs(self, key: Key) -> None:
        """Remove a finalizer that the reference operator has set, also if the run is gone; this operator neither needs
        nor sets one.
        """
        for step_run in self._world.step_runs.by_index(HELD_BY_REFERENCE, str(key)):
            if is_being_deleted(step_run):
                await drop_finalizer(self._client, self._world.step_runs, STEP_RUN, step_run, keys.FINALIZER_STEP_RUN)

    def _children(self, run: Object) -> Iterator[tuple[Resource, Informer, Object]]:
        for resource, informer in ((STEP_RUN, self._world.step_runs), (STORY_RUN, self._world.story_runs)):
            for child in informer.by_index(OWNER_UID, run["metadata"]["uid"]):
                yield resource, informer, child

    def _story_of(self, run: Object) -> Object | None:
        return story_of(run, self._world)


def _until(keep: KeepUntil, now: datetime) -> Outcome:
    return Done() if keep.until is None else After(min(keep.until - now, _LONGEST_WAIT))


def _of_run(change: Change, caches: Caches) -> Iterator[Key]:
    """The run; when it ends, also its child runs, which may have been kept only because of it; and its parent."""
    run = change.object
    if concerns_the_run(change):
        yield Key.of(run)
    if no_longer_live(change):
        yield from map(Key.of, caches.informer(STORY_RUN).by_index(OWNER_UID, run["metadata"]["uid"]))
    if change.old is None and is_live_run(run):  # the run before need not be kept any more
        for place in live_run_key(run):
            yield from map(Key.of, caches.informer(STORY_RUN).by_index(LIVE_RUNS_KEPT, place))
    yield from _owner_of_what_goes(change)


def _of_story(change: Change, caches: Caches) -> Iterator[Key]:
    """Runs whose retention in the Story has changed, and runs that wait for the Story."""
    key = f"{change.object['metadata']['namespace']}/{change.object['metadata']['name']}"
    if retention_rules_of(change.old) != retention_rules_of(change.new):
        yield from starmap(Key, caches.informer(STORY_RUN).keys_by_index(STORY_KEY, key))
    if change.new is not None and story_was_edited(change):
        yield from map(Key.of, filter(is_waiting_to_begin, live_runs_of_story(change.new, caches)))


def _of_step_run(change: Change, caches: Caches) -> Iterator[Key]:
    """The run that waits for its children to be gone.

    Also a run that has ended, if a StepRun appears for it: the operator that created it may not live to end it.
    """
    yield from _owner_of_what_goes(change)
    if (former := run_of_alien(change)) is not None:
        yield former
    if change.old is None and change.new is not None and not has_ended(change.new):
        owner = controller_of(change.new)
        namespace = change.new["metadata"]["namespace"]
        run = caches.informer(STORY_RUN).get(namespace, owner["name"]) if owner is not None else None
        if run is not None and has_ended(run):
            yield Key.of(run)


def _owner_of_what_goes(change: Change) -> Iterator[Key]:
    """A run in cleanup or deletion, which waits for its children to be gone."""
    run = owning_run(change.object)
    if run is not None and begins_to_go(change):
        yield Key(run.namespace, run.name)


def _of_trigger(change: Change, caches: Caches) -> Iterator[Key]:
    """The run that was kept until the StoryTrigger had an answer."""
    was_answered = change.old is not None and is_answered(change.old)
    if change.new is None or (is_answered(change.new) and not was_answered):
        run = Key(*run_of(change.object))
        if caches.informer(STORY_RUN).get(run.namespace, run.name) is not None:
            yield run


def _reconciler(there: ControllerDependencies) -> StoryRunReconciler:
    return StoryRunReconciler(
        there.client,
        there.world,
        there.supervisor,
        there.clock,
        there.settings,
        partial(is_awaited, there.world),
        there.events,
    )


async def _resync(there: ControllerDependencies, controller: Controller) -> None:
    await Resync(there.world, there.supervisor, controller, ownership=there.ownership).run()


WATCHES: Final = (Watch(STORY_RUN, _of_run), Watch(STORY, _of_story), Watch(STEP_RUN, _of_step_run))

CONTROLLER: Final = ControllerRegistration(
    "storyrun",
    STORY_RUN,
    lambda there: _reconciler(there).reconcile,
    options=lambda settings: settings.story_run,
    watches=(*WATCHES, Watch(STORY_TRIGGER, _of_trigger)),
    informers=(TRIGGERS,),
    permissions=ENGINE_PERMISSIONS,
    beside=_resync,
    glance=lambda there: _reconciler(there).glance,
    enqueue_when_settings_change=True,  # with another object store, live runs need the finalizer
)
