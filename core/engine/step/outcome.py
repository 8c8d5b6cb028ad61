"""What to do about a step, given one look at it. Pure: observation and policy in, one frozen decision out.

The first reliable result counts: what the SDK wrote, else what the executor says of the attempt. No result is final
until the operator has recorded it (core.engine.step.record), so a failure that the SDK wrote may still be retried.
Source: StepRun contract 7, 17, 18.1 and 19.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeAlias

from bubu_contract.durations import format_duration
from bubu_contract.instants import parse_instant_or_none
from core.api.objects import Object, is_being_deleted
from core.api.phases import REPORTED_PHASES, ExitClass, Phase, Reason, member_or_none
from core.api.unreadable import why_unreadable
from core.engine.executor_port import ExecutorTraits
from core.engine.ports import DEADLINE_EXCEEDED, AttemptState, Observation
from core.engine.step import record
from core.engine.step.pending_reason import PATIENCE, HoldUp
from core.policy.retry import AttemptFailure, RetryPolicy
from core.policy.timing import TimeoutChoice

TIMEOUT_EXIT_CODE: Final = 124
UNDETERMINED_EXIT_CODE: Final = -1


@dataclass(frozen=True, slots=True)
class Create:
    """There is no StepRun: create it."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The result is recorded. ``still_alive``: as far as is known, its attempt still runs and was not asked to end."""

    still_alive: bool


@dataclass(frozen=True, slots=True)
class Succeed:
    """The attempt reports success: check its output and record the result."""


@dataclass(frozen=True, slots=True)
class Collect:
    """The attempt has succeeded, and its worker reports nothing: read its output, check it and record the result."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The attempt failed, and there is no retry: record the failure."""

    phase: Phase
    reason: Reason
    message: str
    exit_code: int | None
    exit_class: ExitClass | None
    still_alive: bool
    details: Mapping[str, str] = field(default_factory=dict)
    """``error.details``: the facts of the message, for programs."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed, and a retry is allowed: count the failure.

    ``not_before``: the SDK reported that an earlier attempt would fail, too.
    """

    exit_code: int
    message: str
    not_before: datetime | None = None
    obstacle: str = ""
    """What a timeout has ended the wait for, as in ``error.details``."""


@dataclass(frozen=True, slots=True)
class EndAttempt:
    """An earlier attempt still exists: end it."""


@dataclass(frozen=True, slots=True)
class Start:
    """Nothing of the current attempt exists: start it.

    ``announce_first``: an SDK cannot report success from ``Pending``, so ``Running`` must be stored before the attempt
    starts. From a status without a phase it can; then the start comes first. ``announced``: ``Running`` is stored
    already, for a start that has left nothing.
    """

    announce_first: bool
    announced: bool


