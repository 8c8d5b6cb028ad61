"""StoryRuns: hand live ones to the engine, keep house around the others.

A live run belongs to ``core.engine``: this controller marks it (finalizer, labels) and hands over its key. A finished
run has its children removed after their TTL and is itself removed after its retention; a deleted one is let go when its
children are gone. Children are those that carry the run's UID as controller owner, never those of a label alone.
Source: StoryRun contract 1.4, 4, 6.2, 19 and 20.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from core.engine.supervisor import Supervisor
from core.kube.client import KubeClient
from core.kube.informer import Informer

from core.api import keys
from core.api.identity import label_value
from core.api.instant import format_instant, parse_instant_or_none
from core.api.phases import Phase
from core.api.resource import STEP_RUN, STORY_RUN, Resource
from core.engine.errors import GoneError, StaleError, UnavailableError
from core.engine.ports import Clock, Object, RunKey
from core.kube.errors import ConflictError, NotFoundError
from core.policy.settings import DEFAULT_QUEUE, OperatorSettings, QueueSettings
from reconcilers.adapters.run_store import patch_metadata, patch_status
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import OWNER_UID, World
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After, Done, Outcome, Retry

DEFAULT_CHILD_TTL: Final = timedelta(hours=1)
DEFAULT_RETENTION: Final = timedelta(days=1)
_CHILDREN_GONE_CHECK: Final = timedelta(seconds=5)
"""A safety net: the deletion of each child is an event that wakes the key earlier."""


class StoryRunReconciler:
    """One StoryRun at a time, by key."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        supervisor: Supervisor,
        clock: Clock,
        settings: Callable[[], OperatorSettings],
    ) -> None:
        self._client = client
        self._world = world
        self._supervisor = supervisor
        self._clock = clock
        self._settings = settings

    async def reconcile(self, key: Key) -> Outcome:
        run = self._world.story_runs.get(key.namespace, key.name)
        if run is None:
            return Done()
        try:
            if run["metadata"].get("deletionTimestamp"):
                return await self._release(run)
            if not _is_terminal(run):
                await self._mark(run)
                self._supervisor.adopt(RunKey(key.namespace, key.name))
                return Done()
            return await self._retire(run)
        except (StaleError, UnavailableError) as error:
            return Retry(error)
        except GoneError:
            return Done()

    async def _mark(self, run: Object) -> None:
        """Finalizer and labels, in one write and only when one of them is missing."""
        story = self._story_of(run)
        patch = housekeeping_patch(run, story, self._settings())
        if patch:
            await patch_metadata(self._client, self._world.story_runs, STORY_RUN, run, patch)

    async def _release(self, run: Object) -> Outcome:
        """Delete what the run owns; let it go when nothing is left."""
        if keys.FINALIZER_STORY_RUN not in (run["metadata"].get("finalizers") or ()):
            return Done()
        if await self._delete_children(run):
            return After(_CHILDREN_GONE_CHECK)
        finalizers = [name for name in run["metadata"]["finalizers"] if name != keys.FINALIZER_STORY_RUN]
        await patch_metadata(self._client, self._world.story_runs, STORY_RUN, run, {"finalizers": finalizers or None})
        return Done()

    async def _retire(self, run: Object) -> Outcome:
        now, finished_at = self._clock.now(), _finished_at(run)
        story, settings = self._story_of(run), self._settings()
        removal = _removal(finished_at, story, settings)
        if removal is not None and now >= removal:
            await self._delete(STORY_RUN, self._world.story_runs, run)
            return Done()
        ttl = child_ttl(story, settings)
        if ttl is not None and not run["status"].get("childrenCleanedAt"):
            cleaning = finished_at + ttl
            if now < cleaning:
                return After((min(cleaning, removal) if removal else cleaning) - now)
            if await self._delete_children(run):
                return After(_CHILDREN_GONE_CHECK)
            cleaned = {"childrenCleanedAt": format_instant(now)}
            await patch_status(self._client, self._world.story_runs, STORY_RUN, run, cleaned)
        return Done() if removal is None else After(removal - now)

    async def _delete_children(self, run: Object) -> bool:
        """Ask for the deletion of every child; True while any is left."""
        uid = run["metadata"]["uid"]
        children = [
            (STEP_RUN, self._world.step_runs, child) for child in self._world.step_runs.by_index(OWNER_UID, uid)
        ]
        children += [
            (STORY_RUN, self._world.story_runs, child) for child in self._world.story_runs.by_index(OWNER_UID, uid)
        ]
        for resource, informer, child in children:
            if not child["metadata"].get("deletionTimestamp"):
                await self._delete(resource, informer, child)
        return bool(self._world.step_runs.by_index(OWNER_UID, uid) or self._world.story_runs.by_index(OWNER_UID, uid))

    async def _delete(self, resource: Resource, informer: Informer, obj: Object) -> None:
        metadata = obj["metadata"]
        with port_errors():
            try:
                await self._client.delete(
                    resource,
                    metadata["name"],
                    metadata["namespace"],
                    uid=metadata["uid"],
                    propagation="Background",
                )
            except (NotFoundError, ConflictError):  # gone already, or a namesake stands there now
                informer.forget(metadata["namespace"], metadata["name"], metadata["uid"])
                return
        if not metadata.get("finalizers"):
            informer.forget(metadata["namespace"], metadata["name"], metadata["uid"])

    def _story_of(self, run: Object) -> Object | None:
        reference = run["spec"].get("storyRef") or {}
        namespace = reference.get("namespace") or run["metadata"]["namespace"]
        return self._world.stories.get(namespace, reference.get("name", ""))


