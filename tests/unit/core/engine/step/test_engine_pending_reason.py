from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.api.phases import StepReason
from core.engine.ports import AttemptState, Observation
from core.engine.step.pending_reason import PATIENCE, PendingReason, pending_reason

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def seen(state: AttemptState, reason: str = "", message: str = "") -> Observation:
    return Observation({}, state, reason=reason, message=message)


@pytest.mark.parametrize(
    ("reason", "recorded", "words"),
    [
        (
            "ImagePullBackOff",
            StepReason.IMAGE_NOT_PULLED,
            "Image cannot be pulled since 2026-01-02T03:04:05Z: no such image",
        ),
        (
            "Unschedulable",
            StepReason.UNSCHEDULABLE,
            "No node can run the Pod since 2026-01-02T03:04:05Z: no such image",
        ),
        ("InvalidImageName", "InvalidImageName", "Image has no valid name since 2026-01-02T03:04:05Z: no such image"),
        ("Odd", "Odd", "Waiting: Odd since 2026-01-02T03:04:05Z: no such image"),
    ],
)
def test_a_pending_reason_is_recorded_with_its_beginning(reason: str, recorded: str, words: str) -> None:
    found = pending_reason(seen(AttemptState.STARTING, reason, "no such image"), NOW)

    assert found == PendingReason(recorded, NOW, "no such image")
    assert found.message == words
    assert found.hold_up == (recorded, words.replace(" since 2026-01-02T03:04:05Z", ""))


def test_the_same_cause_has_one_reason_whatever_the_platform_calls_it() -> None:
    first = pending_reason(seen(AttemptState.STARTING, "ErrImagePull", "no such image"), NOW)
    later = pending_reason(seen(AttemptState.STARTING, "ImagePullBackOff", "back-off"), NOW + timedelta(minutes=5))

    assert first is not None
    assert later is not None
    assert first.reason == later.reason


@pytest.mark.parametrize("state", [AttemptState.RUNNING, AttemptState.STARTING, AttemptState.ABSENT])
def test_what_continues_has_no_pending_reason(state: AttemptState) -> None:
    assert pending_reason(seen(state), NOW) is None


def test_a_pod_of_an_earlier_attempt_is_waited_for_visibly() -> None:
    found = pending_reason(seen(AttemptState.LINGERING), NOW)

    assert found is not None
    assert found.message == "Waiting for the Pod of an earlier attempt to end"


def test_a_job_without_a_pod_is_pending_once_that_is_no_longer_ordinary() -> None:
    why = "a quota may refuse it"
    observation = Observation({}, AttemptState.STARTING, waiting_since=NOW, reason="NoPod", message=why)
    text = "Job has no Pod since 2026-01-02T03:04:05Z: a quota may refuse it"

    assert pending_reason(observation, NOW + PATIENCE - timedelta(seconds=1)) is None
    found = pending_reason(observation, NOW + PATIENCE)
    assert found == pending_reason(observation, NOW + timedelta(hours=1))
    assert found is not None
    assert (found.reason, found.since, found.message) == (StepReason.NO_POD, NOW, text)
