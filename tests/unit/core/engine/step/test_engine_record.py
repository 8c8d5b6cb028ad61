from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.api.phases import ExitClass, Phase, Reason
from core.engine.ports import AttemptRecord, Observation
from core.engine.step import record
from kubewire import apply_merge_patch

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def step_run(status: dict[str, Any] | None = None) -> dict[str, Any]:
    metadata = {"name": "run-a", "generation": 3, "creationTimestamp": "2026-01-02T03:04:00Z"}
    return {"metadata": metadata, "spec": {"stepId": "a"}} | ({"status": status} if status is not None else {})


def patched(status: dict[str, Any] | None, patch: dict[str, Any]) -> dict[str, Any]:
    after: dict[str, Any] = apply_merge_patch(status or {}, patch)
    return after


FIRST = AttemptRecord(0, "job", NOW + timedelta(minutes=30))


def words(status: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in status["conditions"]}


def test_running_carries_the_required_retries_and_the_start() -> None:
    status = patched(None, record.running_patch(step_run(), NOW, FIRST, "Job"))

    assert (status["phase"], status["retries"], status["startedAt"]) == ("Running", 0, "2026-01-02T03:04:05Z")
    assert words(status) == {"Ready": "False", "Progressing": "True", "Degraded": "False"}
    assert all(condition["observedGeneration"] == 3 for condition in status["conditions"])
    assert not record.is_final(status)


def test_a_start_records_the_attempt_in_the_place_of_the_one_before() -> None:
    assigned = AttemptRecord(0, "worker", NOW + timedelta(seconds=2), "worker-1")
    first = {"metadata": step_run()["metadata"], "spec": {"executor": "worker"}}
    first["status"] = patched(None, record.running_patch(first, NOW, assigned, "attempt"))
    retried = {**first, "status": patched(first["status"], record.retry_patch(first, NOW, NOW, 3, 137, "lost"))}
    second = AttemptRecord(1, "worker", NOW + timedelta(seconds=9, milliseconds=250))
    started = {**retried, "status": patched(retried["status"], record.running_patch(retried, NOW, second, "attempt"))}

    assert record.attempt_of(first) == record.attempt_of(retried) == assigned
    assert record.attempt_of(started) == second
    assert started["status"]["attempt"] == {"number": 1, "deadlineAt": "2026-01-02T03:04:14.250000Z"}
    assert [condition["message"] for condition in started["status"]["conditions"]] == [
        "The attempt of retry 1 is created"
    ] * 3


@pytest.mark.parametrize("status", [None, {}, {"attempt": None}, {"attempt": {}}, {"attempt": {"number": "0"}}])
def test_a_step_run_may_say_nothing_of_an_attempt(status: dict[str, Any] | None) -> None:
    assert record.attempt_of(step_run(status)) is None


def test_an_attempt_that_ends_before_its_start_is_recorded_leaves_its_key() -> None:
    seen = Observation(step_run({}), attempt=1, deadline_at=NOW, execution_key="k")
    patch = record.key_patch(seen)
    known = step_run(patched(None, patch))
    same = Observation(known, attempt=1, execution_key="k")

    assert record.attempt_of(known) == AttemptRecord(1, "job", NOW, execution_key="k")
    assert record.key_patch(same) == {}
    assert record.key_patch(Observation(known, attempt=1, execution_key="other"))["attempt"]["key"] == "other"
    assert record.key_patch(Observation(step_run({}), attempt=1)) == record.key_patch(Observation(None)) == {}


def test_what_cannot_be_read_of_an_attempt_is_left_out() -> None:
    status = {"attempt": {"number": 2, "deadlineAt": "soon", "worker": 7, "key": 1}}

    assert record.attempt_of(step_run(status)) == AttemptRecord(2, "job")


@pytest.mark.parametrize(("spec", "name"), [({}, "job"), ({"executor": ""}, "job"), ({"executor": "worker"}, "worker")])
def test_a_step_run_without_an_executor_is_that_of_jobs(spec: dict[str, Any], name: str) -> None:
    assert record.executor_of({"metadata": {}, "spec": spec}) == name


def test_success_forgets_how_the_attempt_before_it_failed() -> None:
    retried = patched({"phase": "Running"}, record.retry_patch(step_run({}), NOW, NOW, 3, 137, "killed"))

    status = patched(retried, record.success_patch(step_run(retried), NOW))

    assert (retried["exitCode"], retried["lastFailureMsg"]) == (137, "killed")
    assert (status["phase"], status["retries"]) == ("Succeeded", 1)
    assert status.keys().isdisjoint({"exitCode", "lastFailureMsg"})


