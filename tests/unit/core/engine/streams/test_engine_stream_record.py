from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bubu_contract.instants import format_instant
from core.api.conditions import MAX_MESSAGE_LENGTH, find_condition
from core.api.objects import Object
from core.api.phases import ExitClass, Phase, Reason
from core.engine.executor_port import ExecutorTraits
from core.engine.plan import StepPlan
from core.engine.ports import AttemptState, LiveStream, Observation
from core.engine.step import record
from core.engine.step.outcome import (
    Announce,
    EndAttempt,
    Fail,
    NextAction,
    Recorded,
    Retry,
    Start,
    Succeed,
    Wait,
    decide,
)
from core.engine.streams.record import live_patch, serves_stream, why_not_taken_over
from core.policy.retry import RetryPolicy
from core.story.kinds import StepKind
from kubewire import apply_merge_patch

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AWAY = LiveStream(Phase.PAUSED, Reason.AWAITING_TRANSPORT, "waits", False)
HERE = LiveStream(Phase.RUNNING, Reason.RUNNING, "connected", True)
STUCK = LiveStream(Phase.BLOCKED, Reason.TRANSPORT_FAILED, "no hub is configured", False)
ONCE_MORE = RetryPolicy(max_retries=1)
STREAMS = ExecutorTraits("stream", ends_by_itself=False)


def step_run(status: Object | None = None) -> Object:
    return {"metadata": {"name": "r", "generation": 1}, "spec": {"executor": "stream"}, "status": status or {}}


def seen(live: LiveStream | None, status: Object | None = None, **more: Any) -> Observation:
    return Observation(step_run(status), **{"state": AttemptState.RUNNING, "attempt": 0, "live": live, **more})


def after(*lives: LiveStream) -> Object:
    """The status after these have been recorded, one second after the other."""
    status: Object = {}
    for number, live in enumerate(lives):
        status = apply_merge_patch(status, live_patch(seen(live, status), NOW + timedelta(seconds=number)))
    return status


def next_of(live: LiveStream, status: Object | None = None) -> NextAction:
    found = seen(live, status)
    return decide(found, ONCE_MORE, NOW, STREAMS, has_news=bool(live_patch(found, NOW)))


def transport(status: Object) -> tuple[str, str, str]:
    found = find_condition(status["conditions"], "TransportReady") or {}
    return found["status"], found["reason"], found["lastTransitionTime"]


def test_only_an_executor_of_streams_serves_one() -> None:
    assert serves_stream(step_run())
    assert not serves_stream({"spec": {"executor": "job"}})
    assert not serves_stream({"spec": {}})


def test_a_stream_of_the_go_operator_is_not_taken_over() -> None:
    batch = StepPlan("ear", StepKind.ENGRAM, {"name": "ear"})
    stream = replace(batch, serves_stream=True)
    theirs: Object = {
        "metadata": {"name": "run-ear", "finalizers": ["steprun.bubustack.io/finalizer"]},
        "spec": {},
        "status": {"phase": "Running"},
    }

    assert why_not_taken_over(batch, theirs) is None
    assert why_not_taken_over(stream, {**theirs, "spec": {"executor": "stream"}}) is None
    assert why_not_taken_over(stream, {**theirs, "status": {}}) is None
    why = "StepRun run-ear is from the Go operator, whose streams cannot be taken over; start another run"
    assert why_not_taken_over(stream, theirs) == why


def test_what_is_shown_is_written_once() -> None:
    for live in (AWAY, HERE, STUCK):
        status = after(live)
        assert live_patch(seen(live, status), NOW + timedelta(seconds=9)) == {}
        assert next_of(live, status) == Wait()


def test_a_long_message_is_written_once() -> None:
    live = LiveStream(Phase.BLOCKED, Reason.TRANSPORT_FAILED, "x" * (MAX_MESSAGE_LENGTH + 5), False)

    assert live_patch(seen(live, after(live)), NOW) == {}


@pytest.mark.parametrize(
    ("live", "phase", "ready"),
    [
        (AWAY, "Paused", ("False", "AwaitingTransport")),
        (HERE, "Running", ("True", "TransportReady")),
        (STUCK, "Blocked", ("False", "TransportFailed")),
        (LiveStream(Phase.RUNNING, Reason.RUNNING, "", False), "Running", ("False", "AwaitingTransport")),
    ],
)
def test_the_phase_and_the_condition_are_those_of_the_stream(
    live: LiveStream, phase: str, ready: tuple[str, str]
) -> None:
    status = after(live)

    assert (status["phase"], transport(status)[:2]) == (phase, ready)
    assert status["attempt"] == {"number": 0}


