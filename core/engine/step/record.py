"""What the operator writes into a StepRun's status, and how it recognizes its own record.

Pure: stored status in, merge patch out. A result is *final* once the operator has checked it and has recorded that in
the conditions, in the same write as the result: ``Progressing`` is ``False`` and ``Ready``/``Degraded`` match the
phase. SDKs write phases but never conditions, so a terminal phase that an SDK wrote is not final by itself; neither an
annotation nor a second write is needed.
Source: StepRun contract 4.1, 18.1, 19.4 and 24.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bubu_contract.durations import format_seconds
from bubu_contract.instants import format_instant, format_precise_instant, parse_instant_or_none
from core.api import keys
from core.api.conditions import find_condition, is_true, truncated, with_condition
from core.api.objects import Object
from core.api.phases import ConditionType, ExitClass, Phase, Reason, StepReason, member_or_none
from core.api.unreadable import missing_in
from core.engine.clock import format_deadline
from core.engine.ports import JOB, AttemptOrder, AttemptRecord, Observation
from core.engine.step.assignment import assignment_of
from core.engine.step.verdict import Verdict

ENDINGS = frozenset({Reason.CANCELED, Reason.TIMED_OUT, Reason.STOPPED})
"""Reasons of a run that is ended before its time."""
UNREADABLE = "the result cannot be read"
MAX_FAILED_ATTEMPTS = 16
MAX_FAILED_MESSAGE_LENGTH = 256
UNKNOWN_ATTEMPT = "unknown"
"""Of ``lost_attempt``: the backup has no status, so it is unknown how many attempts there were."""
_DEGRADED = (Phase.FAILED, Phase.TIMEOUT, Phase.ABORTED)
_ERROR_TYPES = {
    Reason.TIMED_OUT: "timeout",
    Reason.INPUT_SCHEMA_FAILED: "validation_error",
    Reason.OUTPUT_SCHEMA_FAILED: "validation_error",
    Reason.OUTPUT_TOO_LARGE: "validation_error",
    Reason.EXPRESSION_FAILED: "validation_error",
    Reason.DEPENDENCY_FAILED: "validation_error",
    Reason.INVALID_CONFIGURATION: "initialization_error",
    Reason.INPUT_TOO_LARGE: "initialization_error",
    Reason.REFERENCE_NOT_FOUND: "initialization_error",
    Reason.UNREADABLE: "validation_error",
}


def phase_of(status: Mapping[str, Any]) -> Phase | None:
    return member_or_none(Phase, status.get("phase"))


def retries_of(status: Mapping[str, Any]) -> int:
    retries = status.get("retries")
    return max(retries, 0) if isinstance(retries, int) else 0


def is_final(status: Mapping[str, Any]) -> bool:
    """Whether the operator has checked and recorded this result."""
    phase = phase_of(status)
    if phase is None or not phase.terminal:
        return False
    conditions = status.get("conditions") or ()
    progressing = find_condition(conditions, ConditionType.PROGRESSING)
    return (
        progressing is not None
        and progressing.get("status") == "False"
        and is_true(conditions, ConditionType.READY) == (phase is Phase.SUCCEEDED)
        and is_true(conditions, ConditionType.DEGRADED) == (phase in _DEGRADED)
    )


def is_overtaken(seen: Object, stored: Object) -> bool:
    """Whether a decision on ``seen``, a StepRun or StoryRun, no longer holds for ``stored``.

    It has ended since, or is being ended, or is at another attempt, or starts again.
    """
    old, new = seen.get("status") or {}, stored.get("status") or {}
    phase = phase_of(new)
    ended = phase is not None and phase.terminal and phase is not phase_of(old)
    ending = announced_end(new) is not None and announced_end(old) is None
    restarted = "attempts" in old and any(new.get(key) != old.get(key) for key in ("startedAt", "attempts"))
    return ended or ending or restarted or is_final(new) or retries_of(new) != retries_of(old)


def is_asked_to_end(seen: Object, stored: Object) -> bool:
    """Whether a StoryRun was canceled after it was ``seen``, while its steps were running.

    Another leader may have seen the cancel first. It may be about to end a step for which this process finds no Job.
    """
    asked, knew = (run["spec"].get("cancelRequested") is True for run in (stored, seen))
    return asked and not knew and announced_end(seen.get("status") or {}) is None


def has_run_again(run: Object) -> bool:
    """Whether a request to run a StoryRun again has been answered."""
    annotations = (run.get("metadata") or {}).get("annotations") or {}
    return not annotations.keys().isdisjoint(
        {keys.ANNOTATION_REDRIVE_OBSERVED, keys.ANNOTATION_REDRIVE_FROM_STEP_OBSERVED}
    )


def announced_end(status: Mapping[str, Any]) -> Reason | None:
    """Why a StoryRun that is still running is being ended, once that is stored."""
    if phase_of(status) is not Phase.RUNNING:
        return None
    for type_ in (ConditionType.READY, ConditionType.PROGRESSING):  # the first may show a missing permission
        condition = find_condition(status.get("conditions") or (), type_) or {}
        reason = member_or_none(Reason, condition.get("reason"))
        if reason in ENDINGS:
            return reason
    return None


def was_started(status: Mapping[str, Any]) -> bool:
    """Whether the operator has recorded the start of the current attempt."""
    progressing = find_condition(status.get("conditions") or (), ConditionType.PROGRESSING)
    return progressing is not None and progressing.get("reason") != Reason.RETRY_SCHEDULED


def end_is_requested(step_run: Object) -> bool:
    """Whether the operator has asked the step to end, because its run or its list of steps was ended."""
    return keys.ANNOTATION_CANCEL_REQUESTED in (step_run["metadata"].get("annotations") or {})


def is_lost_in_backup(step_run: Object) -> bool:
    """Whether a backup has brought the StepRun back while its current attempt was under way: nothing is known of its
    end.
    """
    lost, retries = lost_attempt(step_run), retries_of(step_run.get("status") or {})
    return lost == UNKNOWN_ATTEMPT or lost == str(retries)


def lost_attempt(step_run: Object) -> str:
    """The number of the attempt that was under way in a backup, ``UNKNOWN_ATTEMPT``, or empty."""
    return str((step_run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_LOST_ATTEMPT) or "")


def verdict_of(step_run: Object) -> Verdict:
    """The verdict of the step of a final StepRun."""
    status = step_run["status"]
    phase = phase_of(status)
    assert phase is not None
    was_ended = phase in (Phase.CANCELED, Phase.TIMEOUT) and end_is_requested(step_run)
    was_ended = was_ended or (phase is Phase.FAILED and _reason_of(status) == Reason.TOPOLOGY_TERMINATED)
    return Verdict(
        phase,
        str(status.get("lastFailureMsg") or "") if phase is not Phase.SUCCEEDED else "",
        recorded_reason=StepReason.RUN_ENDED if was_ended else None,
        started_at=parse_instant_or_none(status.get("startedAt")),
        finished_at=parse_instant_or_none(status.get("finishedAt")),
    )


def _reason_of(status: Mapping[str, Any]) -> object:
    return (find_condition(status.get("conditions") or (), ConditionType.PROGRESSING) or {}).get("reason")


def executor_of(step_run: Object) -> str:
    """Name of the executor that a StepRun was created for. One without a name is from the time when all used Jobs."""
    executor = step_run["spec"].get("executor")
    return executor if isinstance(executor, str) and executor else JOB


def attempt_of(step_run: Object) -> AttemptRecord | None:
    """The attempt that was started last, as recorded or as assigned to a worker; None: none yet, or none that can be
    read.

    Only the operator writes both. ``retries_of`` tells the current attempt: after a failure, that is the next one, even
    before it is started.
    """
    recorded, assigned = recorded_attempt_of(step_run), assignment_of(step_run)
    if assigned is None or (recorded is not None and recorded.number > assigned.attempt):
        return recorded
    return AttemptRecord(
        assigned.attempt, executor_of(step_run), assigned.deadline_at, assigned.worker, assigned.execution_key
    )


def recorded_attempt_of(step_run: Object) -> AttemptRecord | None:
    """``status.attempt``: the attempt that was recorded last. A short one is recorded only with its end."""
    attempt = (step_run.get("status") or {}).get("attempt")
    number = attempt.get("number") if isinstance(attempt, Mapping) else None
    if not isinstance(attempt, Mapping) or not isinstance(number, int):
        return None
    worker, key = attempt.get("worker"), attempt.get("key")
    return AttemptRecord(
        number,
        executor_of(step_run),
        parse_instant_or_none(attempt.get("deadlineAt")),
        worker if isinstance(worker, str) else "",
        key if isinstance(key, str) else "",
    )


def running_patch(step_run: Object, now: datetime, attempt: AttemptRecord, what: str) -> Object:
    """The attempt has been started, or will be next; its record replaces the one of the attempt before.

    ``what``: what its executor starts for it (``ExecutorTraits.word``).
    """
    status = step_run.get("status") or {}
    retries = retries_of(status)
    message = f"The {what} is created" if not retries else f"The {what} of retry {retries} is created"
    patch: Object = {"phase": str(Phase.RUNNING), "retries": retries, "nextRetryAt": None}
    patch["attempt"] = attempt_to_wire(attempt)
    patch |= conditions_patch(step_run, Phase.RUNNING, Reason.SCHEDULED, message, now)
    if not status.get("startedAt"):
        patch["startedAt"] = format_instant(now)
    return patch


def attempt_to_wire(attempt: AttemptRecord) -> Object:
    return {
        "number": attempt.number,
        "deadlineAt": format_deadline(attempt.deadline_at) if attempt.deadline_at is not None else None,
        "worker": attempt.worker or None,
        "key": attempt.execution_key or None,
    }


def attempt_ordered(order: AttemptOrder) -> AttemptRecord:
    """The record of an attempt that is started next."""
    executor = executor_of(order.step_run)
    return AttemptRecord(order.attempt, executor, order.deadline_at, execution_key=order.execution_key)


def attempt_seen(seen: Observation) -> AttemptRecord:
    """The record of an observed attempt."""
    assert seen.step_run is not None, "an attempt has a StepRun"
    number = retries_of(seen.step_run.get("status") or {}) if seen.attempt is None else seen.attempt
    executor = executor_of(seen.step_run)
    worker = seen.worker if assignment_of(seen.step_run) is not None else ""
    return AttemptRecord(number, executor, seen.deadline_at, worker, seen.execution_key)


def key_patch(seen: Observation) -> Object:
    """The record of an attempt that ends before its start was recorded, so that later runs find its key; else empty."""
    if seen.step_run is None or seen.attempt is None or not seen.execution_key:
        return {}
    known = recorded_attempt_of(seen.step_run)
    if known is not None and (known.number, known.execution_key) == (seen.attempt, seen.execution_key):
        return {}
    return {"attempt": attempt_to_wire(attempt_seen(seen))}


def execution_key_of(step_run: Object) -> str:
    """What the success of a StepRun has in common with equal ones; empty: not known.

    An output that was taken from an equal execution has the key of that one, unless attempts of its own have failed
    before: then it is not clear which key is meant.
    """
    status, attempt = step_run.get("status") or {}, attempt_of(step_run)
    if not status.get("cached"):
        return "" if attempt is None else attempt.execution_key
    source = status.get("cachedFrom")
    key = source.get("key") if attempt is None and isinstance(source, Mapping) else ""
    return key if isinstance(key, str) else ""


def retry_patch(
    step_run: Object,
    now: datetime,
    next_at: datetime,
    of_at_most: int,
    exit_code: int,
    message: str,
    obstacle: str = "",
) -> Object:
    """The attempt failed, and a retry follows: one write counts it, sets its time and drops the old result."""
    status = step_run.get("status") or {}
    retries = retries_of(status) + 1
    text = f"Retry {retries} of {of_at_most} follows: {message}"
    patch: Object = {
        "phase": str(Phase.PENDING),
        "retries": retries,
        "nextRetryAt": format_deadline(next_at),
        "lastFailureMsg": message,
        "exitCode": exit_code or None,
        "failedAttempts": _failed_attempts(status, now, next_at, exit_code, message, obstacle),
    }
    patch |= dict.fromkeys(("exitClass", "error", "output", "podName", "finishedAt", "duration", "lastOutputAt"))
    if not status.get("startedAt"):
        patch["startedAt"] = format_instant(_unrecorded_start(step_run, now))
    return patch | conditions_patch(step_run, Phase.PENDING, Reason.RETRY_SCHEDULED, text, now)


def _failed_attempts(
    status: Mapping[str, Any], now: datetime, next_at: datetime, exit_code: int, message: str, obstacle: str
) -> list[Object]:
    """``status.failedAttempts`` with the attempt that has failed now."""
    earlier = status.get("failedAttempts")
    failed: Object = {"number": retries_of(status), "finishedAt": format_precise_instant(now)}
    failed["retryAt"] = format_precise_instant(next_at)
    if exit_code:
        failed["exitCode"] = exit_code
    if message:
        failed["message"] = truncated(message, MAX_FAILED_MESSAGE_LENGTH)
    if obstacle:
        failed["obstacle"] = obstacle
    return [*(earlier if isinstance(earlier, list) else ()), failed][-MAX_FAILED_ATTEMPTS:]


def claims_success(step_run: Object) -> bool:
    """Whether a success is recorded."""
    status = step_run.get("status") or {}
    return phase_of(status) is Phase.SUCCEEDED and is_final(status)


def with_output(step_run: Object, output: Mapping[str, Any]) -> Object:
    """The StepRun as it would be if its container had reported ``output``."""
    return {**step_run, "status": {**(step_run.get("status") or {}), "output": dict(output)}}


def success_patch(step_run: Object, now: datetime) -> Object:
    status = step_run.get("status") or {}
    patch = conditions_patch(step_run, Phase.SUCCEEDED, Reason.COMPLETED, "The step succeeded", now)
    patch |= _finish(step_run, now) | {"phase": str(Phase.SUCCEEDED)}
    patch |= {key: None for key in ("lastFailureMsg", "exitCode") if status.get(key)}  # they are of an earlier attempt
    if status.get("output") and not status.get("lastOutputAt"):
        patch["lastOutputAt"] = format_instant(now)
    return patch


def cached_patch(output: Any, source: Mapping[str, Any]) -> Object:
    """What a success whose output comes from the cache records beside ``success_patch``."""
    return {"output": output, "cached": True, "cachedFrom": dict(source)}


def failure_patch(
    step_run: Object,
    phase: Phase,
    reason: Reason,
    message: str,
    now: datetime,
    *,
    exit_code: int | None = None,
    exit_class: ExitClass | None = None,
    details: Mapping[str, str] | None = None,
) -> Object:
    """Any terminal phase but ``Succeeded``. What the SDK wrote about the failure is kept, but not the exit code of an
    earlier attempt.

    The parts of the status that cannot be read are deleted, so that the status can be read from then on.
    """
    status = step_run.get("status") or {}
    patch: Object = dict.fromkeys(missing_in(step_run, "status"))
    patch |= conditions_patch(step_run, phase, reason, message, now) | _finish(step_run, now) | {"phase": str(phase)}
    patch |= {"lastFailureMsg": message, "nextRetryAt": None}
    reported = phase_of(status)
    if exit_code is not None:
        patch["exitCode"] = exit_code
    elif status.get("exitCode") and (reported is None or not reported.terminal):
        patch["exitCode"] = None
    if exit_class is not None:
        patch["exitClass"] = str(exit_class)
    if not status.get("error") and message:
        error: Object = {"version": "v1", "type": _ERROR_TYPES.get(reason, "execution_error"), "message": message}
        patch["error"] = error | ({"details": dict(details)} if details else {})
    return patch


def _finish(step_run: Object, now: datetime) -> Object:
    """``finishedAt`` and ``duration`` if the SDK left them out; a container's wrong clock never makes them negative."""
    status = step_run.get("status") or {}
    patch: Object = {"retries": retries_of(status)}
    started_at = parse_instant_or_none(status.get("startedAt"))
    if started_at is None:
        started_at = _unrecorded_start(step_run, now)
        patch["startedAt"] = format_instant(started_at)
    finished_at = parse_instant_or_none(status.get("finishedAt"))
    if finished_at is None or finished_at < started_at:
        finished_at = max(now, started_at)
        patch["finishedAt"] = format_instant(finished_at)
    if not status.get("duration") or "finishedAt" in patch:
        patch["duration"] = format_seconds(finished_at - started_at)
    return patch


