"""Stories that are always on: keep exactly one StoryRun of each, replace it when the Story changes, restart it.

What is to be done follows from the Story and its runs alone (``live_run_decision``). The name of a run is derived from
what it follows, so a repeated creation finds the run of the first one. Before a run is created, Story and runs are read
from the API server: an informer may be behind, and the names of runs that were deleted are used again.

A run of a Story that is gone, or not always on any more, is canceled and drains. It has no owner reference to the
Story: the garbage collector would delete it before its streams are drained. Source: streaming contract 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from bubu_contract.identity import label_value
from core.api import keys
from core.api.conditions import find_condition, with_condition
from core.api.objects import Object, is_being_deleted
from core.api.permission import Permission
from core.api.phases import ConditionType, LiveReason
from core.api.resource import STORY, STORY_RUN
from core.engine.errors import RejectedError
from core.engine.ports import Clock, EventSink, EventType
from core.engine.run_marks import marked
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError
from core.kube.informer import Change
from core.kube.patch import bound_to
from core.policy.settings import OperatorSettings
from core.workloads.live_run import is_always_on, is_live_run_of, live_run_manifest
from reconcilers.adapters.permissions import FRESH
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import LIVE_RUNS_KEPT, World, live_run_key
from reconcilers.adapters.writes import create_or_read
from reconcilers.definition import STATUS_WHY, write_status
from reconcilers.live_run_decision import LiveDecision, LiveSuccessor, decide, ending_all
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.run_changes import concerns_the_parent
from reconcilers.runtime.changes import spec_changed, versions
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import After, Done, Outcome
from reconcilers.runtime.watch import Caches, Watch, own_keys
from reconcilers.story import story_findings

_LONGEST_WAIT: Final = timedelta(hours=1)
"""Timers of the queue ignore suspended machines and corrected clocks: check the wall clock in between."""
_REFUSED_AGAIN: Final = timedelta(minutes=1)
"""After this time a refused creation is tried again: no event says that the refusal has become obsolete."""
_ALIVE: Final = (LiveReason.RUNNING, LiveReason.ENDING)
_WARNINGS: Final = (LiveReason.RESTARTING, LiveReason.NOT_STARTED, LiveReason.CONFLICT, LiveReason.REFUSED)


class LiveRunReconciler:
    """Reconciles the live run of one Story at a time, by the Story's key, whether the Story exists or not."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        events: EventSink,
        clock: Clock,
        settings: Callable[[], OperatorSettings],
    ) -> None:
        self._client = client.in_background()
        self._world = world
        self._events = events
        self._clock = clock
        self._settings = settings

    async def reconcile(self, key: Key) -> Outcome:
        story, runs = self._world.stories.get(key.namespace, key.name), self._runs(key)
        if story is None or is_being_deleted(story):
            await self._end(ending_all(runs, "the Story was deleted"))
            return Done()
        if not is_always_on(story.get("spec") or {}):
            await self._end(ending_all(runs, "the Story does not have streamingStrategy: PerStory any more"))
            await self._show(story, None)
            return Done()
        decision = self._decide(story, runs)
        if decision.start is not None:
            fresh, runs = await self._read(key, story)
            if fresh is None or not is_always_on(fresh.get("spec") or {}):
                return After(timedelta())
            story, decision = fresh, self._decide(fresh, runs)
        await self._end(decision.end)
        if decision.start is not None:
            decision = await self._started(story, decision, decision.start)
        await self._show(story, decision)
        if decision.until is None:
            return Done()
        return After(min(max(decision.until - self._clock.now(), timedelta()), _LONGEST_WAIT))

    def _decide(self, story: Object, runs: Sequence[Object]) -> LiveDecision:
        findings = story_findings(story, self._world, self._settings())
        return decide(story, runs, self._clock.now(), has_errors=bool(findings))

    def _runs(self, key: Key) -> list[Object]:
        return self._world.story_runs.by_index(LIVE_RUNS_KEPT, str(key))

    async def _read(self, key: Key, known: Object) -> tuple[Object | None, list[Object]]:
        """Story and runs as the API server has them."""
        with port_errors():
            try:
                story = self._world.stories.remember(await self._client.get(STORY, key.name, key.namespace))
            except NotFoundError:
                self._world.stories.forget(key.namespace, key.name, known["metadata"]["uid"])
                return None, []
            selector = f"{keys.LABEL_LIVE_RUN_OF}={label_value(key.name)}"
            listed = (await self._client.list(STORY_RUN, key.namespace, label_selector=selector)).items
        return story, [run for run in listed if str(key) in live_run_key(run)]

    async def _end(self, due: Sequence[tuple[Object, str]]) -> None:
        """Ask the engine to cancel these runs; the annotation says that no person has."""
        for run, why in due:
            metadata = run["metadata"]
            annotations = {keys.ANNOTATION_LIVE_REPLACED: why, keys.ANNOTATION_CANCEL_REASON: why}
            body = {"metadata": {"annotations": annotations}, "spec": {"cancelRequested": True}}
            with port_errors():
                try:
                    stored = await self._client.patch(
                        STORY_RUN, metadata["name"], bound_to(run, body), namespace=metadata["namespace"]
                    )
                except NotFoundError:
                    continue
            self._world.story_runs.remember(stored)

    async def _started(self, story: Object, decision: LiveDecision, successor: LiveSuccessor) -> LiveDecision:
        """The decision after the run was created, or has turned out to exist."""
        wanted = marked(live_run_manifest(story, successor.predecessor, successor.restarts), story, self._settings())
        name, again = wanted["metadata"]["name"], self._clock.now() + _REFUSED_AGAIN
        try:
            run, _ = await create_or_read(self._client, STORY_RUN, wanted)
        except RejectedError as error:
            message = f"the API server refuses StoryRun {name}: {error}"
            return replace(decision, reason=LiveReason.REFUSED, message=message, until=again)
        if not is_live_run_of(run, story):
            message = f"StoryRun {name} exists and was not started by the operator; delete it"
            return replace(decision, reason=LiveReason.CONFLICT, message=message, until=again)
        run = self._world.story_runs.remember(run)
        return self._decide(story, [*(each for each in self._runs(Key.of(story)) if each is not run), run])

    async def _show(self, story: Object, decision: LiveDecision | None) -> None:
        """Write name and condition, with an Event when they are others; None removes both."""
        stored = story.get("status") or {}
        conditions = list(stored.get("conditions") or ())
        before = find_condition(conditions, ConditionType.LIVE_RUN) or {}
        if decision is None:
            if before or stored.get("liveRun"):
                kept = [each for each in conditions if each.get("type") != ConditionType.LIVE_RUN]
                status: dict[str, Any] = {"liveRun": None, "conditions": kept or None}
                await write_status(self._client, self._world.stories, STORY, story, status)
            return
        generation = int(story["metadata"].get("generation") or 0)
        name = None if decision.run is None else decision.run["metadata"]["name"]
        conditions = with_condition(
            conditions,
            ConditionType.LIVE_RUN,
            decision.reason in _ALIVE,
            reason=decision.reason,
            message=decision.message,
            generation=generation,
            now=self._clock.now(),
        )
        status = {"liveRun": name, "conditions": conditions}
        await write_status(self._client, self._world.stories, STORY, story, status)
        said = before.get("reason"), stored.get("liveRun"), before.get("observedGeneration")
        if said != (decision.reason, name, generation):
            type_ = EventType.WARNING if decision.reason in _WARNINGS else EventType.NORMAL
            self._events.emit(story, type_, decision.reason, decision.message)