def test_it_has_started_when_it_was_first_running() -> None:
    assert "startedAt" not in after(AWAY, STUCK)
    assert after(AWAY, HERE, AWAY, HERE)["startedAt"] == format_instant(NOW + timedelta(seconds=1))


def test_a_connection_that_stays_keeps_its_time() -> None:
    other = LiveStream(Phase.RUNNING, Reason.RUNNING, "is ending", True)

    assert transport(after(AWAY, HERE, other))[2] == format_instant(NOW + timedelta(seconds=1))


def test_nobody_is_connected_after_the_end_and_before_a_retry() -> None:
    stored = step_run(after(HERE))
    for patch in (
        record.success_patch(stored, NOW),
        record.failure_patch(stored, Phase.FAILED, Reason.EXECUTION_FAILED, "no", NOW),
        record.retry_patch(stored, NOW, NOW, 3, 1, "no"),
    ):
        assert transport(apply_merge_patch(stored["status"], patch))[0] == "False"


def test_a_step_of_another_executor_has_no_such_condition() -> None:
    stored: Object = {"metadata": {"name": "r"}, "spec": {}, "status": {}}

    assert find_condition(record.success_patch(stored, NOW)["conditions"], "TransportReady") is None


def test_anything_new_is_announced() -> None:
    assert next_of(AWAY) == Announce()
    assert next_of(HERE, after(AWAY)) == Announce()
    assert next_of(AWAY, after(HERE)) == Announce()


@pytest.mark.parametrize("live", [AWAY, HERE, STUCK])
def test_a_workload_that_is_gone_is_started_again_without_a_word_before(live: LiveStream) -> None:
    gone = seen(None, after(live), state=AttemptState.ABSENT, attempt=None)

    assert decide(gone, ONCE_MORE, NOW, STREAMS) == Start(announce_first=False, announced=True)


def test_a_worker_that_fails_too_often_is_ended_with_its_workload() -> None:
    failed = seen(None, after(HERE), state=AttemptState.FAILED, exit_code=137)

    assert isinstance(decide(failed, ONCE_MORE, NOW, STREAMS), Retry)
    final = decide(failed, RetryPolicy(max_retries=0), NOW, STREAMS)
    assert isinstance(final, Fail)
    assert (final.still_alive, final.message) == (True, "the container exited with code 137")


def test_the_executor_says_what_an_exit_code_means() -> None:
    failed = seen(None, after(HERE), state=AttemptState.FAILED, exit_code=1, exit_class=ExitClass.RETRY)

    assert isinstance(decide(failed, ONCE_MORE, NOW, STREAMS), Retry)


def test_an_earlier_workload_is_ended() -> None:
    assert decide(seen(HERE, {"retries": 1, "phase": "Pending"}), ONCE_MORE, NOW, STREAMS) == EndAttempt()


@pytest.mark.parametrize("state", [AttemptState.RUNNING, AttemptState.STARTING, AttemptState.FAILED])
@pytest.mark.parametrize("end", ["success", "failure"])
def test_a_workload_outlives_no_recorded_end(state: AttemptState, end: str) -> None:
    stored = step_run(after(HERE))
    failure = record.failure_patch(stored, Phase.FAILED, Reason.EXECUTION_FAILED, "no", NOW)
    patch = record.success_patch(stored, NOW) if end == "success" else failure
    status = apply_merge_patch(stored["status"], patch)

    assert decide(seen(HERE, status, state=state), ONCE_MORE, NOW, STREAMS) == Recorded(still_alive=True)
    gone = seen(None, status, state=AttemptState.ABSENT, attempt=None)
    assert decide(gone, ONCE_MORE, NOW, STREAMS) == Recorded(still_alive=False)


def test_a_stream_that_has_ended_by_itself_succeeds_without_output() -> None:
    assert decide(seen(None, after(HERE), state=AttemptState.SUCCEEDED), ONCE_MORE, NOW, STREAMS) == Succeed()


def test_a_stream_without_a_deadline_waits_for_ever() -> None:
    assert decide(seen(HERE, after(HERE)), ONCE_MORE, NOW + timedelta(days=400), STREAMS) == Wait()


def test_a_declared_deadline_ends_the_attempt() -> None:
    late = seen(HERE, after(HERE), deadline_at=NOW)
    found = decide(late, RetryPolicy(max_retries=0), NOW, STREAMS)

    assert isinstance(found, Fail)
    assert (found.phase, found.still_alive) == (Phase.TIMEOUT, True)
