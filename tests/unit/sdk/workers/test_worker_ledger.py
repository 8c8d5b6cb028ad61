"""What a worker does about each StepRun that it sees."""

from __future__ import annotations

import json
from typing import Any

from bubu_sdk.errors import Object
from bubu_sdk.workers.ledger import End, Ledger, Release, Start

UID = "pod-uid"


def step_run(
    name: str,
    attempt: int = 0,
    *,
    status: Object | None = None,
    annotations: dict[str, str] | None = None,
    deadline_at: str | None = None,
) -> Object:
    given = {"attempt": attempt, "worker": "pod", "workerUid": UID, "environment": {}, "deadlineAt": deadline_at}
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "annotations": {"runs.bubustack.io/assignment": json.dumps(given), **(annotations or {})},
        },
        "status": {"retries": attempt, **(status or {})},
    }


def said(steps: Any) -> list[tuple[str, str, int]]:
    return [(type(step).__name__, step.attempt.step_run, step.attempt.attempt) for step in steps]


def test_steps_start_in_order_as_far_as_there_is_room() -> None:
    ledger = Ledger(UID, 2)

    started = [said(ledger.see(step_run(name))) for name in "abcd"]

    assert started == [[("Start", "a", 0)], [("Start", "b", 0)], [], []]
    first = ledger.busy[0]
    assert said(ledger.over(first)) == [("Start", "c", 0)]
    assert ledger.over(first) == []


def test_an_old_state_of_a_step_does_not_start_it_again() -> None:
    ledger = Ledger(UID, 1)
    (start,) = ledger.see(step_run("a"))
    assert isinstance(start, Start)

    assert ledger.see(step_run("a")) == []
    assert ledger.over(start.attempt) == []
    assert ledger.see(step_run("a")) == []  # it is still on its way from before the report
    assert ledger.see(step_run("a", status={"workerExit": {"attempt": 0, "exitCode": 0}})) == []
    assert said(ledger.see(step_run("a", 1))) == [("Start", "a", 1)]


def test_the_next_attempt_waits_for_the_end_of_the_one_before() -> None:
    ledger = Ledger(UID, 2)
    (start,) = ledger.see(step_run("a"))
    assert isinstance(start, Start)

    assert ledger.see(step_run("a", 1)) == [End(start.attempt)]
    assert said(ledger.over(start.attempt)) == [("Start", "a", 1)]


def test_what_is_over_ends_if_it_runs_and_is_released_if_it_does_not() -> None:
    ledger = Ledger(UID, 1)
    (start,) = ledger.see(step_run("runs"))
    assert isinstance(start, Start)
    ledger.see(step_run("waits"))
    canceled = {"bubustack.io/cancel-requested": "true"}

    assert ledger.see(step_run("runs", annotations=canceled)) == [End(start.attempt)]
    assert said(ledger.see(step_run("waits", annotations=canceled))) == [("Release", "waits", 0)]
    final = {"phase": "Canceled", "conditions": [{"type": "Progressing", "status": "False"}]}
    assert said(ledger.see(step_run("unknown", status=final))) == [("Release", "unknown", 0)]
    assert ledger.lose_sight(step_run("runs")) == [End(start.attempt, at_once=True)]


def test_a_phase_of_an_sdk_alone_is_not_the_end_of_a_step() -> None:
    ledger = Ledger(UID, 1)

    assert said(ledger.see(step_run("a", status={"phase": "Failed"}))) == [("Start", "a", 0)]


def test_the_first_list_has_the_attempts_of_an_earlier_process() -> None:
    ledger = Ledger(UID, 5)
    released = {"workerExit": {"attempt": 0, "exitCode": 0}}

    steps = ledger.replace([step_run("left"), step_run("done", status=released)], left_behind=True)

    assert [(step.attempt.step_run, step.exit_code) for step in steps if isinstance(step, Release)] == [("left", 137)]
    assert ledger.see(step_run("left")) == []


def test_a_later_list_starts_what_is_new_and_ends_what_is_gone() -> None:
    ledger = Ledger(UID, 5)
    (start,) = ledger.see(step_run("gone"))
    assert isinstance(start, Start)

    assert said(ledger.replace([step_run("new")])) == [("End", "gone", 0), ("Start", "new", 0)]


def test_a_worker_that_drains_releases_what_it_has_not_started() -> None:
    ledger = Ledger(UID, 1)
    ledger.see(step_run("runs"))
    ledger.see(step_run("waits"))

    assert [(step.attempt.step_run, step.exit_code) for step in ledger.drain() if isinstance(step, Release)] == [
        ("waits", 143)
    ]
    assert said(ledger.see(step_run("late"))) == [("Release", "late", 0)]


def test_what_was_assigned_to_a_worker_that_may_count_as_lost_is_never_begun() -> None:
    ledger = Ledger(UID, 1)
    (start,) = ledger.see(step_run("runs"))
    assert isinstance(start, Start)
    ledger.see(step_run("waits"))

    assert said(ledger.hold()) == [("Release", "waits", 0)]
    assert said(ledger.see(step_run("seen"))) == [("Release", "seen", 0)]
    assert ledger.over(start.attempt) == []
    released = ledger.resume([step_run("seen"), step_run("unseen")])

    assert [(step.attempt.step_run, step.exit_code) for step in released if isinstance(step, Release)] == [
        ("unseen", 137)
    ]


def test_assignments_of_others_and_unreadable_ones_are_left_alone() -> None:
    ledger = Ledger(UID, 1)
    for text in (
        "{",
        "[]",
        "null",
        '{"attempt": 0, "workerUid": "another"}',
        f'{{"attempt": "0", "workerUid": "{UID}"}}',
    ):
        other = step_run("a")
        other["metadata"]["annotations"]["runs.bubustack.io/assignment"] = text
        assert ledger.see(other) == []
    assert ledger.busy == []