@dataclass(frozen=True, slots=True)
class Announce:
    """The attempt has started, but its StepRun is not ``Running`` yet or names another deadline: record it.

    Of an attempt that is ``live``, anything that the StepRun shows of it has changed.
    """


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something changes or ``until`` has come."""

    until: datetime | None = None


NextAction: TypeAlias = Create | Recorded | Succeed | Collect | Fail | Retry | EndAttempt | Start | Announce | Wait


def decide(
    observation: Observation,
    policy: RetryPolicy,
    now: datetime,
    traits: ExecutorTraits,
    limit: TimeoutChoice | None = None,
    hold_up: HoldUp | None = None,
    *,
    has_news: bool = False,
) -> NextAction:
    """The next thing to do. After every decision but ``Recorded``, the caller looks again.

    ``traits``: those of the StepRun's executor.
    ``limit``: the timeout of an attempt; ``hold_up``: what keeps this one from its work. Both only describe a timeout.
    ``has_news``: whether the StepRun does not show yet how the attempt, which is ``live``, is now.
    """
    step_run = observation.step_run
    if step_run is None:
        return Create()
    if is_being_deleted(step_run):
        return Wait()
    status = step_run.get("status") or {}
    alive = observation.state in (AttemptState.STARTING, AttemptState.RUNNING)
    stays = not traits.ends_by_itself
    if record.is_final(status):
        if stays:
            return Recorded(still_alive=alive or observation.state is AttemptState.FAILED)
        return Recorded(still_alive=alive and status.get("phase") != Phase.SUCCEEDED)
    if why := why_unreadable(step_run):
        message = f"{record.UNREADABLE}: {why}; report less data, with less nesting, or put it into storage"
        return Fail(Phase.FAILED, Reason.UNREADABLE, message, None, ExitClass.TERMINAL, still_alive=True)
    current = observation.attempt == record.retries_of(status)
    phase = record.phase_of(status)
    if phase is Phase.SUCCEEDED:
        return Succeed()
    if phase is not None and phase.terminal and (current or record.was_started(status)):
        return _reported_failure(status, phase, policy, alive=stays)
    if observation.attempt is not None and not current:
        return EndAttempt()
    if observation.state is AttemptState.ABSENT and record.is_lost_in_backup(step_run):
        return _lost_in_backup(step_run, status, policy)
    match observation.state:
        case AttemptState.LINGERING:
            return Wait()
        case AttemptState.ABSENT:
            return _start(status, phase, now, announces=not stays)
        case AttemptState.STARTING | AttemptState.RUNNING:
            over = timed_out(limit, hold_up)
            return _under_way(observation, status, phase, policy, now, over, has_news=has_news)
        case AttemptState.SUCCEEDED:
            return Collect() if observation.has_result else Succeed()
        case AttemptState.FAILED:
            if observation.reason == DEADLINE_EXCEEDED:
                text = f"Kubernetes has ended its Job: {observation.message or observation.reason}"
                over = timed_out(limit, hold_up or HoldUp(DEADLINE_EXCEEDED, text))
                return _or_retry(over, status, policy, alive=stays)
            return _container_failure(observation, status, policy, alive=stays)


def timed_out(limit: TimeoutChoice | None, hold_up: HoldUp | None) -> Fail:
    """The end of an attempt whose time is over, and that no other one follows."""
    text, details = "timed out", {}
    if limit is not None:
        text, details = f"{text} after {limit}", {"timeout": format_duration(limit.timeout), "timeoutFrom": limit.layer}
    if hold_up is not None:
        text, details = f"{text}: {hold_up.text}", {**details, "obstacle": hold_up.reason}
    return Fail(Phase.TIMEOUT, Reason.TIMED_OUT, text, TIMEOUT_EXIT_CODE, ExitClass.RETRY, True, details)


def lost_result(step_run: Object, why: str, policy: RetryPolicy) -> Retry | Fail:
    """What to do about an attempt that has succeeded, and whose output cannot be read any more."""
    status, code = step_run.get("status") or {}, UNDETERMINED_EXIT_CODE
    message = f"the container succeeded, but its result is lost: {why}"
    return _failure(Phase.FAILED, Reason.EXECUTION_FAILED, message, code, exit_class(code), status, policy, alive=False)


def _lost_in_backup(step_run: Object, status: Mapping[str, Any], policy: RetryPolicy) -> Retry | Fail:
    """The attempt was under way when the backup was made: it counts as one whose container has vanished."""
    code, text = UNDETERMINED_EXIT_CODE, "the attempt was under way when the backup was made, and its end is unknown"
    if record.lost_attempt(step_run) == record.UNKNOWN_ATTEMPT:
        text = f"{text}, as is the number of attempts: the backup has no status of the StepRun"
        return Fail(Phase.FAILED, Reason.RESTORED, text, code, exit_class(code), still_alive=False)
    return _failure(Phase.FAILED, Reason.RESTORED, text, code, exit_class(code), status, policy, alive=False)


def final_failure(reason: Reason, message: str, *, still_alive: bool) -> Fail:
    """A failure that no retry can fix. No container decided it, so it has no exit code; its class tells clients."""
    return Fail(Phase.FAILED, reason, message, None, ExitClass.TERMINAL, still_alive)


def exit_class(code: int) -> ExitClass:
    """The class of an exit code, which decides about retries (StepRun contract 17.3)."""
    if code == 0:
        return ExitClass.SUCCESS
    if code == UNDETERMINED_EXIT_CODE:
        return ExitClass.UNKNOWN
    if code == TIMEOUT_EXIT_CODE:
        return ExitClass.RETRY
    if 128 <= code <= 255:
        return ExitClass.RETRY
    if code == 429:
        return ExitClass.RATE_LIMITED
    return ExitClass.TERMINAL


def _start(status: Mapping[str, Any], phase: Phase | None, now: datetime, *, announces: bool) -> NextAction:
    next_at = parse_instant_or_none(status.get("nextRetryAt"))
    if next_at is not None and now < next_at:
        return Wait(next_at)
    if not announces:  # its stream shows its phase, once it is there
        return Start(announce_first=False, announced=phase in (Phase.RUNNING, Phase.PAUSED, Phase.BLOCKED))
    return Start(announce_first=phase not in (None, Phase.RUNNING), announced=phase is Phase.RUNNING)


def _under_way(
    observation: Observation,
    status: Mapping[str, Any],
    phase: Phase | None,
    policy: RetryPolicy,
    now: datetime,
    over: Fail,
    *,
    has_news: bool,
) -> NextAction:
    """``over``: what it means if its time is over."""
    deadline_at = observation.deadline_at
    if deadline_at is not None and now >= deadline_at:
        return _or_retry(over, status, policy, alive=True)
    if observation.live is not None:
        if has_news:
            return Announce()
    elif phase in (None, Phase.PENDING, Phase.SCHEDULING) or (phase is Phase.RUNNING and _is_misrecorded(observation)):
        return Announce()
    return Wait(min((instant for instant in (deadline_at, _patient_until(observation, now)) if instant), default=None))


def _is_misrecorded(observation: Observation) -> bool:
    """Whether the StepRun names another deadline than the attempt has, e.g. because the attempt was started again.

    If an operator that did not record deadlines has started the attempt, none is recorded now.
    """
    assert observation.step_run is not None
    recorded = record.attempt_of(observation.step_run)
    if recorded is None or observation.deadline_at is None:
        return False
    return (recorded.number, recorded.deadline_at) != (observation.attempt, observation.deadline_at)


def _patient_until(observation: Observation, now: datetime) -> datetime | None:
    """When to report that the attempt still has no worker."""
    if observation.waiting_since is None:
        return None
    until = observation.waiting_since + PATIENCE
    return until if now < until else None


def _reported_failure(status: Mapping[str, Any], phase: Phase, policy: RetryPolicy, *, alive: bool) -> NextAction:
    """The SDK wrote a terminal phase that is not success; its message is kept.

    Its container is about to end by itself, as after a success: its Job stays, and with it the logs of the container.
    """
    code = status.get("exitCode")
    code = code if isinstance(code, int) else None
    if phase not in REPORTED_PHASES:  # a container may not report that its step is skipped or compensated
        text = f"the container reported {phase}, which only the operator may decide"
        return Fail(Phase.FAILED, Reason.EXECUTION_FAILED, text, code, ExitClass.TERMINAL, still_alive=alive)
    class_ = member_or_none(ExitClass, status.get("exitClass"))
    if class_ is None and phase is Phase.TIMEOUT:
        class_ = ExitClass.RETRY
    elif class_ is None:
        class_ = exit_class(code) if code else ExitClass.TERMINAL
    message = str(status.get("lastFailureMsg") or _error_message(status) or "the step reported a failure")
    if phase in (Phase.FAILED, Phase.TIMEOUT):
        reason = Reason.TIMED_OUT if phase is Phase.TIMEOUT else Reason.EXECUTION_FAILED
        return _failure(phase, reason, message, code, class_, status, policy, alive=alive)
    return Fail(phase, Reason.CANCELED, message, code, class_, still_alive=alive)


def _container_failure(
    observation: Observation, status: Mapping[str, Any], policy: RetryPolicy, *, alive: bool
) -> NextAction:
    """The container or its Pod failed, and the SDK did not report why. ``alive``: it would be started again."""
    code = observation.exit_code if observation.exit_code is not None else UNDETERMINED_EXIT_CODE
    is_late = code == TIMEOUT_EXIT_CODE
    phase = Phase.TIMEOUT if is_late else Phase.FAILED
    reason = Reason.TIMED_OUT if is_late else Reason.EXECUTION_FAILED
    message = f"the container exited with code {code}"
    if code == UNDETERMINED_EXIT_CODE:
        message = "the container ended without an exit code"
    if not (observation.has_result or alive):  # else it is not the SDK of the container that reports
        message += " and reported no result"
    if words := [text for text in (observation.reason, observation.message) if text]:
        message += f": {', '.join(words)}"
    class_ = observation.exit_class or exit_class(code)
    is_terminal = observation.exit_class is ExitClass.TERMINAL  # its template says so
    return _failure(phase, reason, message, code, class_, status, policy, alive=alive, is_terminal=is_terminal)


def _or_retry(fail: Fail, status: Mapping[str, Any], policy: RetryPolicy, *, alive: bool) -> Retry | Fail:
    """The failure, or a retry if the policy allows one."""
    class_ = fail.exit_class or ExitClass.TERMINAL
    found = _failure(fail.phase, fail.reason, fail.message, fail.exit_code, class_, status, policy, alive=alive)
    if isinstance(found, Fail):
        return replace(found, details=fail.details)
    return replace(found, obstacle=fail.details.get("obstacle", ""))


def _failure(
    phase: Phase,
    reason: Reason,
    message: str,
    code: int | None,
    class_: ExitClass,
    status: Mapping[str, Any],
    policy: RetryPolicy,
    *,
    alive: bool,
    is_terminal: bool = False,
) -> Retry | Fail:
    failure = AttemptFailure.of(status, phase, class_, code, is_terminal=is_terminal)
    if policy.covers(failure) and policy.allows(record.retries_of(status)):
        return Retry(code or 0, message, _retry_at(status))
    return Fail(phase, reason, message, code, class_, still_alive=alive)


def _error_message(status: Mapping[str, Any]) -> str:
    error = status.get("error")
    return str(error.get("message") or "") if isinstance(error, Mapping) else ""


def _retry_at(status: Mapping[str, Any]) -> datetime | None:
    """``error.details.retryAt`` of the attempt. Errors of earlier attempts are not in the status any more."""
    error = status.get("error")
    details = error.get("details") if isinstance(error, Mapping) else None
    return parse_instant_or_none(details.get("retryAt")) if isinstance(details, Mapping) else None