def _unrecorded_start(step_run: Object, now: datetime) -> datetime:
    """The start of a step that never started, or ended before its start was recorded."""
    return parse_instant_or_none(step_run["metadata"].get("creationTimestamp")) or now


def conditions_patch(
    step_run: Object,
    phase: Phase,
    reason: Reason,
    message: str,
    now: datetime,
    transport: tuple[bool, Reason] | None = None,
) -> Object:
    """The conditions that go with a phase. ``transport``: status and reason of ``TransportReady``; None: no attempt is
    alive, so no worker is connected.
    """
    generation = step_run["metadata"].get("generation", 0)
    conditions = list((step_run.get("status") or {}).get("conditions") or ())
    words = [
        (ConditionType.READY, phase is Phase.SUCCEEDED, reason),
        (ConditionType.PROGRESSING, not phase.terminal, reason),
        (ConditionType.DEGRADED, phase in _DEGRADED, reason),
    ]
    if transport is not None or find_condition(conditions, ConditionType.TRANSPORT_READY) is not None:
        words.append((ConditionType.TRANSPORT_READY, *(transport or (False, reason))))
    for type_, status, why in words:
        conditions = with_condition(
            conditions, type_, status, reason=why, message=message, generation=generation, now=now
        )
    return {"observedGeneration": generation, "conditions": conditions}
