"""What keeps the attempt of an Engram step from starting, for the state of the step. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from core.api.instant import format_instant
from core.api.phases import StepReason
from core.engine.ports import AttemptState, Observation

_REASONS: Final = {
    "ErrImagePull": StepReason.IMAGE_NOT_PULLED,
    "ImagePullBackOff": StepReason.IMAGE_NOT_PULLED,
    "ErrImageNeverPull": StepReason.IMAGE_NOT_PULLED,
    "CreateContainerConfigError": StepReason.CONTAINER_NOT_CREATED,
    "CreateContainerError": StepReason.CONTAINER_NOT_CREATED,
    "RunContainerError": StepReason.CONTAINER_NOT_STARTED,
    "CrashLoopBackOff": StepReason.CONTAINER_FAILS_AGAIN,
}
_WORDS: Final[dict[str, str]] = {
    StepReason.IMAGE_NOT_PULLED: "Image cannot be pulled",
    StepReason.CONTAINER_NOT_CREATED: "Container cannot be created",
    StepReason.CONTAINER_NOT_STARTED: "Container cannot be started",
    StepReason.CONTAINER_FAILS_AGAIN: "Container fails repeatedly",
    "InvalidImageName": "Image has no valid name",
    StepReason.UNSCHEDULABLE: "No node can run the Pod",
    "SchedulingGated": "Pod has scheduling gates",
    StepReason.NO_POD: "Job has no Pod",
}
PATIENCE: Final = timedelta(seconds=10)
"""How long an attempt may wait for a worker before the state shows it: normally that takes a fraction of a second."""
_ENDED_BEFORE: Final = "Waiting for the Pod of an earlier attempt to end"


@dataclass(frozen=True, slots=True)
class PendingReason:
    """``reason`` and ``since`` go into the state of the step; the same reason means the same cause."""

    reason: str
    since: datetime
    why: str = ""

    @property
    def message(self) -> str:
        if self.reason == StepReason.EARLIER_ATTEMPT_ENDS:
            return _ENDED_BEFORE
        words = _WORDS.get(self.reason, f"Waiting: {self.reason}")
        return f"{words} since {format_instant(self.since)}" + (f": {self.why}" if self.why else "")


def pending_reason(observation: Observation, now: datetime) -> PendingReason | None:
    """Why the container of the step does not start, as far as is known at ``now``; None: no cause is known."""
    if observation.state is AttemptState.LINGERING:
        return PendingReason(StepReason.EARLIER_ATTEMPT_ENDS, now)
    if observation.state is not AttemptState.STARTING:
        return None
    since = observation.waiting_since
    if not observation.reason or (since is not None and now < since + PATIENCE):
        return None
    return PendingReason(str(_REASONS.get(observation.reason, observation.reason)), since or now, observation.message)
