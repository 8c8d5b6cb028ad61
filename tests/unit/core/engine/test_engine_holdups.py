from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.engine.holdups import PODLESS_PATIENCE, holdup, is_holdup
from core.engine.ports import AttemptState, Observation

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def seen(state: AttemptState, reason: str = "", message: str = "") -> Observation:
    return Observation({}, state, reason=reason, message=message)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("ImagePullBackOff", "Image cannot be pulled since 2026-01-02T03:04:05Z: no such image"),
        ("Unschedulable", "No node fits since 2026-01-02T03:04:05Z: no such image"),
        ("Odd", "Waiting: Odd since 2026-01-02T03:04:05Z: no such image"),
    ],
)
def test_a_holdup_is_told_with_its_beginning(reason: str, words: str) -> None:
    assert holdup(seen(AttemptState.STARTING, reason, "no such image"), "", NOW) == words
    assert is_holdup(words)


def test_the_same_holdup_is_told_once_whatever_the_platform_calls_it_meanwhile() -> None:
    told = holdup(seen(AttemptState.STARTING, "ErrImagePull", "no such image"), "", NOW)

    again = holdup(seen(AttemptState.STARTING, "ImagePullBackOff", "back-off"), told, NOW + timedelta(minutes=5))
    assert again == told


@pytest.mark.parametrize("state", [AttemptState.RUNNING, AttemptState.STARTING, AttemptState.ABSENT])
def test_without_a_holdup_there_is_nothing_to_tell(state: AttemptState) -> None:
    assert holdup(seen(state), "No node fits since then", NOW) == ""
    assert not is_holdup("Retry 1 of 2 at 2026-01-02T03:04:05Z: it failed")


def test_a_pod_of_an_earlier_attempt_is_waited_for_visibly() -> None:
    text = holdup(seen(AttemptState.LINGERING), "", NOW)

    assert "earlier attempt" in text
    assert is_holdup(text)


def test_a_job_without_a_pod_is_a_holdup_once_that_is_no_longer_ordinary() -> None:
    observation = Observation({}, AttemptState.STARTING, podless_since=NOW)
    text = (
        "Job has no Pod since 2026-01-02T03:04:05Z: "
        "a quota or a policy may refuse it, or the Job controller does not run"
    )

    assert holdup(observation, "", NOW + PODLESS_PATIENCE - timedelta(seconds=1)) == ""
    assert holdup(observation, "", NOW + PODLESS_PATIENCE) == text
    assert holdup(observation, text, NOW + timedelta(hours=1)) == text
    assert is_holdup(text), "so that it is taken back when there is a Pod"
    assert holdup(seen(AttemptState.STARTING), text, NOW + timedelta(hours=1)) == ""
