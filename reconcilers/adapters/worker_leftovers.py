"""What workers may still run for StepRuns that are gone. Pure; instants are arguments.

A worker reports the end of a process in its StepRun. When that is deleted, the worker kills the process as soon as it
hears of it, and can say so nowhere. So this is over when the worker is lost, or when it must have heard: it has renewed
its Lease some time after the deletion. It was in contact then, and had its watch been broken, it would have noticed it
before. The engine's proof uses this class, with a time of its own. Source: StepRun contract 3.5; SDK contract 24.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.api.objects import NamespacedName, Object
from core.engine.step.assignment import Assignment, assignment_of
from core.engine.step.worker_observation import is_released

HEARS_WITHIN_SECONDS: Final = 15.0
"""``bubu_sdk.workers.watching.HEARS_WITHIN_SECONDS``; a test compares them."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """An attempt whose StepRun is gone."""

    step_run: Object
    """Its last version."""
    assignment: Assignment
    heard_by: float
    """A renewal from then on shows that the worker has heard."""

    @property
    def key(self) -> NamespacedName:
        metadata = self.step_run["metadata"]
        return NamespacedName(metadata["namespace"], metadata["name"])

    @property
    def worker(self) -> str:
        """``namespace/name``."""
        return f"{self.step_run['metadata']['namespace']}/{self.assignment.worker}"


class WorkerLeftovers:
    """What one process has seen vanish; a process that starts later does not know of it."""

    def __init__(self, hears_within: float = HEARS_WITHIN_SECONDS) -> None:
        self._hears_within = hears_within
        self._left: dict[NamespacedName, Leftover] = {}

    def __contains__(self, step_run: NamespacedName) -> bool:
        """Whether something may still run for a StepRun of that name that is gone."""
        return step_run in self._left

    def note(self, last: Object, now: float) -> Leftover | None:
        """The StepRun, in its ``last`` version, is gone; None: nothing runs for it."""
        assignment = assignment_of(last)
        if assignment is None or is_released(last):
            return None
        left = Leftover(last, assignment, now + self._hears_within)
        self._left[left.key] = left
        return left

    def load(self, worker: str) -> int:
        """How many places of the worker ``namespace/name`` they take."""
        return sum(left.worker == worker for left in self._left.values()) if self._left else 0

    def settle(self, is_lost: Callable[[Leftover], bool], renewed_at: Callable[[Leftover], float]) -> list[Leftover]:
        """Forget those that are over, and return them: their steps may go on elsewhere.

        Call it after each renewal of a Lease, and when a worker is lost.

        Args:
            is_lost: whether nothing runs any more in the worker.
            renewed_at: when this process has seen the worker renew its Lease for the last time.
        """
        over = [left for left in self._left.values() if is_lost(left) or renewed_at(left) >= left.heard_by]
        for left in over:
            del self._left[left.key]
        return over
