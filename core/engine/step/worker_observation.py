"""What a StepRun says of an attempt that a worker carries out. Pure: the StepRun is all there is to look at.

Source: StepRun contract 3.5.
"""

from __future__ import annotations

from typing import Any, Final

from core.api.objects import Object
from core.api.phases import Phase
from core.engine.ports import AttemptState, Observation
from core.engine.step.assignment import Assignment, WorkerExit, assignment_of, worker_exit_of
from core.engine.step.record import end_is_requested, is_final, phase_of, retries_of

WORKER_LOST: Final = "WorkerLost"
"""``Observation.reason`` of an attempt whose worker is gone."""
_LOST: Final = "its worker is gone, or has sent no heartbeat"


def observe_worker(step_run: Object, is_lost: bool) -> Observation:
    """One look at the current attempt. ``is_lost``: nothing runs any more in the worker that is assigned."""
    assignment, status = assignment_of(step_run), step_run.get("status") or {}
    if assignment is None:
        return Observation(step_run)
    exit_ = exit_of(step_run, assignment)
    released = exit_ is not None or is_lost
    if assignment.attempt != retries_of(status):
        return Observation(step_run, AttemptState.ABSENT if released else AttemptState.LINGERING)
    if not released and is_over(step_run, assignment.attempt):
        return Observation(step_run, AttemptState.LINGERING)
    seen: dict[str, Any] = {
        "attempt": assignment.attempt,
        "deadline_at": assignment.deadline_at,
        "worker": assignment.worker,
        "execution_key": assignment.execution_key,
    }
    if exit_ is not None:
        state = AttemptState.SUCCEEDED if exit_.exit_code == 0 else AttemptState.FAILED
        return Observation(step_run, state, exit_code=exit_.exit_code, finished_at=exit_.finished_at, **seen)
    if is_lost:
        return Observation(step_run, AttemptState.FAILED, reason=WORKER_LOST, message=_LOST, **seen)
    at_work = phase_of(status) is Phase.RUNNING or status.get("podName") == assignment.worker
    return Observation(step_run, AttemptState.RUNNING if at_work else AttemptState.STARTING, **seen)


def exit_of(step_run: Object, assignment: Assignment) -> WorkerExit | None:
    """The end of the assigned attempt's process; None: as far as the StepRun says, it has not ended."""
    found = worker_exit_of(step_run.get("status") or {})
    return found if found is not None and found.attempt == assignment.attempt else None


def is_released(step_run: Object) -> bool:
    """Whether no worker has to do with the StepRun, as far as it says itself: none was assigned, or its process ended.

    What is not released counts as load of its worker, unless that is lost.
    """
    assignment = assignment_of(step_run)
    return assignment is None or exit_of(step_run, assignment) is not None


def is_over(step_run: Object, attempt: int) -> bool:
    """Whether an attempt is to end, or has ended, by the record of the operator: its worker needs no other signal."""
    status = step_run.get("status") or {}
    return retries_of(status) > attempt or is_final(status) or end_is_requested(step_run)
