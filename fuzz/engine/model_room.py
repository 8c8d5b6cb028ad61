"""What the model of the operator remembers of warm workers: their load.

Production has its own registry of workers (``reconcilers.adapters.worker_registry``), which follows Pods and Leases.
Its rule is the same, the least load.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


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
