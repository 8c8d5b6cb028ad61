"""The metadata of a live run: the finalizer, and the labels for scheduling and for finding it. Pure.

Queue and priority follow the Story until the run has started; then it executes the Story as it was at the start, and
keeps them. Source: StoryRun contract 1.2, 1.4, 6.2 and 13.1.
"""

from __future__ import annotations

from typing import Any

from core.api import keys
from core.api.identity import label_value
from core.api.objects import Object
from core.engine.slots.scheduling import scheduling_of
from core.policy.settings import OperatorSettings
from reconcilers.retention import keeps_stored_data


def marking_patch(run: Object, story: Object | None, settings: OperatorSettings) -> dict[str, Any]:
    """The metadata merge patch that adds missing metadata to a live run; empty when nothing is missing.

    Without its Story, queue and priority are not known yet and left unchanged.
    """
    metadata = run["metadata"]
    patch: dict[str, Any] = {}
    finalizers = metadata.get("finalizers") or []
    if keys.FINALIZER_STORY_RUN not in finalizers:
        patch["finalizers"] = [*finalizers, keys.FINALIZER_STORY_RUN]
    have = metadata.get("labels") or {}
    runs = settings.runs
    wanted = scheduling_of(run, story, runs.queues, runs.max_priorities).labels if story is not None else {}
    if (run.get("status") or {}).get("startedAt"):
        wanted = {name: value for name, value in wanted.items() if name not in have}
    correlation = ((metadata.get("annotations") or {}).get(keys.ANNOTATION_CORRELATION_ID) or "").strip()
    if correlation:
        wanted[keys.LABEL_CORRELATION_ID] = label_value(correlation)
    changed = {name: value for name, value in wanted.items() if have.get(name) != value}
    if changed:
        patch["labels"] = changed
    if story is not None and keeps_stored_data(story) and not keeps_stored_data(run):
        patch["annotations"] = {keys.ANNOTATION_KEEP_STORED_DATA: "true"}  # the Story may go before the run
    return patch
