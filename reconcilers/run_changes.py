"""What a change of a StoryRun, of its Story or of its children means for waiting tasks. Pure.

Shared by the StoryRun controller and the wake-ups of the engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from core.api import keys
from core.api.objects import NamespacedName, Object, controller_of, has_ended, is_being_deleted
from core.api.phases import Phase
from core.api.resource import STORY_RUN
from core.engine.status.stored_run import terminated_at
from core.kube.informer import Change
from reconcilers.adapters.world import LIVE_RUNS
from reconcilers.runtime.watch import Caches

_RECORDED: Final = frozenset({keys.ANNOTATION_STEP_TIMERS, keys.ANNOTATION_GRACEFUL_CANCEL_OBSERVED_AT})
"""Annotations in which a run's scope stores its own state."""


def concerns_the_run(change: Change) -> bool:
    """Whether more has changed than the progress that the scope of the run records."""
    if change.old is None or change.new is None:
        return True
    return _face(change.old) != _face(change.new)


def concerns_the_parent(change: Change) -> bool:
    """Whether a run appeared, moved to another phase, is now being deleted, or disappeared."""
    if change.old is None or change.new is None:
        return True
    return _stage(change.old) != _stage(change.new)


def no_longer_live(change: Change) -> bool:
    """Whether a live run has ended, is being deleted, or is gone."""
    return _is_live(change.old) and not _is_live(change.new)


def story_was_edited(change: Change) -> bool:
    """Whether a Story appeared or was edited, or is gone; its usage counts do not concern waiting runs."""
    if change.old is None or change.new is None:
        return True
    return bool(change.old["metadata"].get("generation") != change.new["metadata"].get("generation"))


def live_runs_of_story(story: Object, caches: Caches) -> Iterator[Object]:
    key = f"{story['metadata']['namespace']}/{story['metadata']['name']}"
    return caches.informer(STORY_RUN).each_by_index(LIVE_RUNS, key)


def is_waiting_to_begin(run: Object) -> bool:
    return (run.get("status") or {}).get("phase") in (None, "", Phase.PENDING)


def begins_to_go(change: Change) -> bool:
    """Whether the object is gone, or its deletion has just been requested."""
    if change.new is None:
        return True
    ending = is_being_deleted(change.new)
    return ending and not (change.old is not None and is_being_deleted(change.old))


def owning_run(obj: Object) -> NamespacedName | None:
    """The StoryRun that controls a StepRun or a child run."""
    owner = controller_of(obj)
    if owner is None or owner.get("kind") != STORY_RUN.kind:
        return None
    return NamespacedName(obj["metadata"]["namespace"], owner["name"])


def _face(run: Object) -> tuple[Any, ...]:
    """The fields that others may change, the run's own fields that another leader may overwrite, and its end."""
    metadata, status = run["metadata"], run.get("status") or {}
    own = {key: value for key, value in metadata.items() if key not in ("resourceVersion", "managedFields")}
    own["annotations"] = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _RECORDED
    }
    shown = (status.get(field) for field in ("phase", "message", "gates", "childrenCleanedAt"))
    return own, run.get("spec"), *shown, terminated_at(run)


def _stage(run: Object) -> tuple[Any, Any]:
    return (run.get("status") or {}).get("phase"), is_being_deleted(run)


def _is_live(run: Object | None) -> bool:
    return run is not None and not has_ended(run) and not is_being_deleted(run)