def test_a_retry_forgets_the_old_result_and_dates_the_next_in_one_write() -> None:
    old = {"phase": "Failed", "retries": 1, "exitClass": "retry", "exitCode": 1, "error": {"message": "x"}}
    old |= {"output": {}, "startedAt": "2026-01-02T03:04:01Z", "finishedAt": "2026-01-02T03:04:02Z"}
    next_at = NOW + timedelta(milliseconds=1500)

    status = patched(old, record.retry_patch(step_run(old), NOW, next_at, 3, 137, "lost"))

    assert (status["phase"], status["retries"]) == ("Pending", 2)
    assert status["nextRetryAt"] == "2026-01-02T03:04:06.500000Z"
    assert (status["lastFailureMsg"], status["exitCode"]) == ("lost", 137)
    assert status["startedAt"] == "2026-01-02T03:04:01Z"
    assert not {"exitClass", "error", "output", "finishedAt"} & status.keys()


def test_sdk_written_success_becomes_final_with_matching_conditions() -> None:
    sdk = patched(None, record.running_patch(step_run(), NOW, FIRST, "Job")) | {
        "phase": "Succeeded",
        "output": {"n": 1},
    }
    assert not record.is_final(sdk)

    status = patched(sdk, record.success_patch(step_run(sdk), NOW + timedelta(seconds=5)))

    assert record.is_final(status)
    assert words(status) == {"Ready": "True", "Progressing": "False", "Degraded": "False"}
    assert (status["duration"], status["lastOutputAt"]) == ("5s", "2026-01-02T03:04:10Z")
    assert status["output"] == {"n": 1}


@pytest.mark.parametrize(
    ("phase", "degraded"),
    [(Phase.FAILED, "True"), (Phase.TIMEOUT, "True"), (Phase.ABORTED, "True"), (Phase.CANCELED, "False")],
)
def test_a_failure_is_final_and_says_why(phase: Phase, degraded: str) -> None:
    running = patched(None, record.running_patch(step_run(), NOW, FIRST, "Job"))
    patch = record.failure_patch(
        step_run(running), phase, Reason.TIMED_OUT, "late", NOW, exit_code=124, exit_class=ExitClass.RETRY
    )
    status = patched(running, patch)

    assert record.is_final(status)
    assert words(status)["Degraded"] == degraded
    assert (status["lastFailureMsg"], status["exitCode"], status["exitClass"]) == ("late", 124, "retry")
    assert status["error"] == {"version": "v1", "type": "timeout", "message": "late"}


def test_the_words_of_the_sdk_about_a_failure_are_kept() -> None:
    sdk = {"phase": "Failed", "retries": 0, "error": {"version": "v1", "type": "storage_error", "message": "s3"}}
    status = patched(sdk, record.failure_patch(step_run(sdk), Phase.FAILED, Reason.EXECUTION_FAILED, "s3", NOW))

    assert status["error"]["type"] == "storage_error"


@pytest.mark.parametrize(("phase", "kept"), [("Running", False), ("Pending", False), (None, False), ("Failed", True)])
def test_a_failure_without_a_container_has_no_exit_code_of_an_earlier_attempt(phase: str | None, kept: bool) -> None:
    status: dict[str, Any] = {"phase": phase, "retries": 1, "exitCode": 137} if phase else {"exitCode": 137}
    reason, class_ = Reason.INPUT_SCHEMA_FAILED, ExitClass.TERMINAL
    patch = record.failure_patch(step_run(status), Phase.FAILED, reason, "n is required", NOW, exit_class=class_)

    assert patched(status, patch).get("exitCode") == (137 if kept else None)
    assert patch["exitClass"] == "terminal"


def test_a_late_change_of_phase_by_an_sdk_takes_finality_away() -> None:
    running = patched(None, record.running_patch(step_run(), NOW, FIRST, "Job"))
    failed = patched(running, record.failure_patch(step_run(running), Phase.FAILED, Reason.EXECUTION_FAILED, "x", NOW))

    assert record.is_final(failed)
    assert not record.is_final(failed | {"phase": "Succeeded"})


