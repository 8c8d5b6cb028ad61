"""Pinned Stories: keep those that runs need, remove the others.

A revision is needed while it equals the current Story, because runs start with it, and while a run that has not ended
refers to it. Otherwise it is removed, but only after ``GRACE`` has passed since this process noticed that it is no
longer current: a run that started with it may not have recorded it yet. An object that is labelled like a revision, but
does not match its name, belongs to another owner and is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from core.api.objects import Object, is_being_deleted
from core.api.permission import Permission
from core.api.pinned_story import current_revision, story_of
from core.api.resource import CONTROLLER_REVISION, STORY, STORY_RUN
from core.engine.ports import Clock
from core.kube.client import KubeClient
from core.kube.informer import Change
from reconcilers.adapters.world import LIVE_RUNS, STORY_KEY, World
from reconcilers.adapters.writes import delete
from reconcilers.definition import COUNT_DELAY, stories_of_run
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.runtime.changes import phase_changed, spec_changed
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import After, Done, Outcome
from reconcilers.runtime.watch import Caches, Watch, own_keys

GRACE: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Tidying:
    """The actions for the revisions of one Story."""

    remove: tuple[Object, ...]
    ceased_at: Mapping[str, datetime]
    """By name: since when each remaining revision is known not to be current."""
    look_again_at: datetime | None
    """When another revision becomes removable without an event; None: never."""


def tidying(
    revisions: Sequence[Object], current: str | None, used: Set[str], ceased_at: Mapping[str, datetime], now: datetime
) -> Tidying:
    """Decide about the revisions of one Story. Pure.

    Args:
        current: the name of the revision with the current Story; None when the Story no longer exists.
        used: the revision names in runs that have not ended.
        ceased_at: from the previous decision.
    """
    old = {str(revision["metadata"]["name"]): revision for revision in revisions}
    if current is not None:
        old.pop(current, None)
    since = {name: ceased_at.get(name, now) for name in old}
    idle = [name for name in old if name not in used]
    due = [name for name in idle if since[name] + GRACE <= now]
    return Tidying(
        remove=tuple(old[name] for name in due if not is_being_deleted(old[name])),
        ceased_at=since,
        look_again_at=min((since[name] + GRACE for name in idle if name not in due), default=None),
    )


class StoryRevisionReconciler:
    """Reconciles the revisions of one Story at a time, by the Story's key, whether the Story exists or not."""

    def __init__(self, client: KubeClient, world: World, clock: Clock) -> None:
        self._client = client.in_background()
        self._world = world
        self._clock = clock
        self._ceased_at: dict[Key, Mapping[str, datetime]] = {}

    async def reconcile(self, key: Key) -> Outcome:
        revisions = self._world.story_revisions.by_index(STORY_KEY, str(key))
        story = self._world.stories.get(key.namespace, key.name)
        current = current_revision(story)
        if all(revision["metadata"]["name"] == current for revision in revisions):
            self._ceased_at.pop(key, None)
            return Done()
        used = {_revision_of(run) for run in self._world.story_runs.each_by_index(LIVE_RUNS, str(key))}
        now = self._clock.now()
        decided = tidying(revisions, current, used, self._ceased_at.get(key, {}), now)
        self._ceased_at[key] = decided.ceased_at
        for revision in decided.remove:
            await delete(self._client, self._world.story_revisions, CONTROLLER_REVISION, revision)
        return Done() if decided.look_again_at is None else After(decided.look_again_at - now)


def _revision_of(run: Object) -> Any:
    return (run.get("status") or {}).get("storyRevision")


def _of_revision(change: Change, caches: Caches) -> Iterator[Key]:
    """The Story of the revision."""
    del caches
    story = story_of(change.object)
    if story is not None:
        yield Key(*story)


def _build(dependencies: ControllerDependencies) -> Reconcile:
    return StoryRevisionReconciler(dependencies.client, dependencies.world, dependencies.clock).reconcile


CONTROLLER: Final = ControllerRegistration(
    "storyrevision",
    STORY,
    _build,
    options=lambda settings: settings.story,
    watches=(
        Watch(CONTROLLER_REVISION, _of_revision),
        Watch(STORY, own_keys, when=spec_changed),
        Watch(STORY_RUN, stories_of_run, when=phase_changed, delay=COUNT_DELAY),
    ),
    permissions=(
        Permission(
            CONTROLLER_REVISION,
            ("delete",),
            "Deletes a stored version that no run needs any more.",
            seldom="Only ten minutes after a Story was edited or deleted.",
        ),
    ),
    enqueue_at_start=False,  # a Story without revisions needs nothing
)
