"""What the model of the operator remembers of warm workers: their load, who waits for room, and what may still run.

Production has its own registry of workers (``reconcilers``), which follows Pods and Leases; its rules are the same: the
least load, first come, first served, and some time for the work of a StepRun that is gone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

from core.api.objects import Object
from core.engine.step.assignment import Assignment, assignment_of
from core.engine.step.worker_observation import is_released

T = TypeVar("T", bound=Hashable)


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


class RoomLine(Generic[T]):
    """The steps that wait for room in one pool, in the order in which they have asked first.

    A step that is called leaves the line; if it finds no room after all, it has its old place again. One that does not
    come holds nobody up: the next change calls the next ones.
    """

    def __init__(self) -> None:
        self._tickets: dict[T, int] = {}
        self._numbers = count()
        self._line: list[tuple[int, T]] = []
        self._waiting: set[T] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, step: T) -> None:
        """The step has found no room."""
        if step not in self._waiting:
            self._waiting.add(step)
            heapq.heappush(self._line, (self._tickets.setdefault(step, next(self._numbers)), step))

    def leave(self, step: T) -> None:
        """The step has got room, or does not want it any more."""
        self._tickets.pop(step, None)
        self._waiting.discard(step)

    def before(self, step: T) -> int:
        """How many steps are before this one, which has asked; for one that has not, how many have."""
        ticket = self._tickets.get(step)
        return sum(ticket is None or self._tickets[other] < ticket for other in self._waiting if other != step)

    def call(self, free: int) -> list[T]:
        """The first steps in the line, as many as there is room for now."""
        called: list[T] = []
        while self._line and len(called) < free:
            ticket, step = heapq.heappop(self._line)
            if step in self._waiting and self._tickets.get(step) == ticket:
                self._waiting.discard(step)
                called.append(step)
        return called


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
