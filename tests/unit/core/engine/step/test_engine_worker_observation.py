"""What the engine sees of an attempt that a worker carries out: the rules of StepRun contract 3.5, row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.api.phases import Phase, Reason
from core.engine.executor_port import ExecutorTraits
from core.engine.ports import AttemptState
from core.engine.step.assignment import Assignment, assignment_patch
from core.engine.step.outcome import Fail, Retry, decide
from core.engine.step.record import failure_patch
from core.engine.step.worker_observation import WORKER_LOST, is_over, is_released, observe_worker
from core.policy.retry import RetryPolicy

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WORKERS = ExecutorTraits("worker", lives_by_record=True)
EXIT = {"attempt": 0, "exitCode": 0, "finishedAt": "2026-01-02T03:04:05Z"}
FINAL = failure_patch({"metadata": {}}, Phase.TIMEOUT, Reason.TIMED_OUT, "late", NOW)
ASKED = {"bubustack.io/cancel-requested": "true"}


def step_run(
    status: dict[str, Any] | None = None, notes: dict[str, str] | None = None, attempt: int | None = 0
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "run-a", "namespace": "default", "annotations": notes or {}}
    if attempt is not None:
        assigned = assignment_patch(Assignment(attempt, "w", "u", NOW, "k"))
        metadata["labels"] = assigned["labels"]
        metadata["annotations"] = {**assigned["annotations"], **metadata["annotations"]}
    return {"metadata": metadata, "spec": {"executor": "worker"}} | ({"status": status} if status else {})


@pytest.mark.parametrize(
    ("obj", "is_lost", "state"),
    [
        pytest.param(step_run(attempt=None), False, AttemptState.ABSENT, id="nothing assigned"),
        pytest.param(step_run(), False, AttemptState.STARTING, id="assigned"),
        pytest.param(step_run({"phase": "Pending", "retries": 1}, attempt=1), False, AttemptState.STARTING, id="retry"),
        pytest.param(step_run({"phase": "Running"}), False, AttemptState.RUNNING, id="marked as running"),
        pytest.param(step_run({"podName": "w"}), False, AttemptState.RUNNING, id="the worker reports"),
        pytest.param(step_run({"podName": "v"}), False, AttemptState.STARTING, id="another worker has reported"),
        pytest.param(step_run({"workerExit": EXIT}), False, AttemptState.SUCCEEDED, id="exit 0"),
        pytest.param(step_run({"workerExit": EXIT}), True, AttemptState.SUCCEEDED, id="exit 0, then lost"),
        pytest.param(step_run({"workerExit": EXIT | {"exitCode": 137}}), False, AttemptState.FAILED, id="killed"),
        pytest.param(step_run(), True, AttemptState.FAILED, id="lost"),
        pytest.param(step_run({"workerExit": EXIT | {"attempt": 1}}), False, AttemptState.STARTING, id="other exit"),
        pytest.param(step_run({"retries": 1}), False, AttemptState.LINGERING, id="earlier, at work"),
        pytest.param(step_run({"retries": 1, "workerExit": EXIT}), False, AttemptState.ABSENT, id="earlier, over"),
        pytest.param(step_run({"retries": 1}), True, AttemptState.ABSENT, id="earlier, lost"),
        pytest.param(step_run(FINAL), False, AttemptState.LINGERING, id="recorded, at work"),
        pytest.param(step_run(notes=ASKED), False, AttemptState.LINGERING, id="asked to end"),
        pytest.param(step_run({"workerExit": EXIT}, ASKED), False, AttemptState.SUCCEEDED, id="asked, over"),
    ],
)
def test_the_state_follows_from_the_step_run(obj: dict[str, Any], is_lost: bool, state: AttemptState) -> None:
    assert observe_worker(obj, is_lost).state is state


def test_an_assigned_attempt_is_described() -> None:
    seen = observe_worker(step_run(), False)

    assert (seen.attempt, seen.worker, seen.deadline_at, seen.execution_key) == (0, "w", NOW, "k")


def test_a_lost_worker_is_retried_as_a_vanished_pod_is() -> None:
    seen = observe_worker(step_run(), True)
    retry = decide(seen, RetryPolicy(max_retries=1, delay=timedelta(seconds=1)), NOW, WORKERS)

    assert (seen.exit_code, seen.reason) == (None, WORKER_LOST)
    assert isinstance(retry, Retry)
    assert retry.exit_code == -1
    assert isinstance(decide(seen, RetryPolicy(max_retries=0), NOW, WORKERS), Fail)


def test_a_worker_has_to_do_with_a_step_run_until_it_lets_go() -> None:
    assert is_released(step_run(attempt=None))
    assert not is_released(step_run())
    assert not is_released(step_run(FINAL))
    assert is_released(step_run({"workerExit": EXIT}))


def test_the_record_is_the_signal_to_end() -> None:
    assert not is_over(step_run(), 0)
    assert is_over(step_run({"retries": 1}), 0)
    assert is_over(step_run(FINAL), 0)
    assert is_over(step_run(notes=ASKED), 0)
