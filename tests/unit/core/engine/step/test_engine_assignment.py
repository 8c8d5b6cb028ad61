"""What is assigned to a worker, and the end of its process, as the StepRun has them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from core.api.phases import Reason
from core.engine.errors import RejectedError
from core.engine.step.assignment import (
    MAX_ASSIGNMENT_BYTES,
    Assignment,
    WorkerExit,
    assignment_of,
    assignment_patch,
    worker_exit_of,
)

AT = datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)
ASSIGNED = Assignment(1, "pool-x", "uid-x", AT, "k", {"BUBU_TRIGGER_DATA": '{"price": "$5"}'})
NOTE = "runs.bubustack.io/assignment"


def step_run(note: Any) -> dict[str, Any]:
    return {"metadata": {"annotations": {NOTE: note}}}


def test_an_assignment_is_read_as_it_was_written() -> None:
    patch = assignment_patch(ASSIGNED)

    assert patch["labels"] == {"bubustack.io/worker": "pool-x"}
    assert assignment_of({"metadata": patch}) == ASSIGNED
    assert json.loads(patch["annotations"][NOTE]) == {
        "attempt": 1,
        "worker": "pool-x",
        "workerUid": "uid-x",
        "deadlineAt": "2026-01-02T03:04:05.250000Z",
        "key": "k",
        "environment": {"BUBU_TRIGGER_DATA": '{"price": "$5"}'},
    }


def test_what_an_assignment_does_not_have_is_left_out() -> None:
    bare = Assignment(0, "pool-x", "uid-x")
    patch = assignment_patch(bare)

    assert json.loads(patch["annotations"][NOTE]).keys() == {"attempt", "worker", "workerUid", "environment"}
    assert assignment_of({"metadata": patch}) == bare


def test_variables_without_room_in_an_annotation_are_refused_with_the_remedy() -> None:
    fits = replace(ASSIGNED, environment={"A": "x" * (MAX_ASSIGNMENT_BYTES - 1024)})
    assert assignment_of({"metadata": assignment_patch(fits)}) == fits

    with pytest.raises(RejectedError, match="storage") as refused:
        assignment_patch(replace(ASSIGNED, environment={"A": "x" * MAX_ASSIGNMENT_BYTES}))
    assert refused.value.reason == Reason.INPUT_TOO_LARGE


@pytest.mark.parametrize(
    "note",
    [
        pytest.param(None, id="none"),
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="a list"),
        pytest.param('{"attempt": true, "worker": "w", "workerUid": "u"}', id="no number"),
        pytest.param('{"attempt": 0, "worker": "", "workerUid": "u"}', id="no worker"),
        pytest.param('{"attempt": 0, "worker": "w"}', id="no UID"),
    ],
)
def test_what_cannot_be_read_assigns_nothing(note: Any) -> None:
    assert assignment_of(step_run(note)) is None
    assert assignment_of({"metadata": {}}) is None


def test_parts_that_cannot_be_read_are_left_out() -> None:
    note = {"attempt": 0, "worker": "w", "workerUid": "u", "deadlineAt": "soon", "key": 1, "environment": {"A": 1}}

    assert assignment_of(step_run(json.dumps(note))) == Assignment(0, "w", "u")


def test_the_end_of_a_process_is_read() -> None:
    status = {"workerExit": {"attempt": 1, "exitCode": 137, "finishedAt": "2026-01-02T03:04:05Z"}}

    assert worker_exit_of(status) == WorkerExit(1, 137, AT.replace(microsecond=0))


@pytest.mark.parametrize("found", [None, "x", {}, {"attempt": 1}, {"attempt": True, "exitCode": 0}])
def test_an_end_that_cannot_be_read_is_none(found: Any) -> None:
    assert worker_exit_of({"workerExit": found}) is None
