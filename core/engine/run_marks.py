"""The metadata of a live run: the finalizer, and the labels for scheduling and for finding it. Pure.

Admission writes it when a run is created, and the operator into the runs that it creates itself, so usually nothing is
missing. The finalizer is for what the API server cannot delete: data in the object store. Everything else that belongs
to a run goes by owner references.

Queue and priority follow the Story until the run has started; then it executes the Story as it was at the start, and
keeps them. Source: StoryRun contract 1.2, 1.4, 6.2 and 13.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bubu_contract.identity import label_value
from core.api import keys
from core.api.objects import Object, ReadOnlyObject
from core.engine.slots.scheduling import Scheduling, scheduling_of
from core.policy.settings import DEFAULT_QUEUE, OperatorSettings
from core.workloads.kept_data import keeps_stored_data, stored_data_goes

_USUAL: Final[Mapping[str, str]] = Scheduling(DEFAULT_QUEUE, 0).labels
"""Without these labels, a run has the same queue and priority."""


def missing_marks(run: ReadOnlyObject, story: ReadOnlyObject | None, settings: OperatorSettings) -> dict[str, Any]:
    """The metadata merge patch that adds what is missing; empty when nothing is.

    Without its Story, queue and priority are not known yet and left unchanged.
    """
    metadata = run["metadata"]
    patch: dict[str, Any] = {}
    finalizers = metadata.get("finalizers") or []
    if keys.FINALIZER_STORY_RUN not in finalizers and stored_data_goes(run, story, settings):
        patch["finalizers"] = [*finalizers, keys.FINALIZER_STORY_RUN]
    if changed := _changed_labels(run, story, settings):
        patch["labels"] = changed
    if story is not None and keeps_stored_data(story) and not keeps_stored_data(run):
        patch["annotations"] = {keys.ANNOTATION_KEEP_STORED_DATA: "true"}  # the Story may go before the run
    return patch


def needed_marks(run: ReadOnlyObject, story: ReadOnlyObject | None, settings: OperatorSettings) -> dict[str, Any]:
    """Like ``missing_marks``, but empty if only the labels of the usual queue and priority are missing.

    They say nothing that their absence does not, so they are not worth a request of their own.
    """
    patch = missing_marks(run, story, settings)
    have = run["metadata"].get("labels") or {}
    says_nothing = patch.get("labels", {}).items() <= _USUAL.items() and have.keys().isdisjoint(_USUAL)
    return {} if says_nothing and not patch.keys() - {"labels"} else patch


def marked(run: ReadOnlyObject, story: ReadOnlyObject | None, settings: OperatorSettings) -> Object:
    """A copy of a run that is about to be created, with all of it; idempotent."""
    patch, metadata = missing_marks(run, story, settings), run["metadata"]
    added = {
        name: {**(metadata.get(name) or {}), **value} if isinstance(value, dict) else value
        for name, value in patch.items()
    }
    return {**run, "metadata": {**metadata, **added}}


def _changed_labels(run: ReadOnlyObject, story: ReadOnlyObject | None, settings: OperatorSettings) -> dict[str, str]:
    metadata, runs = run["metadata"], settings.runs
    have = metadata.get("labels") or {}
    wanted: dict[str, str] = {}
    if story is not None:
        wanted = scheduling_of(run, story, runs.queues, runs.max_priorities).labels
    if (run.get("status") or {}).get("startedAt"):
        wanted = {name: value for name, value in wanted.items() if name not in have}
    correlation = ((metadata.get("annotations") or {}).get(keys.ANNOTATION_CORRELATION_ID) or "").strip()
    if correlation:
        wanted[keys.LABEL_CORRELATION_ID] = label_value(correlation)
    return {name: value for name, value in wanted.items() if have.get(name) != value}
