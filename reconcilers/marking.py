"""What a live run carries in its metadata: the finalizer, and the labels by which it is scheduled and found. Pure.

Source: StoryRun contract 1.2, 1.4, 6.2 and 13.1.
"""

from __future__ import annotations

from typing import Any

from core.api import keys
from core.api.identity import label_value
from core.engine.ports import Object
from core.policy.settings import DEFAULT_QUEUE, OperatorSettings, QueueSettings


def marking_patch(run: Object, story: Object | None, settings: OperatorSettings) -> dict[str, Any]:
    """The metadata merge patch that gives a live run what it lacks; empty when it lacks nothing.

    Without its Story, queue and priority are not known yet and left alone.
    """
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
    """Queue and priority of a Story's runs."""
    policy = (story.get("spec") or {}).get("policy") or {}
    queue = (policy.get("queue") or "").strip().lower() or DEFAULT_QUEUE
    priority = policy.get("priority")
    if priority is None:
        priority = settings.runs.queues.get(queue, QueueSettings()).default_priority
    return {keys.LABEL_QUEUE: label_value(queue), keys.LABEL_QUEUE_PRIORITY: str(priority)}
