"""The state of an attempt of a realtime step. (reconcilers/adapters/stream_observation.py)"""

from __future__ import annotations

from typing import Any

import pytest

from core.api import keys
from core.api.objects import Object
from core.api.phases import Phase, Reason
from core.engine.ports import AttemptState
from reconcilers.adapters.stream_observation import live_stream, observe_stream
from tests.unit.reconcilers.test_adapter_stream_ending import EXITED, GONE, look, pod

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
