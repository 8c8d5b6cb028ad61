"""What decides how long a finished run is kept, in a few bytes: there may be many thousands of such runs. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from core.api import keys
from core.api.objects import Object, controller_of, instant_or_creation, packet_step
from core.api.resource import STORY_RUN
from core.engine.redrive.request import pending_redrive
from core.workloads.live_run import is_live_run
from core.workloads.restored import former_uid

_TELLING: Final = frozenset(
    {keys.ANNOTATION_REDRIVE_TOKEN, keys.ANNOTATION_REDRIVE_FROM_STEP, keys.ANNOTATION_LIVE_STORY_UID}
)
"""Without one of these annotations, no redrive is pending, and the run is not one that is always on."""


class RestNote(NamedTuple):
    """Of a run that has ended, and that nothing is to be done for but to remove it when its time has come."""

    story: str
    """The name of its Story, in its own namespace."""
    finished_seconds: float
    """Since 1970."""
    is_cleaned: bool
    """Whether its children have been removed."""
    trigger: str = ""
    """The name of the StoryTrigger that it was created for."""
    parent: str = ""
    """The name of the run that has started it."""

    @property
    def finished_at(self) -> datetime:
        return datetime.fromtimestamp(self.finished_seconds, UTC)


def rest_note(run: Object) -> list[Any] | None:
    """The fields of a ``RestNote``; None for a run that must be read to know what is to be done for it."""
    metadata, status = run["metadata"], run["status"]
    annotations, reference = metadata.get("annotations") or {}, run["spec"].get("storyRef") or {}
    if not _TELLING.isdisjoint(annotations) and (is_live_run(run) or pending_redrive(run) is not None):
        return None
    if (
        packet_step(run)
        or former_uid(run)
        or (reference.get("namespace") or metadata["namespace"]) != metadata["namespace"]
    ):
        return None
    trigger, owner = annotations.get(keys.ANNOTATION_TRIGGER_REQUEST_NAME), controller_of(run) or {}
    note = RestNote(
        str(reference.get("name", "")),
        instant_or_creation(status.get("finishedAt"), run).timestamp(),
        bool(status.get("childrenCleanedAt")),
        trigger.strip() if isinstance(trigger, str) else "",
        str(owner["name"]) if owner.get("kind") == STORY_RUN.kind else "",
    )
    return [*note] if note.trigger or note.parent else [*note[:3]]
