"""Step states that an earlier version stored without a reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from core.api.phases import Phase, Reason, StepReason
from core.engine.step.state import steps_from

STARTED = "2026-01-02T03:04:05Z"


def read(**entry: Any) -> Any:
    return steps_from({"a": entry})["a"]


@pytest.mark.parametrize(
    ("phase", "message", "reason"),
    [
        ("Skipped", "Skipped: its 'if' condition is false", StepReason.CONDITION_FALSE),
        ("Skipped", "Skipped: nobody decided in time", StepReason.NOT_DECIDED),
        ("Skipped", "Skipped: needs b, which failed", Reason.SKIPPED),
        ("Canceled", "Ended: the run was canceled", StepReason.RUN_ENDED),
        ("Timeout", "Ended: the Story's timeout of 5s is over", StepReason.RUN_ENDED),
        ("Succeeded", "Ended: budget signed off", Reason.COMPLETED),
        ("Failed", "Ended: budget not signed off", Reason.EXECUTION_FAILED),
        ("Pending", "Queued due to story concurrency limit (1 running, limit 1)", Reason.QUEUED),
        ("Paused", "Waiting for approval until 2026-01-02T03:04:05Z", StepReason.WAITING_FOR_APPROVAL),
        ("Running", "", Reason.RUNNING),
    ],
)
def test_the_reason_is_read_from_the_message_of_then(phase: str, message: str, reason: str) -> None:
    assert read(phase=phase, message=message).reason == reason


def test_a_pending_reason_is_recognised_so_that_it_is_removed() -> None:
    state = read(phase="Running", message="Image cannot be pulled since 2026-01-02T03:04:09Z: no", startedAt=STARTED)

    assert state.reason == StepReason.IMAGE_NOT_PULLED
    assert state.reason_since == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["Ended: x", "Skipped: its 'if' condition is false", "Queued due to priority"])
@pytest.mark.parametrize("phase", list(Phase))
def test_a_state_with_a_reason_is_never_read_by_its_message(phase: Phase, text: str) -> None:
    assert read(phase=str(phase), message=text, reason="Odd").reason == "Odd"
