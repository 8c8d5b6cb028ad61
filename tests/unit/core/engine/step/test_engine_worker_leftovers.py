"""What may still run for a StepRun that is gone."""

from __future__ import annotations

from typing import Any

import pytest

from core.engine.step.assignment import Assignment, assignment_patch
from core.engine.step.worker_leftovers import WorkerLeftovers


def step_run(*, exit_attempt: int | None = None, assigned: bool = True) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "run-a", "namespace": "default"}
    if assigned:
        metadata |= assignment_patch(Assignment(0, "w", "u"))
    exit_ = {"attempt": exit_attempt, "exitCode": 0}
    return {"metadata": metadata, "status": {"workerExit": exit_} if exit_attempt is not None else {}}


def lingers(left: WorkerLeftovers, now: float, *, is_lost: bool = False, name: str = "run-a") -> bool:
    return left.lingers("default", name, now, lambda assignment: is_lost and assignment.worker_uid == "u")


def test_what_was_at_work_lingers_for_some_time_or_until_its_worker_is_lost() -> None:
    left = WorkerLeftovers(20.0)

    assert left.deleted(step_run(), 100.0) == 120.0
    assert lingers(left, 119.9)
    assert not lingers(left, 120.0)
    assert not lingers(left, 101.0, is_lost=True)
    assert not lingers(left, 101.0, name="run-b")


@pytest.mark.parametrize("last", [step_run(assigned=False), step_run(exit_attempt=0)])
def test_where_nothing_was_at_work_nothing_lingers(last: dict[str, Any]) -> None:
    left = WorkerLeftovers(20.0)

    assert left.deleted(last, 100.0) is None
    assert not lingers(left, 100.0)


def test_the_end_of_an_earlier_attempt_says_nothing_of_the_current_one() -> None:
    left = WorkerLeftovers(20.0)

    assert left.deleted(step_run(exit_attempt=1), 100.0) == 120.0
    assert lingers(left, 100.0)


def test_what_is_over_is_forgotten() -> None:
    left = WorkerLeftovers(20.0)
    left.deleted(step_run(), 100.0)
    other = step_run()
    other["metadata"]["name"] = "run-b"
    left.deleted(other, 130.0)

    assert [*left._until] == [("default", "run-b")]
