"""An attempt that the operator has assigned to this worker, as the StepRun says it. Pure.

Source: StepRun contract 3.5.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bubu_contract import instants
from bubu_sdk.errors import Object

LABEL_WORKER: Final = "bubustack.io/worker"
LABEL_WORKER_POOL: Final = "bubustack.io/worker-pool"
ANNOTATION_ASSIGNMENT: Final = "runs.bubustack.io/assignment"
ANNOTATION_CANCEL_REQUESTED: Final = "bubustack.io/cancel-requested"
WORKER_EXIT: Final = "workerExit"
"""The field of the status in which the worker says that an attempt's process has ended."""
_ENDED_PHASES: Final = frozenset(
    {"Succeeded", "Failed", "Canceled", "Timeout", "Aborted", "Finished", "Skipped", "Compensated"}
)


@dataclass(frozen=True)
class AssignedAttempt:
    """One attempt of a StepRun, for one worker."""

    step_run: str
    uid: str
    attempt: int
    """From 0."""
    worker_uid: str
    environment: Mapping[str, str]
    """The variables of this step that differ from those of the worker's container."""
    deadline_at: datetime | None = None
    """When the operator ends it, by the operator's clock."""

    @property
    def key(self) -> tuple[str, int]:
        """What distinguishes it from all other attempts."""
        return self.uid, self.attempt


def assigned_to(step_run: Object, worker_uid: str) -> AssignedAttempt | None:
    """The attempt that is assigned to this worker; ``None`` if there is none, or none that can be read."""
    metadata = step_run.get("metadata") or {}
    try:
        given = json.loads((metadata.get("annotations") or {}).get(ANNOTATION_ASSIGNMENT) or "null")
    except ValueError:
        return None
    if not isinstance(given, Mapping) or given.get("workerUid") != worker_uid:
        return None
    attempt, environment = given.get("attempt"), given.get("environment") or {}
    if not isinstance(attempt, int) or isinstance(attempt, bool) or not isinstance(environment, Mapping):
        return None
    variables = {name: value for name, value in environment.items() if isinstance(value, str)}
    deadline_at = instant_or_none(given.get("deadlineAt"))
    name, uid = str(metadata.get("name")), str(metadata.get("uid"))
    return AssignedAttempt(name, uid, attempt, worker_uid, variables, deadline_at)


def instant_or_none(given: object) -> datetime | None:
    """The instant in an RFC 3339 string; ``None`` for anything else."""
    try:
        return instants.parse_instant(given) if isinstance(given, str) else None
    except ValueError:
        return None


def is_released(step_run: Object, attempt: AssignedAttempt) -> bool:
    """Whether the record says already that no process of the attempt runs."""
    stored = _status(step_run).get(WORKER_EXIT)
    return isinstance(stored, Mapping) and stored.get("attempt") == attempt.attempt


def is_current(step_run: Object, attempt: AssignedAttempt) -> bool:
    """Whether the result of the attempt may still be recorded: neither the step nor this attempt of it is over."""
    status = _status(step_run)
    return retries_of(status) == attempt.attempt and not is_final(status)


def must_end(step_run: Object, attempt: AssignedAttempt) -> bool:
    """Whether the attempt must not work on: it is over by the record, or the operator has asked it to end."""
    annotations = (step_run.get("metadata") or {}).get("annotations") or {}
    return not is_current(step_run, attempt) or ANNOTATION_CANCEL_REQUESTED in annotations


def is_final(status: Mapping[str, Any]) -> bool:
    """Whether the operator has recorded the end of the step: a phase of an SDK has no conditions yet."""
    conditions = status.get("conditions") or ()
    return status.get("phase") in _ENDED_PHASES and any(
        each.get("type") == "Progressing" and each.get("status") == "False" for each in conditions
    )


def retries_of(status: Mapping[str, Any]) -> int:
    """The number of the current attempt, from 0."""
    retries = status.get("retries")
    return max(retries, 0) if isinstance(retries, int) else 0


def _status(step_run: Object) -> Mapping[str, Any]:
    status: Mapping[str, Any] = step_run.get("status") or {}
    return status