def _of_live_run(change: Change, caches: Caches) -> Iterator[Key]:
    del caches
    for run in versions(change):
        for place in live_run_key(run):
            namespace, _, name = place.partition("/")
            yield Key(namespace, name)


def _run_matters(change: Change) -> bool:
    """A run appeared, has another phase, is being canceled or deleted, or is gone."""
    return concerns_the_parent(change) or _is_canceled(change.old) != _is_canceled(change.new)


def _is_canceled(run: Object | None) -> bool:
    return ((run or {}).get("spec") or {}).get("cancelRequested") is True


def _validity_changed(change: Change) -> bool:
    """A Story was edited, or has errors now, or no errors any more."""
    return spec_changed(change) or _validity(change.old) != _validity(change.new)


def _validity(story: Object | None) -> tuple[Any, Any]:
    status = (story or {}).get("status") or {}
    return status.get("validationStatus"), status.get("observedGeneration")


def _build(there: ControllerDependencies) -> Reconcile:
    return LiveRunReconciler(there.client, there.world, there.events, there.clock, there.settings).reconcile


CONTROLLER: Final = ControllerRegistration(
    "liverun",
    STORY,
    _build,
    options=lambda settings: settings.story,
    watches=(
        Watch(STORY, own_keys, when=_validity_changed),
        Watch(STORY_RUN, _of_live_run, when=_run_matters),
    ),
    permissions=(
        Permission(STORY, ("get",), FRESH),
        Permission(STORY, ("patch",), STATUS_WHY, subresource="status"),
        Permission(STORY_RUN, ("create",), "Keeps a run of each Story with streamingStrategy: PerStory."),
        Permission(STORY_RUN, ("patch",), "Cancels the run of such a Story when the Story was changed or deleted."),
    ),
)
