"""StepRuns that were deleted while a worker carried out their attempt. Pure: callers give the time, in seconds.

A worker kills the process of an attempt when it hears that the StepRun is gone. Nothing can record that, so the next
StepRun of that name waits for some time, or until the worker is lost. Who deletes a StepRun in order to create it again
waits for the end of the attempt first; so this is only for deletions by others.
"""

from __future__ import annotations

from collections.abc import Callable

from core.api.objects import Object
from core.engine.step.assignment import Assignment, assignment_of
from core.engine.step.worker_observation import is_released


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
