"""The StepRun of a step in a warm worker: given with the assignment instead of read, and reported by the worker.

What the function writes while it runs, signals and effects, goes to the API server as in a Job. Only the outcome takes
another way: the worker writes it together with the end of the process.
"""

from __future__ import annotations

from typing import Any

from bubu_sdk.contract import Identity
from bubu_sdk.errors import Object
from bubu_sdk.kube import Cluster
from bubu_sdk.status import StatusUpdate
from bubu_sdk.steprun import Change, FencedError, StepRunClient
from bubu_sdk.workers import assignment
from bubu_sdk.workers.assignment import AssignedAttempt


class AssignedStepRun(StepRunClient):
    """The client for a StepRun whose attempt is assigned to this worker. ``outcome`` is what the worker reports."""

    def __init__(
        self, cluster: Cluster, identity: Identity, *, attempt: AssignedAttempt, step_run: Object, **options: Any
    ) -> None:
        super().__init__(cluster, identity, **options)
        self._attempt = attempt
        self._given = step_run
        self._answered = step_run  # so that the first write needs no read before it
        self._started: Object = {}
        self.outcome: StatusUpdate | None = None

    def claim(self, change: Change) -> Object:
        """The StepRun as it was assigned. The assignment is the claim: nothing is written before the outcome."""
        claimed = change(self._given.get("status") or {})
        self._started = {name: value for name, value in claimed.fields.items() if name == "startedAt"}
        return self._given

    def report(self, outcome: StatusUpdate, *, patient_until: float = 0.0) -> Object:
        """Keep the outcome for the worker."""
        self.outcome = StatusUpdate({**self._started, **outcome.fields}, outcome.cleared)
        return self._given

    def update(
        self,
        change: Change | StatusUpdate,
        timeout_seconds: float | None = None,
        *,
        patient_until: float | None = None,
    ) -> Object:
        """As in a Job; after the outcome is known, fields are added to it: the link to the logs."""
        if self.outcome is None or not isinstance(change, StatusUpdate):
            return super().update(change, timeout_seconds, patient_until=patient_until)
        self.outcome = StatusUpdate({**self.outcome.fields, **change.fields}, self.outcome.cleared)
        return self._given

    def _check_owner(self, step_run: Object) -> None:
        stored = assignment.assigned_to(step_run, self._attempt.worker_uid)
        if stored != self._attempt or not assignment.is_current(step_run, self._attempt):
            raise FencedError(f"attempt {self._attempt.attempt + 1} of {self._attempt.step_run} is over")
