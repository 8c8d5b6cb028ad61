"""StoryTriggers as the operator knows them: what is kept of each, and the indexes that find those that wait.

Source: Trigger contract 4.
"""

from __future__ import annotations

from typing import Final

from core.api import keys
from core.api.objects import NamespacedName, Object, is_being_deleted
from core.api.resource import IMPULSE, STORY_TRIGGER
from core.workloads.trigger import TriggerRequest, is_answered, is_origin, request_of
from reconcilers.adapters.watched_kind import WatchedKind, slim
from reconcilers.adapters.world import World

OPEN_BY_STORY: Final = "open-by-story"
"""Index of StoryTriggers without a final answer: ``namespace/name`` of their Story."""
OPEN_BY_STORY_NAMESPACE: Final = "open-by-story-namespace"
OPEN_BY_IMPULSE: Final = "open-by-impulse"
"""Like ``OPEN_BY_STORY``, for the Impulse that they name."""
BY_RUN: Final = "run"
"""Index of all StoryTriggers: ``namespace/name`` of the StoryRun that answers them, or would."""


def run_of(trigger: Object) -> NamespacedName:
    """The StoryRun in the answer; without an answer, the one that the request would start. Its name may be empty."""
    namespace = trigger["metadata"]["namespace"]
    reference = (trigger.get("status") or {}).get("storyRunRef") or {}
    if reference:
        return NamespacedName(str(reference.get("namespace") or namespace), str(reference.get("name") or ""))
    return NamespacedName(namespace, "" if is_answered(trigger) else request_of(trigger).run_name)


def is_awaited(world: World, run: Object) -> bool:
    """Whether the StoryTrigger that the run was created for has no answer yet.

    Without the run, the operator would create it once more: it cannot know that it created it before.
    """
    name = (run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_TRIGGER_REQUEST_NAME)
    trigger = unanswered(world, run["metadata"]["namespace"], name.strip()) if isinstance(name, str) else None
    return trigger is not None and is_origin(request_of(trigger), run)


def unanswered(world: World, namespace: str, name: str) -> Object | None:
    """The StoryTrigger of that name, if it has no answer yet."""
    trigger = world.informer(STORY_TRIGGER).get(namespace, name) if world.watches(STORY_TRIGGER) else None
    return None if trigger is None or is_being_deleted(trigger) or is_answered(trigger) else trigger


def without_answered_inputs(trigger: Object) -> Object:
    """What is kept in memory: the inputs of an answered StoryTrigger are not needed any more."""
    kept = slim(trigger)
    if not is_answered(kept):
        return kept
    return {**kept, "spec": {key: value for key, value in (kept.get("spec") or {}).items() if key != "inputs"}}


def _open(trigger: Object) -> TriggerRequest | None:
    return None if is_answered(trigger) or is_being_deleted(trigger) else request_of(trigger)


def _story(trigger: Object) -> list[str]:
    request = _open(trigger)
    return [str(request.story)] if request is not None else []


def _story_namespace(trigger: Object) -> list[str]:
    request = _open(trigger)
    return [request.story.namespace] if request is not None else []


def _impulse(trigger: Object) -> list[str]:
    request = _open(trigger)
    return [str(request.impulse)] if request is not None and request.impulse is not None else []


def _run(trigger: Object) -> list[str]:
    run = run_of(trigger)
    return [str(run)] if run.name else []


TRIGGERS: Final = WatchedKind(
    STORY_TRIGGER,
    {
        OPEN_BY_STORY: _story,
        OPEN_BY_STORY_NAMESPACE: _story_namespace,
        OPEN_BY_IMPULSE: _impulse,
        BY_RUN: _run,
    },
    trim=without_answered_inputs,
)
IMPULSES: Final = WatchedKind(IMPULSE)
