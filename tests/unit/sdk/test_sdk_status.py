"""Expected status bodies, merge rules, and the transitions table."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bubu_sdk import status
from bubu_sdk.errors import EngramError, ExitClass, InputError
from bubu_sdk.status import EffectRecord, Phase, SignalEvent, StatusUpdate

STARTED = datetime(2024, 12, 31, 23, 59, 58, 766000, tzinfo=UTC)
FINISHED = STARTED + timedelta(seconds=1.234)

ALLOWED = {
    (before, after)
    for before, afters in {
        "Pending": "Running Succeeded Failed Canceled Timeout",
        "Running": "Succeeded Failed Canceled Paused Timeout Aborted",
        "Paused": "Running Canceled Failed",
        "Failed": "Running Succeeded",
        "Blocked": "Pending Running Failed Canceled",
        "Scheduling": "Running Failed Canceled",
    }.items()
    for after in afters.split()
}


@pytest.mark.parametrize("before", [*Phase, "Unheard"])
@pytest.mark.parametrize("after", list(Phase))
def test_the_transitions_table(before: str, after: str) -> None:
    assert status.may_become(before, after) is ((before, after) in ALLOWED or before == after)


@pytest.mark.parametrize("after", list(Phase))
def test_an_empty_phase_may_become_anything(after: str) -> None:
    assert status.may_become("", after)


def test_the_golden_body_of_a_success() -> None:
    update = status.succeeded({"k": "v"}, started_at=STARTED, finished_at=FINISHED)

    assert status.merge_patch(
        {"phase": "Running", "retries": 0}, status.merge({"phase": "Running", "retries": 0}, update)
    ) == {
        "phase": "Succeeded",
        "finishedAt": "2025-01-01T00:00:00Z",
        "duration": "1.234s",
        "exitCode": 0,
        "exitClass": "success",
        "output": {"k": "v"},
    }


def test_the_golden_body_of_a_failure() -> None:
    update = status.failed(
        EngramError("boom password=x"),
        output=None,
        exit_code=1,
        exit_class=ExitClass.TERMINAL,
        started_at=STARTED,
        finished_at=FINISHED,
    )

    assert update.fields == {
        "phase": "Failed",
        "finishedAt": "2025-01-01T00:00:00Z",
        "duration": "1.234s",
        "lastFailureMsg": "boom password=[REDACTED]",
        "exitCode": 1,
        "exitClass": "terminal",
        "error": {
            "version": "v1",
            "type": "execution_error",
            "message": "boom password=[REDACTED]",
            "retryable": False,
            "exitCode": 1,
            "exitClass": "terminal",
            "exceptions": ["bubu_sdk.errors.EngramError", "Exception"],
        },
    }


def test_the_golden_body_of_a_timeout() -> None:
    update = status.timed_out(EngramError("too late"), output={"half": 1}, started_at=STARTED, finished_at=FINISHED)

    assert update.fields == {
        "phase": "Timeout",
        "finishedAt": "2025-01-01T00:00:00Z",
        "duration": "1.234s",
        "lastFailureMsg": "too late",
        "exitCode": 124,
        "exitClass": "retry",
        "output": {"half": 1},
        "error": {
            "version": "v1",
            "type": "timeout",
            "message": "too late",
            "retryable": True,
            "exitCode": 124,
            "exitClass": "retry",
        },
    }


def test_a_carried_error_keeps_its_own_words() -> None:
    error = InputError("bad", retryable=True, exit_class="ratelimited", code="C-1", details={"a": 1})

    update = status.failed(
        error, output=None, exit_code=1, exit_class=error.exit_class, started_at=STARTED, finished_at=FINISHED
    )

    assert update.fields["exitClass"] == "rateLimited"
    assert update.fields["error"] == {
        "version": "v1",
        "type": "validation_error",
        "message": "bad",
        "retryable": True,
        "exitCode": 1,
        "exitClass": "rateLimited",
        "code": "C-1",
        "details": {"a": 1},
        "exceptions": ["bubu_sdk.errors.InputError", "bubu_sdk.errors.EngramError", "Exception"],
    }


def test_details_without_a_json_form_are_described() -> None:
    update = status.failed(
        EngramError("x", details={"o": object}), output=None, exit_code=1, exit_class=ExitClass.TERMINAL,
        started_at=STARTED, finished_at=FINISHED,
    )  # fmt: skip

    assert update.fields["error"]["details"]["unserializable"] is True


def test_a_success_forgets_the_failure_of_an_earlier_attempt() -> None:
    before = {"phase": "Failed", "retries": 1, "exitCode": 1, "error": {"message": "old"}, "lastFailureMsg": "old"}

    patch = status.merge_patch(
        before, status.merge(before, status.succeeded({}, started_at=STARTED, finished_at=FINISHED))
    )

    assert (patch["exitCode"], patch["error"], patch["lastFailureMsg"]) == (0, None, None)


def test_every_signal_key_reaches_the_status() -> None:
    before: dict[str, Any] = {"retries": 0, "signals": {"a": {"n": 1}, "b": {"n": 2}}}
    untouched = copy.deepcopy(before)

    after = status.merge(before, StatusUpdate(signals={"a": {"n": 3}, "b": None, "c": {"n": 4}}))

    assert before == untouched
    assert status.merge_patch(before, after) == {"signals": {"a": {"n": 3}, "b": None, "c": {"n": 4}}}


def test_events_continue_from_the_highest_number_of_any_attempt() -> None:
    before = {"signalEvents": [{"seq": 7, "key": "a"}]}

    events = status.merge(before, StatusUpdate(signal_events=(SignalEvent("b", FINISHED), SignalEvent("c", FINISHED))))[
        "signalEvents"
    ]

    assert [event["seq"] for event in events] == [7, 8, 9]


def test_an_event_that_is_there_already_is_dropped() -> None:
    before = {"signalEvents": [{"seq": 7, "key": "a"}]}

    after = status.merge(before, StatusUpdate(signal_events=(SignalEvent("b", FINISHED, seq=7),)))

    assert after["signalEvents"] == before["signalEvents"]


def test_only_the_newest_256_events_are_kept() -> None:
    before = {"signalEvents": [{"seq": seq, "key": "k"} for seq in range(1, 257)]}

    events = status.merge(before, StatusUpdate(signal_events=(SignalEvent("new", FINISHED),)))["signalEvents"]

    assert (len(events), events[0]["seq"], events[-1]["key"]) == (256, 2, "new")


def test_an_effect_is_recorded_once_per_key() -> None:
    once = status.merge({}, StatusUpdate(effects=(EffectRecord("charge", "succeeded", FINISHED, {"id": 1}),)))

    twice = status.merge(once, StatusUpdate(effects=(EffectRecord(" charge ", "succeeded", FINISHED),)))

    assert twice["effects"] == [
        {"seq": 1, "key": "charge", "status": "succeeded", "emittedAt": "2025-01-01T00:00:00Z", "details": {"id": 1}}
    ]


def test_an_effect_with_a_number_that_is_there_already_is_dropped() -> None:
    before = {"effects": [{"seq": 7, "key": "charge"}]}
    update = StatusUpdate(
        effects=(
            EffectRecord("mail", "succeeded", FINISHED, seq=7),
            EffectRecord("charge", "succeeded", FINISHED, seq=8),
        )
    )

    effects = status.merge(before, update)["effects"]

    assert [(entry["seq"], entry["key"]) for entry in effects] == [(7, "charge"), (8, "charge")]


def test_only_the_newest_256_effects_are_kept() -> None:
    before = {"effects": [{"seq": seq, "key": f"k{seq}"} for seq in range(1, 257)]}

    effects = status.merge(before, StatusUpdate(effects=(EffectRecord("new", "succeeded", FINISHED),)))["effects"]

    assert (len(effects), effects[0]["seq"], effects[-1]["key"]) == (256, 2, "new")


def test_a_claim_takes_the_pod_and_leaves_a_running_phase_alone() -> None:
    assert status.claimed("pod", {"phase": "Running", "startedAt": "x"}, STARTED).fields == {"podName": "pod"}
    assert status.claimed("pod", {"phase": "Pending"}, STARTED).fields == {
        "podName": "pod",
        "phase": "Running",
        "startedAt": "2024-12-31T23:59:58Z",
    }
    assert status.claimed("", {"phase": "Paused", "startedAt": "x"}, STARTED).fields == {}


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, {"a": {"y": None}}),
        ({"a": [1]}, {"a": [1, 2]}, {"a": [1, 2]}),
        ({"a": 1}, {}, {"a": None}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_the_merge_patch_is_the_difference(before: Any, after: Any, patch: Any) -> None:
    assert status.merge_patch(before, after) == patch


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, "success"),
        (1, "terminal"),
        (124, "retry"),
        (125, "terminal"),
        (137, "retry"),
        (143, "retry"),
        (255, "retry"),
        (429, "rateLimited"),
    ],
)
def test_exit_codes_have_the_classes_of_the_operator(code: int, expected: str) -> None:
    assert ExitClass.of_exit_code(code) == expected
