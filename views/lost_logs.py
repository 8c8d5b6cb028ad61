"""Whether a step can have a log, and what became of one that cannot be shown. Pure.

The log of a container goes with its Pod. The SDK stores the records of a batch attempt when its program ends by itself
(SDK contract 19). The operator ends a program that takes too long, or whose run is canceled, by deleting its Job.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.phases import AWAITED_DEFINITIONS, ConditionType, Phase, Reason, StepReason, member_or_none
from core.engine.ports import JOB, STREAM
from core.engine.step.record import end_is_requested, executor_of
from views.run_view import StepView

_NOT_BEGUN: Final = AWAITED_DEFINITIONS | {
    StepReason.IMAGE_NOT_PULLED,
    StepReason.CONTAINER_NOT_CREATED,
    StepReason.CONTAINER_NOT_STARTED,
    StepReason.UNSCHEDULABLE,
    StepReason.NO_POD,
    "InvalidImageName",
    "SchedulingGated",
}
"""Obstacles of an attempt whose program has never run."""
_REFUSED: Final = {
    Reason.DEPENDENCY_FAILED,
    Reason.ENGRAM_REFERENCE_INVALID,
    Reason.EXPRESSION_FAILED,
    Reason.INPUT_SCHEMA_FAILED,
    Reason.INPUT_TOO_LARGE,
    Reason.INVALID_CONFIGURATION,
    Reason.REFERENCE_NOT_FOUND,
}
"""Reasons for which the operator refuses to start a step."""
_ENDED: Final = {Phase.TIMEOUT: "timed out", Phase.CANCELED: "was canceled"}


class LostLog(NamedTuple):
    """What became of a log."""

    why: str
    remedy: str


def may_have_logged(step_run: Object | None) -> bool:
    """Whether a program of the step may have run: if not, it cannot have a log. Without a StepRun, none has."""
    status = (step_run or {}).get("status") or {}
    if step_run is None or status.get("cached"):
        return False
    failed = status.get("failedAttempts") or ()
    if status.get("podName") or len(failed) < (status.get("retries") or 0):
        return True
    if any(each.get("obstacle") not in _NOT_BEGUN for each in failed):
        return True
    details = (status.get("error") or {}).get("details") or {}
    if details.get("obstacle") in _NOT_BEGUN:
        return False
    ended = find_condition(status.get("conditions") or (), ConditionType.PROGRESSING) or {}
    is_refused = status.get("phase") == Phase.FAILED and ended.get("reason") in _REFUSED
    return not is_refused or "exitCode" in status or "attempt" in status


def never_begins(step: StepView, step_run: Object | None) -> bool:
    """Whether no program of the step has run or will run."""
    if step.kind != "engram":
        return True
    return step.phase is not None and step.phase.terminal and not may_have_logged(step_run)


def why_never_begun(step: StepView, step_run: Object | None) -> str:
    """Why a step of which ``never_begins`` is true has no log."""
    if step.kind != "engram":
        child = f"; it has started StoryRun {step.child_run}" if step.child_run else ""
        return f"a step of type {step.kind} has no container{child}"
    if ((step_run or {}).get("status") or {}).get("cached"):
        return "its output was taken from the cache, so no program has run"
    return f"it has ended {step.phase}, and no program of it has run" + (f": {step.detail}" if step.detail else "")


def lost_log(step_run: Object, *, is_last: bool, problem: str, has_store: bool, follow: str) -> LostLog:
    """What became of the log of an attempt whose Pod is gone, and of which nothing can be read in the object store.

    Args:
        is_last: whether it is the last attempt of the step.
        problem: why the store cannot be read; empty if nothing of the attempt is in it.
        has_store: whether the operator has an object store.
        follow: the command that shows a log while it is written.
    """
    status, executor = step_run.get("status") or {}, executor_of(step_run)
    live = f"read it while a program runs, with: {follow}; or collect the logs of Pods in the cluster"
    at = f" at {status['finishedAt']}" if status.get("finishedAt") else ""
    if executor == STREAM:
        why = f"the Pods of a realtime step are deleted when it ends, as this one did{at}; their logs are not stored"
        return LostLog(why, live)
    ended = member_or_none(Phase, status.get("phase"))
    details = (status.get("error") or {}).get("details") or {}
    by_operator = is_last and (end_is_requested(step_run) or "timeoutFrom" in details)
    text = "its Pod is deleted"
    if by_operator and ended in _ENDED:
        done = "deleted its Job, and with it the Pod and its log" if executor == JOB else "ended the attempt"
        text = f"the step {_ENDED[ended]}{at}, and the operator {done}"
    if not has_store:
        stores = "with an object store (controller.storage.provider) the SDK keeps the records of programs that end"
        return LostLog(f"{text}; {problem}", f"{stores} by themselves; or {live}")
    stores = "the SDK stores the records of a program that ends by itself, not of one that is ended or has no SDK"
    return LostLog(f"{text}; {problem or f'nothing of it is in the object store: {stores}'}", live)
