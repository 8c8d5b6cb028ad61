"""Reasons of step states that were stored before states had reasons: derived from the messages of that time. Pure.

Every state that is stored now has a reason, so this module never reads the message of a person or a container. It can
be deleted when no run is left that a version before 0.2 has stored.
"""

from __future__ import annotations

from typing import Final

from core.api.phases import Phase, Reason, StepReason

_SKIPPED: Final = {
    "Skipped: its 'if' condition is false": StepReason.CONDITION_FALSE,
    "Skipped due to 'if' condition": StepReason.CONDITION_FALSE,  # as the Go operator words it
    "Skipped: nobody decided in time": StepReason.NOT_DECIDED,
}
_UNFINISHED: Final[tuple[tuple[str, StepReason | Reason, bool], ...]] = (
    ("Queued due to ", Reason.QUEUED, False),
    ("Waiting for approval", StepReason.WAITING_FOR_APPROVAL, False),
    ("Image cannot be pulled since ", StepReason.IMAGE_NOT_PULLED, True),
    ("Image has no valid name since ", StepReason.IMAGE_NOT_PULLED, True),
    ("Container cannot be created since ", StepReason.CONTAINER_NOT_CREATED, True),
    ("Container cannot be started since ", StepReason.CONTAINER_NOT_STARTED, True),
    ("Container fails again and again since ", StepReason.CONTAINER_FAILS_AGAIN, True),
    ("No node fits since ", StepReason.UNSCHEDULABLE, True),
    ("Pod is held back from being scheduled since ", StepReason.UNSCHEDULABLE, True),
    ("Waiting: ", StepReason.CONTAINER_NOT_STARTED, True),
    ("Waiting for the Pod of an earlier attempt to end", StepReason.EARLIER_ATTEMPT_ENDS, True),
)
"""The start of a message, its reason, and whether the message means that a container could not start."""
_ENDED: Final = "Ended: "


def reason_of_message(phase: Phase, message: str) -> tuple[str, bool]:
    """The reason, empty if the phase says enough; and whether the container could not start."""
    if not phase.terminal:
        found = next((row for row in _UNFINISHED if message.startswith(row[0])), None)
        return (str(found[1]), found[2]) if found is not None else ("", False)
    if phase is Phase.SKIPPED:
        return str(_SKIPPED.get(message, "")), False
    was_ended = phase in (Phase.CANCELED, Phase.TIMEOUT) and message.startswith(_ENDED)
    return str(StepReason.RUN_ENDED) if was_ended else "", False
