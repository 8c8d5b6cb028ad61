"""What Jobs of the Go operator say: their attempt and the deadline of their step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from core.api.objects import Object
from reconcilers.adapters.reference_jobs import attempt_of_reference, deadline_of_reference

_STARTED = "2026-01-02T03:04:05Z"
_RETRY = {"type": "Progressing", "status": "True", "reason": "RetryScheduled"}
_SCHEDULED = {"type": "Progressing", "status": "True", "reason": "Scheduled"}


def step_run(retries: int, condition: Object, known: str = "j1") -> Object:
    annotations = {"runs.bubustack.io/job-uid": known} if known else {}
    return {"metadata": {"annotations": annotations}, "status": {"retries": retries, "conditions": [condition]}}


@pytest.mark.parametrize(
    ("seen", "attempt"),
    [
        pytest.param(step_run(1, _RETRY), 0, id="its-failure-is-counted-and-it-is-not-deleted-yet"),
        pytest.param(step_run(1, _RETRY, known=""), None, id="the-next-job-is-created-and-not-recorded-yet"),
        pytest.param(step_run(1, _SCHEDULED), None, id="the-next-job-is-recorded"),
        pytest.param(step_run(0, _SCHEDULED), None, id="the-first-one"),
    ],
)
def test_a_failure_that_is_recorded_is_not_counted_again(seen: Object, attempt: int | None) -> None:
    assert attempt_of_reference(seen, {"metadata": {"uid": "j1"}}) == attempt


@pytest.mark.parametrize(
    ("job", "deadline"),
    [
        ({"spec": {"activeDeadlineSeconds": 150}, "status": {"startTime": _STARTED}}, 35),
        ({"spec": {"activeDeadlineSeconds": 150}}, 30),
        ({"spec": {"activeDeadlineSeconds": 7}}, 0),
        ({"spec": {}}, None),
    ],
)
def test_the_time_of_a_step_counts_from_the_start_of_its_job(job: dict[str, Any], deadline: int | None) -> None:
    found = deadline_of_reference({"metadata": {"creationTimestamp": "2026-01-02T03:04:00Z"}, **job})

    assert found == (None if deadline is None else datetime(2026, 1, 2, 3, 4, deadline, tzinfo=UTC))
