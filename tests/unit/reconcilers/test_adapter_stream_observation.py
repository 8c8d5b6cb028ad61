"""The state of an attempt of a realtime step. (reconcilers/adapters/stream_observation.py)"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.api import keys
from core.api.objects import Object
from core.api.phases import Phase, Reason
from core.engine.ports import AttemptState
from core.workloads.hub_lease import HubSilence
from reconcilers.adapters.stream_observation import live_stream, observe_stream
from tests.unit.reconcilers.test_adapter_stream_ending import ENDING, EXITED, FINISHED, GONE, JOBS, look, pod

SILENT_SINCE = datetime(2026, 1, 2, 3, 2, tzinfo=UTC)
SILENCE = HubSilence(SILENT_SINCE)
MADE = "2026-01-02T03:00:00Z"
CRASHED: Object = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-02T03:02:30Z"}}


def workload(**annotations: str) -> Object:
    return {"metadata": {"creationTimestamp": MADE, "annotations": {keys.ANNOTATION_ATTEMPT: "0", **annotations}}}


def failing(restarts: int, **more: Any) -> Object:
    return pod(
        {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": CRASHED, "restartCount": restarts}, **more
    )


def test_the_sixth_failure_fails_the_attempt_with_the_words_of_the_last() -> None:
    seen = observe_stream(look(workload=workload(), pods=(failing(4),)))
    assert (seen.state, seen.reason) == (AttemptState.STARTING, "CrashLoopBackOff")
    seen = observe_stream(look(workload=workload(), pods=(failing(5),)))
    assert (seen.state, seen.exit_code, seen.reason) == (AttemptState.FAILED, 137, "OOMKilled")
    assert "6 times since 2026-01-02T03:00:00Z" in seen.message


@pytest.mark.parametrize(
    ("finished", "state"), [("03:09:59", AttemptState.FAILED), ("03:10:00", AttemptState.STARTING)]
)
def test_ten_minutes_of_life_forgive_a_failure(finished: str, state: AttemptState) -> None:
    crashed = {"terminated": {"exitCode": 1, "finishedAt": f"2026-01-02T{finished}Z"}}
    container = {"state": {"waiting": {}}, "lastState": crashed, "restartCount": 5}
    assert observe_stream(look(workload=workload(), pods=(pod(container),))).state is state


def test_a_pod_that_has_failed_counts_as_one_failure_and_is_replaced() -> None:
    evicted = [pod(phase="Failed", name=f"old-{number}", creationTimestamp=MADE) for number in range(3)]
    running = pod({"state": {"running": {}}}, name="new", creationTimestamp="2026-01-02T03:05:00Z")
    seen = observe_stream(look(workload=workload(), pods=(*evicted, running)))
    assert (seen.state, seen.worker) == (AttemptState.RUNNING, "new")
    seen = observe_stream(look(workload=workload(), pods=(*evicted, failing(2, name="new"))))
    assert seen.state is AttemptState.FAILED


def test_an_exit_is_no_failure_however_often_the_container_has_restarted() -> None:
    assert observe_stream(look(workload=workload(), pods=(pod({**EXITED, "restartCount": 9}),))).state in (
        AttemptState.STARTING,
        AttemptState.RUNNING,
    )


def test_a_step_that_starts_jobs_has_no_client_whatever_the_hub_reports() -> None:
    seen = observe_stream(look(workload=None, marks=JOBS))
    assert seen.live is not None
    assert (seen.live.has_client, seen.live.phase) == (False, Phase.PAUSED)
    assert (seen.attempt, seen.deadline_at) == (0, None)


def test_the_deadline_is_that_of_the_workload() -> None:
    seen = observe_stream(look(workload=workload(**{keys.ANNOTATION_DEADLINE_AT: "2026-01-02T05:00:00Z"})))
    assert seen.deadline_at is not None


@pytest.mark.parametrize(
    ("marks", "drained", "there", "state"),
    [
        ({keys.ANNOTATION_STREAM_FINISHED: "true"}, False, True, AttemptState.RUNNING),
        ({keys.ANNOTATION_STREAM_FINISHED: "true"}, True, True, AttemptState.RUNNING),
        ({keys.ANNOTATION_STREAM_FINISHED: "true"}, False, False, AttemptState.RUNNING),
        ({keys.ANNOTATION_STREAM_FINISHED: "true"}, True, False, AttemptState.SUCCEEDED),
        ({keys.ANNOTATION_STREAM_ENDING: "drained"}, True, False, AttemptState.RUNNING),
        ({keys.ANNOTATION_STREAM_ENDING: "canceled"}, True, False, AttemptState.ABSENT),
        (
            {keys.ANNOTATION_STREAM_ENDING: "canceled", keys.ANNOTATION_STREAM_FINISHED: "true"},
            True,
            False,
            AttemptState.ABSENT,
        ),
        ({}, True, False, AttemptState.ABSENT),
        (JOBS, False, False, AttemptState.RUNNING),
        (JOBS | ENDING, True, False, AttemptState.RUNNING),
        (JOBS | ENDING | FINISHED, True, False, AttemptState.SUCCEEDED),
        (JOBS | FINISHED, False, False, AttemptState.RUNNING),
        (JOBS | {keys.ANNOTATION_STREAM_ENDING: "canceled"}, True, False, AttemptState.ABSENT),
    ],
)
def test_an_end_is_told_by_the_binding(marks: Object, drained: bool, there: bool, state: AttemptState) -> None:
    seen = observe_stream(look(marks=marks, drained=drained, workload=workload() if there else None))
    assert seen.state is state
    assert (seen.attempt is None) is (state is AttemptState.ABSENT)


def test_what_is_left_of_a_workload_lingers() -> None:
    assert observe_stream(look(workload={"metadata": GONE})).state is AttemptState.LINGERING
    assert observe_stream(look(workload=None, pods=(pod(),))).state is AttemptState.LINGERING


def test_marks_of_another_generation_mean_nothing() -> None:
    seen = observe_stream(
        look(marks={keys.ANNOTATION_STREAM_FINISHED: "true"}, generation=2, drained=True, workload=None)
    )
    assert seen.state is AttemptState.ABSENT


def test_a_binding_that_no_hub_has_answered_waits_for_the_hub() -> None:
    live = live_stream({"metadata": {}})
    assert (live.phase, live.reason) == (Phase.PAUSED, Reason.AWAITING_TRANSPORT)
    assert live.message == "waits until the hub serves the step"
    failed = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "ValidationFailed"}]}}
    assert live_stream(failed).reason is Reason.TRANSPORT_FAILED


def reported(reason: str, **stream: Any) -> Object:
    """A binding as the hub has left it."""
    condition = {"type": "Ready", "status": str(reason == "TransportReady"), "reason": reason, "message": "m"}
    return {"metadata": {}, "status": {"conditions": [condition], "stream": stream}}


def test_a_client_of_a_silent_hub_is_not_connected_whatever_the_hub_has_written() -> None:
    live = live_stream(reported("TransportReady", connected=True), SILENCE)
    assert (live.phase, live.reason, live.is_connected) == (Phase.PAUSED, Reason.AWAITING_TRANSPORT, False)
    assert live.disconnected_since == SILENT_SINCE
    assert live.message == "no hub has renewed the Lease bobrapet-hub since 2026-01-02T03:02:00Z"


def test_a_client_that_had_left_before_the_hub_fell_silent_is_away_since_then() -> None:
    left = reported("AwaitingTransport", connected=False, disconnectedAt="2026-01-02T03:01:00Z")
    assert live_stream(left, SILENCE).disconnected_since == SILENT_SINCE - timedelta(minutes=1)
    never = reported("AwaitingTransport", connected=False)
    assert live_stream(never, SILENCE).disconnected_since is None


def test_a_client_of_the_next_hub_is_connected_at_once() -> None:
    back = replace(SILENCE, back_at=SILENT_SINCE + timedelta(minutes=5))
    old = reported("TransportReady", connected=True, observedAt="2026-01-02T03:01:00Z")
    new = reported("TransportReady", connected=True, observedAt="2026-01-02T03:07:00Z")
    assert [live_stream(each, back).is_connected for each in (old, new)] == [False, True]


def test_a_run_that_no_hub_could_serve_stays_blocked_while_the_hub_is_silent() -> None:
    live = live_stream(reported("InvalidConfiguration"), SILENCE)
    assert (live.phase, live.reason, live.message) == (Phase.BLOCKED, Reason.INVALID_CONFIGURATION, "m")


def test_what_a_finished_worker_waits_for_says_that_the_hub_is_silent() -> None:
    finished = look(marks={keys.ANNOTATION_STREAM_FINISHED: "true"}, workload=None)
    live = observe_stream(replace(finished, hub_silence=SILENCE)).live
    assert live is not None
    assert live.message.endswith("; no hub has renewed the Lease bobrapet-hub since 2026-01-02T03:02:00Z")
