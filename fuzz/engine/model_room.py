"""What the model of the operator remembers of warm workers: their load, and what may still run.

Production has its own registry of workers (``reconcilers.adapters.worker_registry``), which follows Pods and Leases;
its rules are the same: the least load, and some time for the work of a StepRun that is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from core.api.objects import Object
from core.engine.step.assignment import Assignment, assignment_of
from core.engine.step.worker_observation import is_released


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """One worker that takes attempts."""

    name: str
    uid: str
    room: int
    """How many attempts it carries out at once."""
    load: int
    """Attempts that are assigned to it and not released, or about to be assigned by this process."""

    @property
    def free(self) -> int:
        return max(self.room - self.load, 0)


def least_loaded(workers: Iterable[WorkerLoad]) -> WorkerLoad | None:
    """The worker with room that has the least load, then the first by name; None: no worker has room."""
    free = (worker for worker in workers if worker.free)
    return min(free, key=lambda worker: (worker.load, worker.name), default=None)


class WorkerLeftovers:
    """What one process has seen vanish. ``seconds``: by then, a worker has heard of it or has lost its Lease."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: dict[tuple[str, str], tuple[float, Assignment]] = {}

    def deleted(self, last: Object, now: float) -> float | None:
        """The StepRun, in its ``last`` version, is gone. Returns when it has surely ended; None: nothing ran for it.

        The caller wakes the step of that name then.
        """
        assignment = assignment_of(last)
        if assignment is None or is_released(last):
            return None
        self._until = {place: left for place, left in self._until.items() if now < left[0]}
        until = now + self._seconds
        self._until[last["metadata"]["namespace"], last["metadata"]["name"]] = until, assignment
        return until

    def lingers(self, namespace: str, name: str, now: float, is_lost: Callable[[Assignment], bool]) -> bool:
        """Whether something may still run for a StepRun of that name that is gone."""
        left = self._until.get((namespace, name))
        return left is not None and now < left[0] and not is_lost(left[1])
