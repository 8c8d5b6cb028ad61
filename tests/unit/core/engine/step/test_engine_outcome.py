"""The decision table of a step: StepRun contract 7, 17 and 19.4."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.api.phases import ExitClass, Phase, Reason, StepReason
from core.api.unreadable import Unreadable, marked
from core.engine.executor_port import ExecutorTraits
from core.engine.ports import AttemptRecord, AttemptState, Observation
from core.engine.step import record
from core.engine.step.outcome import (
    Announce,
    Collect,
    Create,
    EndAttempt,
    Fail,
    NextAction,
    Recorded,
    Retry,
    Start,
    Succeed,
    Wait,
    decide,
    exit_class,
    final_failure,
    lost_result,
)
from core.engine.step.pending_reason import PATIENCE, HoldUp
from core.policy.retry import RetryPolicy
from core.policy.timing import TimeoutChoice
from kubewire import apply_merge_patch

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
JOBS = ExecutorTraits("job", word="Job")
NO_RETRY, TWICE = RetryPolicy(max_retries=0), RetryPolicy(max_retries=2)


def step_run(status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"metadata": {"name": "run-a", "uid": "u", **metadata}, "spec": {"stepId": "a"}}
    return body | ({"status": status} if status is not None else {})


def after(patch: dict[str, Any], base: dict[str, Any] | None = None) -> dict[str, Any]:
    """The status after ``patch``."""
    status: dict[str, Any] = apply_merge_patch((base or step_run()).get("status") or {}, patch)
    return status


FIRST = AttemptRecord(0, "job", LATER)
RECORDED = after(record.running_patch(step_run(), NOW, FIRST, JOBS.word))
RUNNING = {key: value for key, value in RECORDED.items() if key != "attempt"}
"""The status as an earlier operator recorded it, which did not record attempts."""
RETRYING = after(record.retry_patch(step_run(RUNNING), NOW, LATER, 2, 137, "lost"), step_run(RUNNING))


def look(
    status: dict[str, Any] | None,
    state: AttemptState = AttemptState.ABSENT,
    policy: RetryPolicy = NO_RETRY,
    now: datetime = NOW,
    **more: Any,
) -> NextAction:
    return decide(Observation(step_run(status), state, **more), policy, now, JOBS)


def test_without_a_step_run_it_is_created() -> None:
    assert decide(Observation(None), NO_RETRY, NOW, JOBS) == Create()


def test_one_that_is_being_deleted_is_waited_for() -> None:
    assert decide(Observation(step_run({}, deletionTimestamp="x")), NO_RETRY, NOW, JOBS) == Wait()


def test_the_first_attempt_is_announced_while_it_starts() -> None:
    assert look(None) == Start(announce_first=False, announced=False)


def test_an_attempt_out_of_pending_is_announced_before_it_starts() -> None:
    assert look(RETRYING, now=LATER) == Start(announce_first=True, announced=False)


def test_a_job_that_got_lost_is_started_again() -> None:
    assert look(RUNNING) == Start(announce_first=False, announced=True)


def test_a_retry_waits_for_its_instant() -> None:
    assert look(RETRYING) == Wait(LATER)


def test_the_job_of_an_earlier_attempt_is_ended_first() -> None:
    assert look(RETRYING, AttemptState.FAILED, attempt=0) == EndAttempt()


def test_pods_of_an_earlier_attempt_are_waited_for() -> None:
    assert look(RETRYING, AttemptState.LINGERING, now=LATER) == Wait()


@pytest.mark.parametrize("state", [AttemptState.STARTING, AttemptState.RUNNING])
def test_an_attempt_under_way_is_announced_once_and_then_waited_for(state: AttemptState) -> None:
    assert look(None, state, attempt=0) == Announce()
    assert look(RUNNING, state, attempt=0, deadline_at=LATER) == Wait(LATER)


def test_an_attempt_with_another_deadline_than_the_recorded_one_is_announced_once_more() -> None:
    again = LATER + timedelta(seconds=1)

    assert look(RECORDED, AttemptState.RUNNING, attempt=0, deadline_at=LATER) == Wait(LATER)
    assert look(RECORDED, AttemptState.RUNNING, attempt=0, deadline_at=again) == Announce()
    assert look(RECORDED | {"phase": "Paused"}, AttemptState.RUNNING, attempt=0, deadline_at=again) == Wait(again)


def test_an_attempt_that_nothing_takes_up_is_looked_at_again_when_that_is_no_longer_ordinary() -> None:
    def waits(waiting_since: datetime, deadline_at: datetime | None) -> NextAction:
        state = AttemptState.STARTING
        return look(RUNNING, state, attempt=0, waiting_since=waiting_since, deadline_at=deadline_at)

    assert waits(NOW, None) == Wait(NOW + PATIENCE)
    assert waits(NOW, LATER) == Wait(NOW + PATIENCE)
    assert waits(NOW - PATIENCE, LATER) == Wait(LATER)


@pytest.mark.parametrize("phase", [Phase.PAUSED, Phase.BLOCKED])
def test_a_phase_that_the_container_chose_is_left_alone(phase: Phase) -> None:
    assert look(RUNNING | {"phase": phase}, AttemptState.RUNNING, attempt=0) == Wait()


def test_a_passed_deadline_is_a_timeout_that_may_be_retried() -> None:
    found = look(RUNNING, AttemptState.RUNNING, attempt=0, deadline_at=NOW)

    assert isinstance(found, Fail)
    assert (found.phase, found.reason, found.exit_code, found.still_alive) == (
        Phase.TIMEOUT,
        Reason.TIMED_OUT,
        124,
        True,
    )
    assert isinstance(look(RUNNING, AttemptState.RUNNING, TWICE, attempt=0, deadline_at=NOW), Retry)


TIMEOUT = TimeoutChoice(timedelta(seconds=10), "Story policy")
HELD_UP = HoldUp(StepReason.IMAGE_NOT_PULLED, "Image cannot be pulled: no program for image x")


@pytest.mark.parametrize(
    ("state", "limit", "hold_up", "message", "details"),
    [
        (
            AttemptState.STARTING,
            TIMEOUT,
            HELD_UP,
            "timed out after 10s (timeout from: Story policy): Image cannot be pulled: no program for image x",
            {"timeout": "10s", "timeoutFrom": "Story policy", "obstacle": "ImageNotPulled"},
        ),
        (
            AttemptState.STARTING,
            TIMEOUT,
            None,
            "timed out after 10s (timeout from: Story policy)",
            {"timeout": "10s", "timeoutFrom": "Story policy"},
        ),
        (
            AttemptState.RUNNING,
            TIMEOUT,
            None,
            "timed out after 10s (timeout from: Story policy)",
            {"timeout": "10s", "timeoutFrom": "Story policy"},
        ),
        (AttemptState.RUNNING, None, None, "timed out", {}),
    ],
    ids=["held up", "never started", "at work", "of an unknown length"],
)
def test_a_timeout_says_how_long_it_was_who_has_set_it_and_what_was_in_the_way(
    state: AttemptState,
    limit: TimeoutChoice | None,
    hold_up: HoldUp | None,
    message: str,
    details: dict[str, str],
) -> None:
    seen = Observation(step_run(RUNNING), state, attempt=0, deadline_at=NOW)
    found, again = (decide(seen, policy, NOW, JOBS, limit, hold_up) for policy in (NO_RETRY, TWICE))

    assert isinstance(found, Fail)
    assert (found.message, found.details) == (message, details)
    assert isinstance(again, Retry)
    assert (again.message, again.obstacle) == (message, details.get("obstacle", ""))
    patch = record.retry_patch(step_run(RUNNING), NOW, NOW, 2, again.exit_code, again.message, again.obstacle)
    [failed] = patch["failedAttempts"]
    assert failed.get("obstacle") == details.get("obstacle")


@pytest.mark.parametrize("state", list(AttemptState))
def test_sdk_written_success_wins_over_whatever_the_platform_says(state: AttemptState) -> None:
    attempt = None if state in (AttemptState.ABSENT, AttemptState.LINGERING) else 0
    assert look(RUNNING | {"phase": "Succeeded"}, state, attempt=attempt, exit_code=1) == Succeed()


def test_success_is_settled_only_once_the_operator_has_recorded_it() -> None:
    succeeded = RUNNING | {"phase": "Succeeded"}
    assert look(succeeded, AttemptState.RUNNING, attempt=0) == Succeed()
    recorded = after(record.success_patch(step_run(succeeded), NOW), step_run(succeeded))
    assert look(recorded, AttemptState.RUNNING, attempt=0) == Recorded(still_alive=False)


def test_a_final_failure_whose_job_still_lives_must_end_it() -> None:
    patch = record.failure_patch(step_run(RUNNING), Phase.TIMEOUT, Reason.TIMED_OUT, "late", NOW)
    assert look(after(patch, step_run(RUNNING)), AttemptState.RUNNING, attempt=0) == Recorded(still_alive=True)


@pytest.mark.parametrize(
    ("status", "class_", "phase"),
    [
        ({"phase": "Failed", "exitCode": 1, "exitClass": "retry"}, ExitClass.RETRY, Phase.FAILED),
        ({"phase": "Failed", "exitCode": 1, "exitClass": "rateLimited"}, ExitClass.RATE_LIMITED, Phase.FAILED),
        ({"phase": "Failed", "exitCode": 1, "exitClass": "terminal"}, ExitClass.TERMINAL, Phase.FAILED),
        ({"phase": "Failed", "exitCode": 137}, ExitClass.RETRY, Phase.FAILED),
        ({"phase": "Failed"}, ExitClass.TERMINAL, Phase.FAILED),
        ({"phase": "Timeout"}, ExitClass.RETRY, Phase.TIMEOUT),
    ],
    ids=["told to retry", "rate limited", "told to stop", "by code", "nothing known", "timeout"],
)
def test_an_sdk_written_failure_is_retried_by_its_class(
    status: dict[str, Any], class_: ExitClass, phase: Phase
) -> None:
    found = look(RUNNING | status, AttemptState.RUNNING, attempt=0)
    again = look(RUNNING | status, AttemptState.RUNNING, TWICE, attempt=0)

    assert isinstance(found, Fail)
    assert (found.phase, found.exit_class) == (phase, class_)
    assert isinstance(again, Retry) == class_.retryable


def test_a_failure_written_by_a_container_of_the_attempt_before_is_not_believed() -> None:
    zombie = RETRYING | {"phase": "Failed", "exitClass": "terminal"}

    assert look(zombie, now=LATER) == Start(announce_first=True, announced=False)
    assert look(zombie, AttemptState.LINGERING) == Wait()


def test_a_reported_failure_counts_even_when_its_job_is_gone() -> None:
    assert isinstance(look(RUNNING | {"phase": "Failed"}), Fail)


@pytest.mark.parametrize(
    ("code", "phase", "class_"),
    [
        (1, Phase.FAILED, ExitClass.TERMINAL),
        (124, Phase.TIMEOUT, ExitClass.RETRY),
        (125, Phase.FAILED, ExitClass.TERMINAL),
        (137, Phase.FAILED, ExitClass.RETRY),
        (143, Phase.FAILED, ExitClass.RETRY),
        (None, Phase.FAILED, ExitClass.UNKNOWN),
    ],
)
def test_a_container_that_says_nothing_is_judged_by_its_exit_code(
    code: int | None, phase: Phase, class_: ExitClass
) -> None:
    found = look(RUNNING, AttemptState.FAILED, attempt=0, exit_code=code)
    again = look(RUNNING, AttemptState.FAILED, TWICE, attempt=0, exit_code=code)

    assert isinstance(found, Fail)
    assert (found.phase, found.exit_class) == (phase, class_)
    assert isinstance(again, Retry) == class_.retryable


def test_a_job_killed_by_its_deadline_is_a_timeout() -> None:
    found = look(RUNNING, AttemptState.FAILED, attempt=0, reason="DeadlineExceeded")

    assert isinstance(found, Fail)
    assert (found.phase, found.exit_code) == (Phase.TIMEOUT, 124)
    assert found.message == "timed out: Kubernetes has ended its Job: DeadlineExceeded"


def test_the_reason_of_the_platform_is_told() -> None:
    found = look(RUNNING, AttemptState.FAILED, attempt=0, exit_code=137, reason="OOMKilled")

    assert isinstance(found, Fail)
    assert found.message == "the container exited with code 137 and reported no result: OOMKilled"


def test_a_silent_exit_with_zero_is_success() -> None:
    assert look(RUNNING, AttemptState.SUCCEEDED, attempt=0, exit_code=0) == Succeed()


def test_the_budget_of_retries_is_used_up_by_the_count_in_the_status() -> None:
    used_up = RETRYING | {"phase": "Running", "retries": 2}
    assert isinstance(look(used_up, AttemptState.FAILED, TWICE, attempt=2, exit_code=143), Fail)


@pytest.mark.parametrize(
    ("codes", "class_"),
    [
        ((0,), ExitClass.SUCCESS),
        ((-1,), ExitClass.UNKNOWN),
        ((1, 64, 123, 125, 126, 127, 256, 1000), ExitClass.TERMINAL),
        ((124, 128, 137, 143, 255), ExitClass.RETRY),
        ((429,), ExitClass.RATE_LIMITED),
    ],
)
def test_exit_codes_have_the_class_of_the_table(codes: tuple[int, ...], class_: ExitClass) -> None:
    assert {exit_class(code) for code in codes} == {class_}


# Values that cannot be read.


def left_of(status: dict[str, Any], *missing: str) -> dict[str, Any]:
    mark = Unreadable(tuple(("status", name) for name in missing), "is nested deeper than 254 levels")
    return marked(step_run(status), mark)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({}, AttemptState.ABSENT),
        (RUNNING, AttemptState.RUNNING),
        (RUNNING | {"phase": "Succeeded"}, AttemptState.SUCCEEDED),
        (RUNNING, AttemptState.FAILED),
    ],
)
def test_a_step_whose_status_cannot_be_read_fails_for_good_with_what_is_wrong(
    status: dict[str, Any], state: AttemptState
) -> None:
    decision = decide(Observation(left_of(status, "output"), state, attempt=0), TWICE, NOW, JOBS)

    assert isinstance(decision, Fail)
    assert (decision.phase, decision.reason, decision.still_alive) == (Phase.FAILED, Reason.UNREADABLE, True)
    assert "status.output is left out, because the object is nested deeper than 254 levels" in decision.message


def test_the_record_of_such_a_failure_deletes_what_cannot_be_read() -> None:
    found = left_of(RUNNING, "output", "signals")
    patch = record.failure_patch(found, Phase.FAILED, Reason.UNREADABLE, "why", NOW)

    assert (patch["output"], patch["signals"]) == (None, None)
    assert record.is_final(after(patch, found | {"status": RUNNING | {"output": 1, "signals": {}}}))


def test_what_cannot_be_read_of_a_field_that_the_record_writes_itself_is_written_anew() -> None:
    patch = record.failure_patch(left_of({}, "conditions", "error"), Phase.FAILED, Reason.UNREADABLE, "why", NOW)

    assert patch["error"]["message"] == "why"
    assert len(patch["conditions"]) == 3


def test_a_result_that_is_recorded_counts_although_a_part_cannot_be_read_any_more() -> None:
    status = after(record.success_patch(step_run(RUNNING), NOW), step_run(RUNNING))

    assert decide(Observation(left_of(status, "output")), NO_RETRY, NOW, JOBS) == Recorded(still_alive=False)


@pytest.mark.parametrize(
    ("error", "not_before"),
    [
        pytest.param(
            {"details": {"retryAt": "2025-01-02T04:00:00.5Z"}}, datetime(2025, 1, 2, 4, 0, 0, 500_000, UTC), id="at"
        ),
        pytest.param({"details": {"retryAt": "soon"}}, None, id="no-instant"),
        pytest.param({"details": ["retryAt"]}, None, id="no-object"),
        pytest.param("text", None, id="no-error"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_a_container_may_say_when_another_attempt_makes_sense(error: Any, not_before: datetime | None) -> None:
    status = {**RECORDED, "phase": "Failed", "exitCode": 1, "exitClass": "retry", "lastFailureMsg": "held"}
    status |= {} if error is None else {"error": error}

    assert look(status, policy=RetryPolicy(max_retries=1), attempt=0) == Retry(1, "held", not_before)


# Containers without an SDK.


def test_the_result_of_a_container_without_an_sdk_is_read_once_it_has_succeeded() -> None:
    more: dict[str, Any] = {"attempt": 0, "exit_code": 0, "has_result": True}
    reported = RUNNING | {"phase": "Succeeded"}

    assert look(RUNNING, AttemptState.SUCCEEDED, **more) == Collect()
    assert look(reported, AttemptState.SUCCEEDED, **more) == Succeed()
    assert look(RUNNING, AttemptState.SUCCEEDED, **more | {"has_result": False}) == Succeed()


@pytest.mark.parametrize(
    ("own", "retried", "recorded"),
    [
        (None, False, ExitClass.TERMINAL),
        (ExitClass.RETRY, True, ExitClass.RETRY),
        (ExitClass.RATE_LIMITED, True, ExitClass.RATE_LIMITED),
        (ExitClass.TERMINAL, False, ExitClass.TERMINAL),
    ],
)
def test_an_attempt_may_have_a_meaning_of_its_own_for_an_exit_code(
    own: ExitClass | None, retried: bool, recorded: ExitClass
) -> None:
    more: dict[str, Any] = {"attempt": 0, "exit_code": 75, "exit_class": own, "has_result": True}

    assert isinstance(look(RUNNING, AttemptState.FAILED, TWICE, **more), Retry) is retried
    last = look(RUNNING, AttemptState.FAILED, NO_RETRY, **more)
    assert isinstance(last, Fail)
    assert (last.exit_code, last.exit_class, last.message) == (75, recorded, "the container exited with code 75")


PLAIN = {"phase": "Failed", "exitCode": 1, "exitClass": "terminal"}
"""What the SDK writes about an exception."""
REFUSED = {"version": "v1", "type": "execution_error", "message": "ConnectionError: refused"}
ITS_CLASSES = {"exceptions": ["requests.exceptions.ConnectionError", "requests.exceptions.RequestException", "OSError"]}


@pytest.mark.parametrize(
    ("status", "retry_on", "is_retried"),
    [
        (PLAIN, ("transient",), False),
        (PLAIN, ("any",), True),
        (PLAIN, (1,), True),
        (PLAIN, (2, "transient"), False),
        (PLAIN, ("OSError",), False),
        (PLAIN | {"error": REFUSED | ITS_CLASSES}, ("requests.exceptions.ConnectionError",), True),
        (PLAIN | {"error": REFUSED | ITS_CLASSES}, ("requests.ConnectionError",), True),
        (PLAIN | {"error": REFUSED | ITS_CLASSES}, ("ConnectionError",), True),
        (PLAIN | {"error": REFUSED | ITS_CLASSES}, ("OSError",), True),
        (PLAIN | {"error": REFUSED | ITS_CLASSES}, ("urllib3.ConnectionError", "ValueError"), False),
        (PLAIN | {"error": REFUSED | {"exceptions": ["__main__.FlakyError"]}}, ("pipeline.FlakyError",), True),
        (PLAIN | {"error": REFUSED | {"code": "QUOTA"}}, ("QUOTA",), True),
        (PLAIN | {"error": REFUSED}, ("execution_error",), True),
        (PLAIN | {"error": REFUSED | {"type": "validation_error"}}, ("any",), False),
        (PLAIN | {"error": REFUSED | {"type": "validation_error"}}, ("validation_error",), True),
        (PLAIN | {"error": REFUSED | {"forbidsRetry": True}}, ("any", 1, "execution_error"), False),
        (PLAIN | {"error": REFUSED | {"retryable": False}}, ("any",), True),
        ({"phase": "Timeout", "exitCode": 124}, ("any",), True),
        ({"phase": "Timeout", "exitCode": 124}, ("timeout",), True),
        ({"phase": "Timeout", "exitCode": 124}, (1,), False),
        ({"phase": "Canceled"}, ("any",), False),
        ({"phase": "Skipped"}, ("any",), False),
    ],
)
def test_the_policy_says_which_reported_failures_are_retried(
    status: dict[str, Any], retry_on: tuple[int | str, ...], is_retried: bool
) -> None:
    found = look(RUNNING | status, AttemptState.RUNNING, RetryPolicy(retry_on=retry_on), attempt=0)

    assert isinstance(found, Retry if is_retried else Fail)


@pytest.mark.parametrize(
    ("code", "own", "retry_on", "is_retried"),
    [
        (1, None, ("transient",), False),
        (1, None, ("any",), True),
        (75, None, ("transient", 1, 75), True),
        (137, None, (1,), False),
        (None, None, ("any",), True),
        (None, None, (1,), False),
        (75, ExitClass.TERMINAL, ("any",), False),
        (75, ExitClass.TERMINAL, ("any", 75), True),
        (75, ExitClass.RETRY, ("any",), True),
    ],
)
def test_the_policy_says_which_exit_codes_are_retried(
    code: int | None, own: ExitClass | None, retry_on: tuple[int | str, ...], is_retried: bool
) -> None:
    more: dict[str, Any] = {"attempt": 0, "exit_code": code, "exit_class": own}
    found = look(RUNNING, AttemptState.FAILED, RetryPolicy(retry_on=retry_on), **more)

    assert isinstance(found, Retry if is_retried else Fail)


def test_the_number_of_retries_counts_for_every_policy() -> None:
    often = RetryPolicy(max_retries=2, retry_on=("any",))
    last = RETRYING | {"phase": "Running", "retries": 2}

    assert isinstance(look(last, AttemptState.FAILED, often, attempt=2, exit_code=1), Fail)


@pytest.mark.parametrize(
    ("retry_on", "is_retried"), [(("transient",), True), (("timeout",), True), ((124,), True), ((1, "OSError"), False)]
)
def test_the_policy_says_whether_a_passed_deadline_is_retried(
    retry_on: tuple[int | str, ...], is_retried: bool
) -> None:
    late = look(RUNNING, AttemptState.RUNNING, RetryPolicy(retry_on=retry_on), LATER, attempt=0, deadline_at=LATER)

    assert isinstance(late, Retry) is is_retried


def test_a_lost_result_is_a_failure_whose_reason_nobody_knows() -> None:
    again, last = (lost_result(step_run(RUNNING), "its Pod is gone", policy) for policy in (TWICE, NO_RETRY))

    assert again == Retry(-1, "the container succeeded, but its result is lost: its Pod is gone")
    assert isinstance(last, Fail)
    assert (last.exit_code, last.exit_class, last.still_alive) == (-1, ExitClass.UNKNOWN, False)


def test_a_final_failure_has_no_exit_code() -> None:
    fail = final_failure(Reason.OUTPUT_TOO_LARGE, "too large", still_alive=False)

    assert (fail.phase, fail.exit_code, fail.exit_class) == (Phase.FAILED, None, ExitClass.TERMINAL)


def lost(
    attempt: str, status: dict[str, Any], policy: RetryPolicy, state: AttemptState = AttemptState.ABSENT
) -> NextAction:
    annotations = {"runs.bubustack.io/lost-attempt": attempt}
    return decide(Observation(step_run(status, annotations=annotations), state), policy, NOW, JOBS)


def test_an_attempt_that_was_under_way_in_a_backup_counts_as_failed() -> None:
    assert isinstance(lost("0", RUNNING, TWICE), Retry)
    match lost("0", RUNNING, NO_RETRY):
        case Fail(phase=phase, reason=reason, still_alive=alive):
            assert (phase, reason, alive) == (Phase.FAILED, Reason.RESTORED, False)
        case other:
            pytest.fail(str(other))


def test_the_attempt_after_a_lost_one_is_like_any_other() -> None:
    assert isinstance(lost("0", {**RETRYING, "nextRetryAt": None}, TWICE), Start)
    assert isinstance(lost("0", RUNNING, TWICE, AttemptState.RUNNING), Wait)


def test_a_result_that_was_reported_before_the_backup_counts() -> None:
    assert lost("0", {**RUNNING, "phase": "Succeeded"}, TWICE) == Succeed()


def test_without_a_status_no_further_attempt_is_made() -> None:
    assert isinstance(lost("unknown", {}, TWICE), Fail)