@pytest.mark.parametrize(
    ("sdk", "finished", "duration"),
    [
        ({"startedAt": "2026-01-02T04:00:00Z"}, "2026-01-02T04:00:00Z", "0s"),
        ({"startedAt": "2026-01-02T03:04:00Z", "finishedAt": "2026-01-01T00:00:00Z"}, "2026-01-02T03:04:05Z", "5s"),
        ({}, "2026-01-02T03:04:05Z", "5s"),
    ],
    ids=["starts in our future", "ends before it starts", "nobody wrote a start"],
)
def test_skewed_clocks_never_make_a_duration_negative(sdk: dict[str, Any], finished: str, duration: str) -> None:
    status = {"phase": "Succeeded", "retries": 0, **sdk}
    result = patched(status, record.success_patch(step_run(status), NOW))

    assert (result["finishedAt"], result["duration"]) == (finished, duration)


def test_a_message_beyond_what_the_crd_accepts_is_cut_in_conditions_only() -> None:
    text = "x" * 5000
    status = patched(None, record.failure_patch(step_run(), Phase.FAILED, Reason.EXECUTION_FAILED, text, NOW))

    assert {len(condition["message"]) for condition in status["conditions"]} == {2048}
    assert status["lastFailureMsg"] == text


RUNNING = {"phase": "Running", "retries": 1}
ENDING: dict[str, Any] = RUNNING | {"conditions": [{"type": "Ready", "status": "False", "reason": "TimedOut"}]}
BEGUN = {"phase": "Running", "attempts": 1, "startedAt": "2026-01-02T03:04:05Z"}
DENIED = {"type": "Ready", "status": "False", "reason": "PermissionDenied"}


@pytest.mark.parametrize(
    ("seen", "stored", "overtaken"),
    [
        (None, None, False),
        (None, {"phase": "Running", "retries": 0}, False),
        (RUNNING, RUNNING, False),
        (RUNNING, {"phase": "Pending", "retries": 2}, True),
        (RUNNING, {"phase": "Pending", "retries": 0}, True),
        (RUNNING, {"phase": "Succeeded", "retries": 1}, True),
        ({"phase": "Failed"}, {"phase": "Failed"}, False),  # the SDK reported before the operator recorded the start
        ({"phase": "Running"}, {"phase": "Finished"}, True),
        (RUNNING, ENDING, True),
        (ENDING, ENDING, False),
        (RUNNING, RUNNING | {"conditions": [DENIED, ENDING["conditions"][0] | {"type": "Progressing"}]}, True),
        (RUNNING, RUNNING | {"conditions": [DENIED]}, False),
        (BEGUN, BEGUN, False),
        (BEGUN, BEGUN | {"attempts": 2}, True),
        (BEGUN, {"attempts": 1}, True),  # a redrive was requested
        ({"phase": "Running"}, BEGUN, False),
    ],
)
def test_what_has_ended_or_is_at_another_attempt_has_overtaken_a_decision(
    seen: dict[str, Any] | None, stored: dict[str, Any] | None, overtaken: bool
) -> None:
    assert record.is_overtaken(step_run(seen), step_run(stored)) is overtaken


def test_a_recorded_end_has_overtaken_the_same_phase_reported() -> None:
    reported = step_run({"phase": "Failed"})
    patch = record.failure_patch(reported, Phase.FAILED, Reason.EXECUTION_FAILED, "exit code 1", NOW)

    assert record.is_overtaken(reported, step_run(patched({"phase": "Failed"}, patch)))


@pytest.mark.parametrize(
    ("seen", "stored", "asked"),
    [
        ({}, {}, False),
        ({}, {"cancelRequested": False}, False),
        ({}, {"cancelRequested": True}, True),
        ({"cancelRequested": True}, {"cancelRequested": True}, False),  # known before: the run continues in spite of it
    ],
)
def test_a_cancel_that_was_not_known_asks_a_run_to_end(
    seen: dict[str, Any], stored: dict[str, Any], asked: bool
) -> None:
    running: dict[str, Any] = {"status": RUNNING}

    assert record.is_asked_to_end(running | {"spec": seen}, running | {"spec": stored}) is asked


def test_a_cancel_is_of_no_account_to_a_run_that_is_being_ended_for_another_reason() -> None:
    assert not record.is_asked_to_end(
        {"spec": {}, "status": ENDING}, {"spec": {"cancelRequested": True}, "status": ENDING}
    )
