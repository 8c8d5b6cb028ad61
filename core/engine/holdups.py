"""What keeps an engram step from going on, in words for its state. Pure; one text for one hold-up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from core.api.instant import format_instant
from core.engine.ports import AttemptState, Observation

_WORDS: Final = {
    "ErrImagePull": "Image cannot be pulled",
    "ImagePullBackOff": "Image cannot be pulled",
    "ErrImageNeverPull": "Image cannot be pulled",
    "InvalidImageName": "Image has no valid name",
    "CreateContainerConfigError": "Container cannot be created",
    "CreateContainerError": "Container cannot be created",
    "RunContainerError": "Container cannot be started",
    "CrashLoopBackOff": "Container fails again and again",
    "Unschedulable": "No node fits",
    "SchedulingGated": "Pod is held back from being scheduled",
}
PODLESS_PATIENCE: Final = timedelta(seconds=10)
"""How long a Job may be without a Pod before that is worth a word: its controller takes a fraction of a second."""
_PODLESS: Final = "Job has no Pod"
_WHY_PODLESS: Final = "a quota or a policy may refuse it, or the Job controller does not run"
_SINCE: Final = " since "
_ENDED_BEFORE: Final = "Waiting for the Pod of an earlier attempt to end"


def holdup(observation: Observation, told: str, now: datetime) -> str:
    """What to tell; ``told``, when it is about the same hold-up; empty when nothing holds the step up.

    ``told`` is what the step's state says now, also from before a restart: since when it has been so is in there.
    """
    if observation.state is AttemptState.LINGERING:
        return _ENDED_BEFORE
    if observation.state is not AttemptState.STARTING:
        return ""
    if (made_at := observation.podless_since) is not None:
        is_late = now >= made_at + PODLESS_PATIENCE
        return f"{_PODLESS}{_SINCE}{format_instant(made_at)}: {_WHY_PODLESS}" if is_late else ""
    if not observation.reason:
        return ""
    words = _WORDS.get(observation.reason, f"Waiting: {observation.reason}")
    if told.startswith(f"{words}{_SINCE}"):
        return told
    message = f": {observation.message}" if observation.message else ""
    return f"{words}{_SINCE}{format_instant(now)}{message}"


def is_holdup(told: str) -> bool:
    """Whether a state says that something holds the step up, which is then to be taken back."""
    if told == _ENDED_BEFORE or told.startswith(("Waiting: ", f"{_PODLESS}{_SINCE}")):
        return True
    return any(told.startswith(f"{words}{_SINCE}") for words in _WORDS.values())
