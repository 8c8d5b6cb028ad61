"""``EventSink`` on the aggregating recorder: the kind of the object determines the reporting component.

Events about Jobs are labelled core Events, by whose labels people find the Events of a run or step; all others are
Events of ``events.k8s.io``. Source: StepRun contract 5.
"""

from __future__ import annotations

from typing import Final

from bubu_contract.identity import label_value
from core.api import keys
from core.api.objects import Object
from core.api.resource import STEP_RUN
from core.engine.ports import EventType
from core.kube.events import EventRecorder

_CONTROLLERS: Final = {
    "StoryRun": keys.STORY_RUN_CONTROLLER,
    "StepRun": keys.STEP_RUN_CONTROLLER,
    "Story": keys.STORY_CONTROLLER,
    "Engram": keys.ENGRAM_CONTROLLER,
    "StoryTrigger": keys.STORY_TRIGGER_CONTROLLER,
    "Impulse": keys.IMPULSE_CONTROLLER,
}
_LABELLED: Final = frozenset(
    {"JobStatusPatched", "JobCompleted", "JobStatusFallback", "JobRetryScheduled", "OutputKeyMismatch"}
)


class KubeEventSink:
    """Never blocks, never fails: the recorder queues and aggregates Events, and counts those that it drops."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder

    def emit(self, regarding: Object, type_: EventType, reason: str, message: str) -> None:
        kind = regarding.get("kind", "")
        controller = _CONTROLLERS.get(kind, keys.FIELD_MANAGER)
        if kind == STEP_RUN.kind and reason in _LABELLED:
            labels = _labels(regarding)
            self._recorder.record_labelled(regarding, type_.value, reason, message, labels=labels, component=controller)
        else:
            self._recorder.record(regarding, type_.value, reason, message, reporting_controller=controller)


def _labels(step_run: Object) -> dict[str, str]:
    """The StepRun's own labels, and those of the objects that it belongs to."""
    metadata, spec = step_run["metadata"], step_run.get("spec") or {}
    return {
        **(metadata.get("labels") or {}),
        keys.LABEL_STORY_RUN: label_value(str((spec.get("storyRunRef") or {}).get("name") or "")),
        keys.LABEL_STEP_RUN: label_value(metadata["name"]),
        keys.LABEL_STEP: label_value(str(spec.get("stepId") or "")),
        keys.LABEL_ENGRAM: label_value(str((spec.get("engramRef") or {}).get("name") or "")),
    }