def housekeeping_patch(run: Object, story: Object | None, settings: OperatorSettings) -> dict[str, Any]:
    """The metadata merge patch that gives a live run its finalizer, queue labels and correlation label."""
    metadata = run["metadata"]
    patch: dict[str, Any] = {}
    finalizers = metadata.get("finalizers") or []
    if keys.FINALIZER_STORY_RUN not in finalizers:
        patch["finalizers"] = [*finalizers, keys.FINALIZER_STORY_RUN]
    wanted = scheduling_labels(story, settings) if story is not None else {}
    correlation = ((metadata.get("annotations") or {}).get(keys.ANNOTATION_CORRELATION_ID) or "").strip()
    if correlation:
        wanted[keys.LABEL_CORRELATION_ID] = label_value(correlation)
    have = metadata.get("labels") or {}
    changed = {name: value for name, value in wanted.items() if have.get(name) != value}
    if changed:
        patch["labels"] = changed
    return patch


def scheduling_labels(story: Object, settings: OperatorSettings) -> dict[str, str]:
    """Queue and priority of a Story's runs (StoryRun contract 13.1)."""
    policy = story["spec"].get("policy") or {}
    queue = (policy.get("queue") or "").strip().lower() or DEFAULT_QUEUE
    priority = policy.get("priority")
    if priority is None:
        priority = settings.runs.queues.get(queue, QueueSettings()).default_priority
    return {keys.LABEL_QUEUE: label_value(queue), keys.LABEL_QUEUE_PRIORITY: str(priority)}


def child_ttl(story: Object | None, settings: OperatorSettings) -> timedelta | None:
    """How long children outlive their run; None keeps them as long as the run itself.

    A Story that says 0 means "at once" and a negative number "keep": unset is not 0.
    """
    job = _execution(story).get("job") or {}
    seconds = job.get("ttlSecondsAfterFinished")
    if seconds is None:
        seconds = settings.job.ttl_seconds_after_finished
    return None if seconds < 0 else timedelta(seconds=seconds)


def retention(story: Object | None, settings: OperatorSettings) -> timedelta | None:
    """How long a finished run is kept; None keeps it for ever (a Story or operator that says 0)."""
    job = _execution(story).get("job") or {}
    seconds = job.get("storyRunRetentionSeconds")
    if seconds is None:
        seconds = settings.runs.retention_seconds
    if seconds is None:
        return DEFAULT_RETENTION
    return None if seconds == 0 else timedelta(seconds=max(seconds, 0))


def _removal(finished_at: datetime, story: Object | None, settings: OperatorSettings) -> datetime | None:
    kept = retention(story, settings)
    return None if kept is None else finished_at + kept


def _execution(story: Object | None) -> dict[str, Any]:
    policy = ((story or {}).get("spec") or {}).get("policy") or {}
    execution: dict[str, Any] = policy.get("execution") or {}
    return execution


def _is_terminal(run: Object) -> bool:
    phase = (run.get("status") or {}).get("phase")
    return bool(phase) and phase in set(Phase) and Phase(phase).terminal


def _finished_at(run: Object) -> datetime:
    """A damaged or missing ``finishedAt`` counts from creation: late is safe, for ever is not."""
    status, metadata = run["status"], run["metadata"]
    finished = parse_instant_or_none(status.get("finishedAt")) or parse_instant_or_none(metadata["creationTimestamp"])
    assert finished is not None, "the API server stamps every object"
    return finished
