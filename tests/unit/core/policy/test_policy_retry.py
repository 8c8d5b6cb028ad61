"""Delays between attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.api.phases import ErrorType
from core.policy.retry import (
    DEFAULT_MAX_DELAY,
    LONGEST_DELAY,
    LONGEST_WISH,
    MIN_DELAY,
    BackoffStrategy,
    RetryPolicy,
    default_max_delay,
    retry_delay,
    retry_on_problems,
    why_not_retried,
    with_wish,
)

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [
        pytest.param(RetryPolicy(), [1, 2, 4, 8], id="exponential"),
        pytest.param(RetryPolicy(max_delay=1.5 * SECOND), [1, 1.5, 1.5, 1.5], id="exponential-capped"),
        pytest.param(RetryPolicy(backoff=BackoffStrategy.LINEAR), [1, 2, 3, 4], id="linear"),
        pytest.param(RetryPolicy(delay=2 * SECOND, backoff=BackoffStrategy.CONSTANT), [2, 2, 2, 2], id="constant"),
        pytest.param(RetryPolicy(delay=timedelta(milliseconds=1)), [0.01, 0.01, 0.01, 0.01], id="floor"),
        pytest.param(RetryPolicy(max_delay=timedelta(milliseconds=1)), [0.01] * 4, id="cap-below-the-floor"),
    ],
)
def test_delays_grow_as_the_contract_tells(policy: RetryPolicy, seconds: list[float]) -> None:
    assert [retry_delay(policy, attempt, 0).total_seconds() for attempt in (1, 2, 3, 4)] == seconds


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 2.0), (0.5, 2.5), (0.999, 2.999)])
def test_jitter_adds_up_to_its_share_of_the_delay(jitter: float, seconds: float) -> None:
    policy = RetryPolicy(
        delay=2 * SECOND, backoff=BackoffStrategy.CONSTANT, jitter_percent=50, max_delay=timedelta(hours=1)
    )
    assert retry_delay(policy, 1, jitter).total_seconds() == pytest.approx(seconds)


def test_jitter_never_exceeds_the_cap() -> None:
    policy = RetryPolicy(max_delay=1.2 * SECOND, jitter_percent=100)
    assert retry_delay(policy, 1, 0.9) == 1.2 * SECOND


def test_late_attempts_are_capped_instead_of_overflowing() -> None:
    assert retry_delay(RetryPolicy(max_retries=50), 50, 0) == DEFAULT_MAX_DELAY


def test_the_default_cap_never_shortens_the_delay_asked_for() -> None:
    assert default_max_delay(BackoffStrategy.EXPONENTIAL, timedelta(hours=1)) == timedelta(hours=1)
    assert default_max_delay(BackoffStrategy.LINEAR, timedelta(minutes=4)) == timedelta(minutes=200)
    assert default_max_delay(BackoffStrategy.LINEAR, timedelta(days=100_000)) == LONGEST_DELAY


@pytest.mark.parametrize(("retries", "allowed"), [(0, True), (2, True), (3, False), (9, False)])
def test_attempts_in_total_are_one_more_than_the_retries(retries: int, allowed: bool) -> None:
    assert RetryPolicy(max_retries=3).allows(retries) is allowed


policies = st.builds(
    RetryPolicy,
    delay=st.timedeltas(timedelta(microseconds=1), timedelta(days=106_000)),
    max_delay=st.timedeltas(timedelta(microseconds=1), timedelta(days=106_000)),
    backoff=st.sampled_from(BackoffStrategy),
    jitter_percent=st.integers(0, 100),
)
jitters = st.floats(0, 1, exclude_max=True)


@given(policies, st.integers(1, 200), jitters)
def test_every_delay_lies_between_floor_and_cap(policy: RetryPolicy, attempt: int, jitter: float) -> None:
    assert MIN_DELAY <= retry_delay(policy, attempt, jitter) <= max(policy.max_delay, MIN_DELAY)
    assert retry_delay(policy, attempt, jitter) <= LONGEST_DELAY


@given(policies, st.integers(1, 200), jitters)
def test_delays_never_fall_from_one_attempt_to_the_next(policy: RetryPolicy, attempt: int, jitter: float) -> None:
    assert retry_delay(policy, attempt, jitter) <= retry_delay(policy, attempt + 1, jitter)


@given(policies, st.integers(1, 200), jitters, jitters)
def test_more_jitter_never_makes_a_delay_shorter(policy: RetryPolicy, attempt: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert retry_delay(policy, attempt, low) <= retry_delay(policy, attempt, high)


@pytest.mark.parametrize(
    ("wished", "delay"),
    [
        pytest.param(None, SECOND, id="none"),
        pytest.param(-SECOND, SECOND, id="past"),
        pytest.param(90 * SECOND, 90 * SECOND, id="later"),
        pytest.param(timedelta(days=365), LONGEST_WISH, id="too-late"),
    ],
)
def test_a_container_may_ask_for_a_longer_delay_within_limits(wished: timedelta | None, delay: timedelta) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert with_wish(SECOND, None if wished is None else now + wished, now) == delay


def test_everything_wrong_in_a_list_of_failures_is_found_at_once() -> None:
    entries = ["any", 0, 256, "trasient", "75", "always", "not a name", 1, 1, "ValueError", "x" * 254, "socket.timeout"]

    words = ", ".join(("transient", "any", *ErrorType))
    assert [str(each) for each in retry_on_problems(entries, "retryOn")] == [
        "retryOn[1]: 0 is success, which is not retried (remove it)",
        "retryOn[2]: 256 is not an exit code (use 1 to 255)",
        "retryOn[3]: 'trasient' is not a known word (did you mean transient?)",
        "retryOn[4]: '75' is a string (write the exit code as a number: 75)",
        f"retryOn[5]: 'always' is not a known word (use {words}, an exit code, or a name such as ValueError)",
        "retryOn[6]: is not the name of an error (use transient, any, an exit code, or a name such as ValueError)",
        "retryOn[8]: 1 occurs twice (remove one of them)",
        "retryOn[10]: is not the name of an error (use transient, any, an exit code, or a name such as ValueError)",
    ]


def test_a_list_of_failures_has_a_limit() -> None:
    (problem,) = retry_on_problems(range(1, 34), "retryOn")

    assert str(problem) == "retryOn: has 33 entries (use at most 32)"


FAILED = {"phase": "Failed", "exitCode": 1, "exitClass": "terminal", "retries": 0}
RAISED = FAILED | {"error": {"type": "execution_error", "exceptions": ["ValueError", "Exception"]}}


@pytest.mark.parametrize(
    ("retry", "status", "why"),
    [
        (
            {"maxRetries": 3},
            FAILED,
            "exit code 1 is not retried: retry.retryOn is [transient] (default); set it to [transient, 1] or [any]",
        ),
        (
            {"maxRetries": 3, "retryOn": ["transient", 9]},
            RAISED,
            "ValueError is not retried: retry.retryOn is [transient, 9]; set it to [transient, 9, ValueError] or [any]",
        ),
        ({"maxRetries": 0, "retryOn": ["any"]}, FAILED, "not retried: retry.maxRetries is 0"),
        ({"maxRetries": 3, "retryOn": ["any"]}, FAILED | {"retries": 3}, "not retried again: 3 of 3 retries are used"),
        (
            {"maxRetries": 3, "retryOn": ["any"]},
            FAILED,
            "exit code 1 is not retried: it is terminal in the EngramTemplate; add 1 to retry.retryOn",
        ),
        (
            {"maxRetries": 3, "retryOn": ["any"]},
            RAISED | {"error": {"forbidsRetry": True}},
            "not retried: the program forbids another attempt",
        ),
        ({"maxRetries": 3}, {"phase": "Failed", "exitClass": "terminal"}, ""),
        ({"maxRetries": 3}, {"phase": "Succeeded", "exitCode": 0, "exitClass": "success"}, ""),
        ({"maxRetries": 3}, {}, ""),
    ],
)
def test_why_a_failed_attempt_was_not_retried(retry: dict[str, Any], status: dict[str, Any], why: str) -> None:
    assert why_not_retried({"spec": {"retry": retry}, "status": status}) == why
