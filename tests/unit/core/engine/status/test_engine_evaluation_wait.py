"""A step that waits for its evaluation says so, and since when. After a restart no status is out of date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from core.api.conditions import find_condition
from core.api.phases import ConditionType, Phase
from core.engine.status.state import RunState
from core.engine.step.verdict import Verdict
from kubewire import apply_merge_patch

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SINCE = "Waiting since 2026-01-02T03:04:05Z for its turn to be evaluated; other expressions are ahead"


def _new() -> RunState:
    run: dict[str, Any] = {"metadata": {"name": "run", "uid": "u", "generation": 1}, "spec": {}}
    return RunState.from_stored(run).planned(["a", "b"], frozenset())


def _stored(state: RunState) -> dict[str, Any]:
    status = apply_merge_patch(state.stored.get("status") or {}, state.status_patch(NOW))
    return {**state.stored, "status": status}


def test_a_step_that_is_at_work_says_it_in_its_state() -> None:
    state = _new().began(NOW, {}).step_started("a", NOW).waiting("a", NOW)

    status = _stored(state)["status"]
    assert status["stepStates"]["a"]["message"] == SINCE
    assert status["message"] == "Executing the steps of the Story"


def test_a_step_whose_condition_is_not_decided_gets_no_state_by_it() -> None:
    state = _new().began(NOW, {}).waiting("b", NOW).waiting("a", NOW - timedelta(seconds=0))

    status = _stored(state)["status"]
    assert status["message"] == f"step a: {SINCE} (and 1 more)"
    assert "stepStates" not in status


def test_a_run_that_waits_before_it_begins_says_it_itself() -> None:
    state = _new().waiting("", NOW)

    status = _stored(state)["status"]
    assert (status["phase"], status["message"]) == ("Pending", SINCE)


def test_it_is_said_once_and_taken_back() -> None:
    state = _new().began(NOW, {}).step_started("a", NOW).waiting("a", NOW)
    state = state.with_stored(_stored(state))
    assert state.waiting("a", NOW + timedelta(seconds=9)) is state
    assert state.status_patch(NOW + timedelta(seconds=9)) == {}

    state = state.not_waiting("a")
    assert state.status_patch(NOW)["stepStates"] == {"a": {"message": None, "reason": "Running"}}


def test_a_step_that_has_ended_keeps_its_last_words() -> None:
    state = _new().began(NOW, {}).step_started("a", NOW).waiting("a", NOW)
    state = state.step_ended("a", Verdict(Phase.FAILED, "it broke"), NOW)

    assert _stored(state)["status"]["stepStates"]["a"]["message"] == "it broke"


def test_a_restart_does_not_repeat_what_was_waited_for() -> None:
    run = _stored(_new().began(NOW, {}).waiting("a", NOW))
    assert run["status"]["message"].startswith("step a: Waiting")

    again = RunState.from_stored(run).planned(["a", "b"], frozenset())
    assert again.message == "Executing the steps of the Story"
    assert again.status_patch(NOW)["message"] == "Executing the steps of the Story"
    ready = find_condition(run["status"]["conditions"], ConditionType.READY) or {}
    assert ready["message"] == "Executing the steps of the Story"
