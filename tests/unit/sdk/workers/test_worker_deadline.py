"""When an attempt must end, by a clock that is not the operator's."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_sdk.workers.assignment import AssignedAttempt, assigned_to
from bubu_sdk.workers.deadline import TOLERANCE_SECONDS, Deadlines

TIMEOUT = 30.0
ASSIGNED = datetime(2026, 1, 1, tzinfo=UTC)
"""By the operator's clock."""


def attempt_at(seconds: float) -> AssignedAttempt:
    """One that was assigned so many seconds after ``ASSIGNED``."""
    deadline_at = ASSIGNED + timedelta(seconds=seconds + TIMEOUT)
    return AssignedAttempt("run-a", "uid", 0, "pod-uid", {}, deadline_at)


def test_an_attempt_that_begins_late_ends_as_if_it_had_begun_in_time() -> None:
    deadlines = Deadlines()

    assert deadlines.of(attempt_at(0), TIMEOUT, 1000.0) == 1030.0
    assert deadlines.of(attempt_at(10), TIMEOUT, 1022.0) == 1022.0 + TIMEOUT - 12.0 + TOLERANCE_SECONDS
    assert deadlines.of(attempt_at(20), TIMEOUT, 1021.5) == 1051.5, "a little lateness is tolerated"


def test_without_a_deadline_the_time_begins_with_the_attempt() -> None:
    assert Deadlines().of(AssignedAttempt("run-a", "uid", 0, "pod-uid", {}), TIMEOUT, 1000.0) == 1030.0


def test_a_corrected_clock_of_the_operator_is_believed_after_some_attempts() -> None:
    deadlines = Deadlines()
    deadlines.of(attempt_at(0), TIMEOUT, 1000.0)
    assert deadlines.of(attempt_at(-60), TIMEOUT, 1000.0) == 1030.0 - 60 + TOLERANCE_SECONDS

    ends = [deadlines.of(attempt_at(number - 60), TIMEOUT, 1000.0 + number) for number in range(300)]

    assert ends[-1] == 1299.0 + TIMEOUT


@given(st.floats(-1e6, 1e6), st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 100), st.floats(0.5, 1e4)), min_size=1))
def test_no_attempt_ends_before_the_operator_ends_it_by_whatever_clock(
    difference: float, attempts: list[tuple[float, float, float]]
) -> None:
    deadlines = Deadlines()
    for assigned, late, timeout in attempts:
        deadline_at = ASSIGNED + timedelta(seconds=assigned + timeout)
        one = AssignedAttempt("run-a", "uid", 0, "pod-uid", {}, deadline_at)
        begins = difference + assigned + late
        ends = deadlines.of(one, timeout, begins)
        assert difference + assigned + timeout - 1e-4 <= ends <= begins + timeout


@pytest.mark.parametrize("given", [None, 5, "soon", "2026-01-01T00:00:00", [], "\0"])
def test_a_deadline_that_cannot_be_read_is_none(given: object) -> None:
    annotation = json.dumps({"attempt": 0, "workerUid": "pod-uid", "deadlineAt": given})
    found = assigned_to({"metadata": {"annotations": {"runs.bubustack.io/assignment": annotation}}}, "pod-uid")

    assert found is not None
    assert found.deadline_at is None
