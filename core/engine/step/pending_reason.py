"""What keeps the attempt of an Engram step from starting, for the state of the step. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from bubu_contract.instants import format_instant
from core.api.phases import Phase, StepReason
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


class HoldUp(NamedTuple):
    """What kept an attempt from its work until its time was over."""

    reason: str
    """A ``StepReason``, a ``Reason`` or a reason of the kubelet."""
    text: str
    """For people."""


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
        return f"{self._words} since {format_instant(self.since)}" + (f": {self.why}" if self.why else "")

    @property
    def hold_up(self) -> HoldUp:
        return HoldUp(self.reason, self._words + (f": {self.why}" if self.why else ""))

    @property
    def _words(self) -> str:
        return _WORDS.get(self.reason, f"Waiting: {self.reason}")


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


def hold_up_of(observation: Observation, now: datetime) -> HoldUp | None:
    """What keeps the attempt from its work; None: it is at work, or no cause is known."""
    found, live = pending_reason(observation, now), observation.live
    if found is not None:
        return found.hold_up
    if live is not None and live.phase is not Phase.RUNNING:
        return HoldUp(str(live.reason), live.message or str(live.reason))
    return None
