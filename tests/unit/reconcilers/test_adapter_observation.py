"""What Job and Pods say about an attempt."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from core.api import keys
from core.api.objects import Object
from core.api.phases import ExitClass
from core.engine.ports import AttemptState as State
from core.engine.ports import Observation
from core.workloads.container_result import ResultReading, ResultSource
from reconcilers.adapters.observation import is_unexplained, observe
from tests.unit.reconcilers.reconciler_samples import job, pod, run, step_run, stored

STEP = step_run(run())
JOB = job(STEP)


def ended(code: int, **more: Any) -> Object:
    return {"terminated": {"exitCode": code, **more}}


def pod_status(phase: str, state: Object | None = None, *, last: Object | None = None, **more: Any) -> Object:
    container = {"name": "engram", "state": state or {}, **({"lastState": last} if last else {})}
    return {"phase": phase, "containerStatuses": [container], **more}


def job_status(*conditions: tuple[str, str]) -> Object:
    return {
        "conditions": [
            {"type": type_, "status": "True", "reason": reason, "message": "as the Job words it"}
            for type_, reason in conditions
        ]
    }


def look(pods: list[Object] | None = None, *, status: Object | None = None, **spec: Any) -> Observation:
    """The observation of a Job with ``spec`` and ``status`` and of Pods with these statuses, oldest first."""
    attempt = {**JOB, "spec": spec, "status": status or {}}
    made = [
        pod(JOB, f"pod-{number}", status=given, meta={"creationTimestamp": f"2025-01-02T03:00:0{number}Z"})
        for number, given in enumerate(pods or [])
    ]
    return observe(STEP, attempt, made)


TABLE: list[Any] = [
    pytest.param({}, State.STARTING, None, "NoPod", id="no-pod-yet"),
    pytest.param({"pods": [{"phase": "Pending"}]}, State.STARTING, None, "", id="pending"),
    pytest.param(
        {"pods": [pod_status("Pending", {"waiting": {"reason": "ContainerCreating"}})]},
        State.STARTING,
        None,
        "",
        id="creating-is-ordinary",
    ),
    pytest.param(
        {"pods": [pod_status("Pending", {"waiting": {"reason": "ImagePullBackOff"}})]},
        State.STARTING,
        None,
        "ImagePullBackOff",
        id="image-cannot-be-pulled",
    ),
    pytest.param(
        {"pods": [pod_status("Pending", {"waiting": {"reason": "CreateContainerConfigError"}})]},
        State.STARTING,
        None,
        "CreateContainerConfigError",
        id="bad-configuration",
    ),
    pytest.param(
        {
            "pods": [
                {
                    "phase": "Pending",
                    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
                }
            ]
        },
        State.STARTING,
        None,
        "Unschedulable",
        id="unschedulable",
    ),
    pytest.param({"pods": [pod_status("Running", {"running": {}})]}, State.RUNNING, None, "", id="running"),
    pytest.param(
        {"pods": [pod_status("Succeeded", ended(0, reason="Completed"))]},
        State.SUCCEEDED,
        0,
        "Completed",
        id="ended-well",
    ),
    pytest.param(
        {"pods": [pod_status("Running", ended(0))]}, State.SUCCEEDED, 0, "", id="ended-well-beside-a-running-sidecar"
    ),
    pytest.param(
        {"pods": [pod_status("Failed", ended(3, reason="Error"))]}, State.FAILED, 3, "Error", id="ended-badly"
    ),
    pytest.param(
        {"pods": [pod_status("Running", ended(3))]}, State.FAILED, 3, "", id="ended-badly-beside-a-running-sidecar"
    ),
    pytest.param(
        {"pods": [pod_status("Failed", ended(137, reason="OOMKilled"))]}, State.FAILED, 137, "OOMKilled", id="oom"
    ),
    pytest.param(
        {"pods": [{"phase": "Failed", "reason": "Evicted", "message": "low on memory"}]},
        State.FAILED,
        None,
        "Evicted",
        id="evicted-before-it-started",
    ),
    pytest.param(
        {"pods": [pod_status("Failed", ended(137, reason="Error"), reason="Evicted")]},
        State.FAILED,
        137,
        "Evicted",
        id="evicted",
    ),
    pytest.param(
        {"pods": [{"phase": "Failed", "containerStatuses": [{"name": "sidecar", "state": ended(1)}]}]},
        State.FAILED,
        None,
        "",
        id="a-sidecars-code-is-not-the-engrams",
    ),
    pytest.param(
        {"pods": [pod_status("Failed", ended(1)), pod_status("Running", {"running": {}})], "backoffLimit": 2},
        State.RUNNING,
        None,
        "",
        id="the-job-tries-again-by-itself",
    ),
    pytest.param(
        {"pods": [pod_status("Failed", ended(1))], "backoffLimit": 2},
        State.STARTING,
        None,
        "",
        id="between-two-tries-of-the-job",
    ),
    pytest.param(
        {
            "pods": [pod_status("Failed", ended(1)), pod_status("Failed", ended(9))],
            "backoffLimit": 1,
            "status": job_status(("Failed", "BackoffLimitExceeded")),
        },
        State.FAILED,
        9,
        "",
        id="the-job-gave-up-and-the-newest-pod-says-why",
    ),
    pytest.param(
        {"status": job_status(("Failed", "BackoffLimitExceeded"))},
        State.FAILED,
        None,
        "BackoffLimitExceeded",
        id="the-job-gave-up-and-its-pods-are-gone",
    ),
    pytest.param(
        {"pods": [pod_status("Running", {"running": {}}, last=ended(2, reason="Error"))]},
        State.FAILED,
        2,
        "Error",
        id="restarted-in-place-though-the-job-allows-no-second-try",
    ),
    pytest.param(
        {"pods": [pod_status("Running", {"running": {}}, last=ended(2))], "backoffLimit": 3},
        State.RUNNING,
        None,
        "",
        id="restarted-in-place-as-the-job-allows",
    ),
    pytest.param(
        {
            "pods": [pod_status("Pending", {"waiting": {"reason": "CrashLoopBackOff"}}, last=ended(2))],
            "backoffLimit": 3,
        },
        State.STARTING,
        None,
        "CrashLoopBackOff",
        id="waits-to-be-restarted-in-place",
    ),
    pytest.param(
        {"status": job_status(("Failed", "DeadlineExceeded"))}, State.FAILED, None, "DeadlineExceeded", id="deadline"
    ),
    pytest.param(
        {"pods": [pod_status("Failed", ended(143))], "status": job_status(("FailureTarget", "DeadlineExceeded"))},
        State.FAILED,
        None,
        "DeadlineExceeded",
        id="the-deadlines-signal-is-not-the-reason",
    ),
    pytest.param(
        {"pods": [pod_status("Succeeded", ended(0))], "status": job_status(("Failed", "DeadlineExceeded"))},
        State.SUCCEEDED,
        0,
        "",
        id="a-good-end-beats-the-deadline",
    ),
    pytest.param({"status": job_status(("Complete", ""))}, State.SUCCEEDED, 0, "", id="complete-and-pods-gone"),
    pytest.param(
        {"status": {"conditions": [{"type": "Failed", "status": "False"}]}},
        State.STARTING,
        None,
        "NoPod",
        id="a-condition-that-is-false",
    ),
]


@pytest.mark.parametrize(("given", "state", "code", "reason"), TABLE)
def test_the_first_trustworthy_word_counts(given: Object, state: State, code: int | None, reason: str) -> None:
    seen = look(**given)
    assert (seen.state, seen.exit_code, seen.reason) == (state, code, reason)


@pytest.mark.parametrize(
    ("given", "unexplained"),
    [
        pytest.param({"status": job_status(("Failed", "BackoffLimitExceeded"))}, True, id="no-pod-is-known"),
        pytest.param(
            {
                "pods": [pod_status("Running", {"running": {}})],
                "status": job_status(("Failed", "BackoffLimitExceeded")),
            },
            True,
            id="the-pod-is-known-as-it-was",
        ),
        pytest.param({"pods": [pod_status("Failed", ended(3))]}, False, id="the-container-says-how"),
        pytest.param({"status": job_status(("Failed", "DeadlineExceeded"))}, False, id="the-deadline"),
        pytest.param({"status": job_status(("Complete", ""))}, False, id="success"),
        pytest.param({}, False, id="under-way"),
    ],
)
def test_a_failure_without_a_containers_word_is_unexplained(given: Object, unexplained: bool) -> None:
    assert is_unexplained(look(**given)) is unexplained


def test_an_observation_tells_attempt_deadline_and_pod() -> None:
    annotations = {
        "runs.bubustack.io/attempt": "2",
        "runs.bubustack.io/deadline-at": "2025-01-02T03:34:05.250000Z",
        "runs.bubustack.io/execution-key": "0123",
    }
    attempt = {**JOB, "metadata": {**JOB["metadata"], "annotations": annotations}}
    times = {"startedAt": "2025-01-02T03:00:01Z", "finishedAt": "2025-01-02T03:00:09Z"}
    seen = observe(STEP, attempt, [pod(JOB, status=pod_status("Succeeded", ended(0, **times)))])
    assert seen.step_run is STEP
    assert (seen.attempt, seen.worker, seen.execution_key) == (2, "pod-1", "0123")
    assert seen.deadline_at == datetime(2025, 1, 2, 3, 34, 5, 250_000, tzinfo=UTC)
    assert seen.started_at == datetime(2025, 1, 2, 3, 0, 1, tzinfo=UTC)
    assert seen.finished_at == datetime(2025, 1, 2, 3, 0, 9, tzinfo=UTC)


@pytest.mark.parametrize("annotation", [None, "", "-1", "x", "1.5"])
def test_a_job_without_a_readable_attempt_belongs_to_none(annotation: str | None) -> None:
    attempt = {**JOB, "metadata": {**JOB["metadata"], "annotations": {"runs.bubustack.io/attempt": annotation or ""}}}
    assert observe(STEP, attempt, []).attempt is None


@pytest.mark.parametrize(
    ("phases", "state"),
    [
        ([], State.ABSENT),
        (["Succeeded", "Failed"], State.ABSENT),
        (["Failed", "Running"], State.LINGERING),
        (["Pending"], State.LINGERING),
        (["Unknown"], State.LINGERING),
        ([""], State.LINGERING),
    ],
)
def test_without_a_job_pods_that_may_still_run_linger(phases: list[str], state: State) -> None:
    pods = [pod(JOB, f"pod-{number}", status={"phase": phase}) for number, phase in enumerate(phases)]
    seen = observe(STEP, None, pods)
    assert (seen.state, seen.attempt, seen.step_run) == (state, None, STEP)


def test_a_job_that_is_being_deleted_lingers() -> None:
    going = {**JOB, "metadata": {**JOB["metadata"], "deletionTimestamp": "2025-01-02T03:04:05Z"}}
    assert observe(STEP, going, []).state is State.LINGERING


def test_pods_of_an_earlier_job_say_nothing_of_this_one() -> None:
    earlier = stored("Job", JOB["metadata"]["name"], owner=STEP, meta={"uid": "another"})
    assert observe(STEP, JOB, [pod(earlier, status=pod_status("Failed", ended(1)))]).state is State.STARTING


def test_the_newest_pod_counts_whatever_the_order() -> None:
    old = pod(JOB, "b", status=pod_status("Failed", ended(1)), meta={"creationTimestamp": "2025-01-02T03:00:00Z"})
    new = pod(JOB, "a", status=pod_status("Succeeded", ended(0)), meta={"creationTimestamp": "2025-01-02T03:00:09Z"})
    assert observe(STEP, JOB, [new, old]).state is State.SUCCEEDED
    assert observe(STEP, JOB, [old, new]).state is State.SUCCEEDED


def test_a_job_tells_since_when_it_has_had_no_pod() -> None:
    attempt = {**JOB, "metadata": {**JOB["metadata"], "creationTimestamp": "2025-01-02T03:00:00Z"}}

    podless, waiting = (
        observe(STEP, attempt, []),
        observe(STEP, attempt, [pod(attempt, "p", status={"phase": "Pending"})]),
    )
    assert (podless.waiting_since, podless.reason) == (datetime(2025, 1, 2, 3, tzinfo=UTC), "NoPod")
    assert "a quota or a policy may refuse it" in podless.message
    assert (waiting.waiting_since, waiting.reason, waiting.message) == (None, "", "")


def plain_look(state: Object, annotation: str) -> Observation:
    """The observation of a container without an SDK."""
    attempt = {**JOB, "metadata": {**JOB["metadata"], "annotations": {keys.ANNOTATION_RESULT: annotation}}}
    return observe(STEP, attempt, [pod(JOB, status=pod_status("Failed", state))])


def test_a_container_without_an_sdk_has_a_result_and_its_own_exit_codes() -> None:
    reading = ResultReading(ResultSource.STDOUT, exit_codes={75: ExitClass.RETRY}).encoded()

    assert plain_look(ended(0), reading).has_result
    assert plain_look(ended(0), reading).exit_class is None
    assert plain_look(ended(75), reading).exit_class is ExitClass.RETRY
    assert plain_look(ended(74), reading).exit_class is None
    assert not look([pod_status("Succeeded", ended(0))]).has_result


def test_a_damaged_annotation_does_not_stop_the_operator() -> None:
    seen = plain_look(ended(0), "{")

    assert (seen.state, seen.has_result, seen.exit_class) == (State.SUCCEEDED, True, None)
