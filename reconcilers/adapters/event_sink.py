"""``EventSink`` on the aggregating recorder: who reports is told by the kind of the object."""

from __future__ import annotations

from typing import Final

from core.kube.events import EventRecorder

from core.api import keys
from core.engine.ports import EventType, Object

_CONTROLLERS: Final = {
    "StoryRun": keys.STORY_RUN_CONTROLLER,
    "StepRun": keys.STEP_RUN_CONTROLLER,
    "Story": keys.STORY_CONTROLLER,
    "Engram": keys.ENGRAM_CONTROLLER,
}


class KubeEventSink:
    """Never blocks, never fails: the recorder queues, aggregates and drops with a counter."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder

    def emit(self, regarding: Object, type_: EventType, reason: str, message: str) -> None:
        controller = _CONTROLLERS.get(regarding.get("kind", ""), keys.FIELD_MANAGER)
        self._recorder.record(regarding, type_.value, reason, message, reporting_controller=controller)
