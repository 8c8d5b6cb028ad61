"""The gates of a run, and which one a user means."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from core.api.objects import Object
from views.errors import ViewError
from views.gates import find_gate, gate_called, gates_of, open_gates_of

APPROVE = {"name": "approve", "type": "gate", "with": {"timeout": "24h", "onTimeout": " SKIP "}}


def story(*steps: Object) -> Object:
    return {"spec": {"steps": list(steps)}}


def a_run(timers: Object | None = None, **status: Any) -> Object:
    annotations = {"runs.bubustack.io/step-timers": json.dumps(timers)} if timers else {}
    return {
        "metadata": {"namespace": "team", "name": "release-1", "annotations": annotations},
        "spec": {"storyRef": {"name": "release"}},
        "status": status,
    }


def fan(*branches: Object) -> Object:
    return {"name": "fan", "type": "parallel", "with": {"steps": list(branches)}}


def test_an_open_gate_tells_since_and_until_when_it_waits() -> None:
    run = a_run(
        {"approve": {"gateTimeoutAt": "2026-01-03T00:00:00Z"}},
        stepStates={"approve": {"phase": "Paused", "startedAt": "2026-01-02T00:00:00Z", "message": "Waiting\nhere"}},
    )

    (gate,) = gates_of(run, story(APPROVE))

    assert gate.is_open
    assert gate.since == datetime(2026, 1, 2, tzinfo=UTC)
    assert gate.until == datetime(2026, 1, 3, tzinfo=UTC)
    assert (gate.on_timeout, gate.message) == ("skip", "Waiting here")


@pytest.mark.parametrize(
    ("status", "is_open"),
    [
        pytest.param({}, False, id="not reached"),
        pytest.param({"stepStates": {"approve": {"phase": "Paused"}}}, True, id="waits"),
        pytest.param({"stepStates": {"approve": {"phase": "Timeout"}}}, False, id="over"),
        pytest.param(
            {"stepStates": {"approve": {"phase": "Paused"}}, "gates": {"approve": {"state": "Approved"}}},
            False,
            id="decided and not noticed yet",
        ),
        pytest.param(
            {"stepStates": {"approve": {"phase": "Paused"}}, "gates": {"approve": {"state": "Pending"}}},
            True,
            id="left open in so many words",
        ),
    ],
)
def test_a_gate_is_open_while_the_run_waits_there_undecided(status: Object, is_open: bool) -> None:
    (gate,) = gates_of(a_run(**status), story(APPROVE))

    assert gate.is_open is is_open


def test_a_canceled_run_waits_for_nobody() -> None:
    run = a_run(stepStates={"approve": {"phase": "Paused"}})
    assert [gate.name for gate in open_gates_of(run, story(APPROVE, {"name": "x", "type": "gate"}))] == ["approve"]

    run["spec"]["cancelRequested"] = True
    assert open_gates_of(run, story(APPROVE)) == []


def test_without_its_story_a_run_tells_its_gates_by_what_it_waits_for() -> None:
    states = {
        "approve": {"phase": "Paused", "message": "Waiting for approval"},
        "timed": {"phase": "Paused", "message": "?"},
        "nap": {"phase": "Paused", "message": "Sleeping until tomorrow"},
    }
    timers = {"timed": {"gateTimeoutAt": "2026-01-03T00:00:00Z"}, "nap": {"sleepUntil": "2026-01-03T00:00:00Z"}}

    assert [gate.name for gate in gates_of(a_run(timers, stepStates=states), None)] == ["approve", "timed"]


def test_a_step_that_only_talks_like_a_gate_is_none() -> None:
    talks = {"name": "talks", "type": "wait"}
    states = {"talks": {"phase": "Paused", "message": "Waiting for approval"}}

    assert gates_of(a_run(stepStates=states), story(talks)) == []


def test_damaged_timers_are_no_reason_to_fail() -> None:
    run = a_run(stepStates={"approve": {"phase": "Paused"}})
    for text in ("{", "[1]", '{"approve": 3}', '{"approve": {"gateTimeoutAt": "soon"}}'):
        run["metadata"]["annotations"] = {"runs.bubustack.io/step-timers": text}
        assert gates_of(run, story(APPROVE))[0].until is None


def test_a_gate_is_found_by_its_whole_name_or_a_last_part_that_only_it_has() -> None:
    gates = gates_of(a_run(), story(APPROVE, fan({"name": "legal", "type": "gate"}, APPROVE)))

    assert find_gate(gates, "legal", "release-1") == "fan/legal"
    assert find_gate(gates, "approve", "release-1") == "approve"
    assert find_gate(gates, "fan/approve", "release-1") == "fan/approve"


def test_a_last_part_that_several_have_is_not_enough() -> None:
    second = {**fan(APPROVE), "name": "fun"}
    gates = gates_of(a_run(), story(fan(APPROVE), second))

    with pytest.raises(ViewError, match="has 2 gates 'approve': fan/approve, fun/approve"):
        find_gate(gates, "approve", "release-1")


def test_an_item_that_has_not_begun_can_be_named_by_its_number() -> None:
    each = {"name": "fan", "type": "parallel", "with": {"forEach": [1, 2], "steps": [APPROVE]}}
    gates = gates_of(a_run(), story(each))

    assert find_gate(gates, "fan/1", "release-1") == "fan/1"
    assert gate_called(gates, "fan/1").name == "fan/*"


def test_an_item_can_be_named_before_it_begins_when_others_have_begun() -> None:
    each = {"name": "fan", "type": "parallel", "with": {"forEach": [1, 2], "steps": [APPROVE]}}
    gates = gates_of(a_run(stepStates={"fan": {"phase": "Running"}, "fan/0": {"phase": "Paused"}}), story(each))

    assert [gate.name for gate in gates] == ["fan/0", "fan/*"]
    assert gate_called(gates, find_gate(gates, "fan/1", "release-1")).name == "fan/*"
    assert gate_called(gates, find_gate(gates, "fan/0", "release-1")).name == "fan/0"


@pytest.mark.parametrize(
    ("wanted", "remedy"),
    [("aprove", "did you mean 'approve'?"), ("zebra", "its gates are: approve")],
)
def test_an_unknown_gate_names_those_there_are(wanted: str, remedy: str) -> None:
    with pytest.raises(ViewError, match=f"has no gate '{wanted}'") as refusal:
        find_gate(gates_of(a_run(), story(APPROVE)), wanted, "release-1")

    assert refusal.value.remedy == remedy


def test_a_story_without_gates_says_so() -> None:
    with pytest.raises(ViewError) as refusal:
        find_gate([], "approve", "release-1")

    assert refusal.value.remedy == "its Story has no gates"
