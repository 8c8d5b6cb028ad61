"""The result of a reconcile: one closed type, from which requeue, logs and metrics follow in one place."""

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
    """It failed now; the key is retried with the queue's own back-off, or after the time that the server asks for."""

    error: BaseException
    after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Terminal:
    """It cannot succeed with this version of the object: no retry until the object changes."""

    error: BaseException


Outcome = Done | After | RetryLater | Terminal
