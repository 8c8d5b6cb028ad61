"""When the attempts of a worker must end, by the clock of this process. Pure.

The time of an attempt begins with its assignment, and not when the worker sees it: the watch may be late, or a former
attempt may still have the worker. ``deadlineAt`` says so by the operator's clock, and the clocks of two machines are
never compared. But no assignment is seen before it is made: the promptest of the last ones shows by how much the clocks
differ at most, and an attempt that is later than that one is late by at least the difference. So a worker, by whatever
clock, ends no attempt before the operator does. Source: SDK contract 24.7.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from bubu_sdk.workers.assignment import AssignedAttempt

TOLERANCE_SECONDS: Final = 2.0
"""Lateness that does not count: the clock of an operator's machine may be corrected, or another machine takes over."""
_REMEMBERED: Final = 256
"""So many assignments after a larger correction of the operator's clock, it does not matter any more."""


class Deadlines:
    """Not thread-safe: one thread asks."""

    def __init__(self) -> None:
        self._differences: deque[float] = deque(maxlen=_REMEMBERED)
        """Clock of this process when an attempt could begin, minus the operator's when it was assigned."""

    def of(self, attempt: AssignedAttempt, timeout_seconds: float, now: float) -> float:
        """When an attempt that can begin now must end; ``now`` and the result by ``clock.now()``.

        Without ``deadlineAt``, its time begins now.
        """
        if attempt.deadline_at is None:
            return now + timeout_seconds
        difference = now - (attempt.deadline_at.timestamp() - timeout_seconds)
        self._differences.append(difference)
        late = difference - min(self._differences)
        return now + timeout_seconds - (late - TOLERANCE_SECONDS if late > TOLERANCE_SECONDS else 0.0)
