"""What a reconcile may answer: one closed type, from which requeue, logs and metrics follow in one place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing to do until the next event."""


@dataclass(frozen=True, slots=True)
class After:
    """Nothing to do until ``delay`` has passed, or an event comes earlier."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class RetryLater:
    """It did not work now; the key comes back with the queue's own back-off, or after the server's wish."""

    error: BaseException
    after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Terminal:
    """It will never work as the object stands: no retry until the object changes."""

    error: BaseException


Outcome = Done | After | RetryLater | Terminal
