"""Decides when a failed attempt is retried, and the delay before it.

Pure. Source: StepRun contract 11.2 (resolution) and 18.2 (delay).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

MIN_DELAY: Final = timedelta(milliseconds=10)
DEFAULT_MAX_DELAY: Final = timedelta(minutes=5)
"""For exponential back-off. Without a cap the reference overflows near attempt 35 and retries every 10 ms."""
LONGEST_DELAY: Final = timedelta(days=3650)
"""The maximum of any delay: an instant beyond the calendar cannot be awaited."""
LONGEST_WISH: Final = timedelta(hours=1)
"""The maximum of the delay that a container may ask for: the step keeps its slot meanwhile."""
MAX_RETRIES_LIMIT: Final = 50


class BackoffStrategy(StrEnum):
    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A resolved policy; the total number of attempts is ``1 + max_retries``."""

    max_retries: int = 3
    delay: timedelta = timedelta(seconds=1)
    max_delay: timedelta = DEFAULT_MAX_DELAY
    backoff: BackoffStrategy = BackoffStrategy.EXPONENTIAL
    jitter_percent: int = 0

    def allows(self, retries_so_far: int) -> bool:
        return retries_so_far < self.max_retries


def default_max_delay(backoff: BackoffStrategy, delay: timedelta) -> timedelta:
    """The cap when none is set: never below the configured delay, and only for strategies that grow without limit."""
    if backoff is BackoffStrategy.EXPONENTIAL:
        return max(DEFAULT_MAX_DELAY, delay)
    return min(delay * MAX_RETRIES_LIMIT, LONGEST_DELAY)


def retry_delay(policy: RetryPolicy, attempt: int, jitter: float) -> timedelta:
    """The delay before retry number ``attempt`` (1 for the first); ``jitter`` is uniform in [0, 1)."""
    base = policy.delay.total_seconds()
    match policy.backoff:
        case BackoffStrategy.EXPONENTIAL:
            seconds = base * 2.0 ** min(attempt - 1, 60)
        case BackoffStrategy.LINEAR:
            seconds = base * attempt
        case BackoffStrategy.CONSTANT:
            seconds = base
    cap = min(max(policy.max_delay, MIN_DELAY), LONGEST_DELAY).total_seconds()
    seconds = min(seconds, cap)
    seconds = min(seconds * (1 + jitter * policy.jitter_percent / 100), cap)
    return max(timedelta(seconds=seconds), MIN_DELAY)


def with_wish(delay: timedelta, not_before: datetime | None, now: datetime) -> timedelta:
    """``delay``, or the time until the instant that the container asked for, if that is longer."""
    return delay if not_before is None else max(delay, min(not_before - now, LONGEST_WISH))
