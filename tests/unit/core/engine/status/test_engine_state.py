from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.api.phases import Phase, Reason
from core.engine.status.state import RunState
from core.engine.step.timers import Timer, TimerKind
from core.engine.step.verdict import Conclusion, Verdict
from kubewire import apply_merge_patch

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(seconds=90)
OK = Verdict(Phase.SUCCEEDED)
DONE = Conclusion(Phase.SUCCEEDED, Reason.COMPLETED, "All steps completed")


def run(status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    body = {"metadata": {"name": "run", "uid": "u", "generation": 1, **metadata}, "spec": {}}
    return body | ({"status": status} if status else {})


def fresh(*steps: str, allowed: frozenset[str] = frozenset()) -> RunState:
    return RunState.from_stored(run()).planned(steps, allowed)


def stored(state: RunState, now: datetime = NOW) -> RunState:
    """The state after its patches have been stored."""
    body = dict(state.stored)
    metadata_patch = state.metadata_patch()
    body["metadata"] = apply_merge_patch(body["metadata"], metadata_patch)
    body["status"] = apply_merge_patch(body.get("status") or {}, state.status_patch(now))
    return state.with_stored(body)


def test_a_fresh_run_has_nothing_to_write() -> None:
    assert fresh("a").status_patch(NOW) == {}
    assert fresh("a").metadata_patch() == {}


def test_what_is_stored_is_not_written_again() -> None:
    state = stored(fresh("a").began(NOW, {}).step_started("a", NOW))

    assert state.status_patch(LATER) == {}


def test_one_patch_carries_the_end_of_a_step_and_the_start_of_the_next() -> None:
    state = stored(fresh("a", "b").began(NOW, {}).step_started("a", NOW))
    state = state.step_ended("a", OK, LATER).step_started("b", LATER)

    patch = state.status_patch(LATER)

    assert patch["stepStates"] == {
        "a": {"phase": "Succeeded", "reason": "Completed", "finishedAt": "2026-01-02T03:05:35Z"},
        "b": {"phase": "Running", "reason": "Running", "startedAt": "2026-01-02T03:05:35Z"},
    }
    assert patch.keys() == {"stepStates", "stepsComplete", "completed", "active"}


def test_a_terminal_step_never_changes() -> None:
    state = fresh("a").step_ended("a", OK, NOW)

    assert state.step_ended("a", Verdict(Phase.FAILED, "no"), LATER) is state
    assert state.step_started("a", LATER) is state


def test_a_terminal_run_never_changes() -> None:
    state = stored(fresh("a").began(NOW, {}).step_ended("a", OK, NOW).concluded(DONE, LATER))

    assert state.concluded(Conclusion(Phase.FAILED, Reason.STOPPED, "no"), LATER) is state
    assert state.step_started("b", LATER).status_patch(LATER) == {}


def test_every_failing_phase_counts_as_failed_and_only_declared_steps_count() -> None:
    state = fresh("a", "b", "c", "d", allowed=frozenset({"b"})).began(NOW, {})
    for name, phase in (("a", Phase.TIMEOUT), ("b", Phase.CANCELED), ("c", Phase.SKIPPED), ("branch", Phase.FAILED)):
        state = state.step_ended(name, Verdict(phase, "why"), NOW)

    patch = state.status_patch(NOW)

    counters = {key: patch[key] for key in ("stepsTotal", "stepsComplete", "stepsFailed", "stepsSkipped")}
    assert counters == {"stepsTotal": 4, "stepsComplete": 0, "stepsFailed": 2, "stepsSkipped": 1}
    assert (patch["allowedFailures"], patch["completed"], patch.get("active")) == (["b"], ["b", "c"], None)
    assert "branch" not in patch["stepStates"]


def test_an_error_lists_the_failed_steps_in_spec_order() -> None:
    state = fresh("z", "a", "m", allowed=frozenset({"m"})).began(NOW, {})
    for name in ("m", "a", "z"):
        state = state.step_ended(name, Verdict(Phase.FAILED, f"{name} broke"), NOW)
    end = Conclusion(Phase.FAILED, Reason.DEPENDENCY_FAILED, "steps z, a failed", has_error=True)

    assert state.concluded(end, NOW).status_patch(NOW)["error"] == {
        "type": "DependencyFailed",
        "message": "steps z, a failed",
        "failedSteps": [
            {"name": "z", "phase": "Failed", "message": "z broke"},
            {"name": "a", "phase": "Failed", "message": "a broke"},
        ],
    }


def test_attempts_rise_when_running_is_entered_and_tokens_are_a_set() -> None:
    pending = RunState.from_stored(run({"phase": "Pending", "attempts": 1, "triggerTokens": ["story"]}))

    state = pending.began(NOW, {})

    assert (state.attempts, state.tokens) == (2, ("story", "impulse"))
    assert state.began(LATER, {}).attempts == 2
    assert state.began(LATER, {}).started_at == NOW


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (Phase.SUCCEEDED, ("True", "False", "False")),
        (Phase.FAILED, ("False", "False", "True")),
        (Phase.TIMEOUT, ("False", "False", "True")),
        (Phase.ABORTED, ("False", "False", "True")),
        (Phase.FINISHED, ("False", "False", "False")),
    ],
)
def test_conditions_follow_the_phase(phase: Phase, words: tuple[str, ...]) -> None:
    end = Conclusion(phase, Reason.STOPPED, "because")
    conditions = fresh("a").began(NOW, {}).concluded(end, LATER).status_patch(LATER)["conditions"]

    assert [condition["type"] for condition in conditions] == ["Ready", "Progressing", "Degraded"]
    assert tuple(condition["status"] for condition in conditions) == words


def test_long_messages_are_cut_to_what_the_api_server_accepts() -> None:
    end = Conclusion(Phase.FAILED, Reason.VALIDATION_FAILED, "x" * 9000)
    state = fresh("a").step_ended("a", Verdict(Phase.FAILED, "y" * 9000), NOW)

    patch = state.concluded(end, LATER).status_patch(LATER)

    assert len(patch["message"]) == 2048
    assert len(patch["stepStates"]["a"]["message"]) == 1024


def test_a_timer_is_fixed_once_and_kept_until_the_end_of_its_step_is_stored() -> None:
    state = fresh("a", "b").began(NOW, {}).timer_set("a", Timer(TimerKind.SLEEP, LATER))
    assert state.timer_set("a", Timer(TimerKind.SLEEP, LATER + timedelta(hours=1))) is state

    state = stored(state.step_started("a", NOW, Phase.PAUSED))
    state = state.step_ended("a", OK, LATER).timer_set("b", Timer(TimerKind.GATE, LATER + timedelta(seconds=1)))

    text = state.metadata_patch()["annotations"]["runs.bubustack.io/step-timers"]
    assert text == '{"a":{"sleepUntil":"2026-01-02T03:05:35Z"},"b":{"gateTimeoutAt":"2026-01-02T03:05:36Z"}}'
    state = stored(state)
    state = state.timer_set("c", Timer(TimerKind.WAIT, LATER + timedelta(milliseconds=500)))
    text = state.metadata_patch()["annotations"]["runs.bubustack.io/step-timers"]
    assert text == '{"b":{"gateTimeoutAt":"2026-01-02T03:05:36Z"},"c":{"waitTimeoutAt":"2026-01-02T03:05:35.500000Z"}}'


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"a": 7}', '{"a": {"sleepUntil": "soon"}}', "[" * 100_000])
def test_a_damaged_timers_annotation_counts_as_absent(text: str) -> None:
    state = RunState.from_stored(run(annotations={"runs.bubustack.io/step-timers": text}))

    assert state.timers == {}


def test_a_damaged_status_counts_as_absent() -> None:
    status = {"phase": "Nonsense", "startedAt": "yesterday", "stepStates": {"a": {"phase": "Odd"}, "b": 7}}

    state = RunState.from_stored(run(status))

    assert (state.phase, state.started_at, state.steps) == (None, None, {})


def test_a_newer_stored_object_keeps_its_terminal_steps_and_instants() -> None:
    state = fresh("a", "b").began(LATER, {}).step_started("a", LATER).step_started("b", LATER)
    theirs = run(
        {
            "phase": "Running",
            "startedAt": "2026-01-02T03:04:05Z",
            "attempts": 1,
            "triggerTokens": ["other"],
            "stepStates": {
                "a": {"phase": "Succeeded", "reason": "Completed", "startedAt": "2026-01-02T03:04:05Z"},
                "b": {"phase": "Running", "reason": "Running", "startedAt": "2026-01-02T03:04:05Z"},
            },
        },
        resourceVersion="9",
    )

    state = state.rebased(theirs)
    patch = state.status_patch(LATER)

    assert "stepStates" not in patch
    assert "startedAt" not in patch
    assert (patch["stepsComplete"], patch["active"]) == (1, ["b"])
    assert patch["triggerTokens"] == ["other", "story", "impulse"]
    assert state.step("a") is not None
    assert state.phases == {"a": Phase.RUNNING, "b": Phase.RUNNING}  # their own tasks notice their ends


def test_what_another_process_has_started_before_us_keeps_its_start() -> None:
    """The other process stored its record after we had read the run, and before we had anything to record."""
    started = {"phase": "Running", "startedAt": "2026-01-02T03:04:05Z"}
    queued = started | {"phase": "Pending"}
    states = {"a": started, "b": started, "c": queued}
    theirs = run(started | {"attempts": 1, "stepStates": states}, resourceVersion="9")

    state = fresh("a", "b", "c").rebased(theirs).began(LATER, {}).step_started("a", LATER).step_started("c", LATER)
    state = state.step_ended("b", Verdict(Phase.SUCCEEDED, started_at=LATER), LATER)

    assert state.started_at == NOW
    assert state.steps is not None
    assert {name: step.started_at for name, step in state.steps.items()} == {"a": NOW, "b": NOW, "c": LATER}


BEGUN = {"phase": "Running", "startedAt": "2026-01-02T03:04:05Z", "attempts": 1, "storyRevision": "s-1"}


@pytest.mark.parametrize(
    ("now", "overtaken"),
    [
        ({}, False),
        ({"stepStates": {"a": {"phase": "Succeeded"}, "odd": 7}}, False),
        ({"stepStates": {"a": {"phase": "Running"}, "b": {"phase": "Running"}}}, True),
        ({"storyRevision": "s-2"}, True),
        ({"startedAt": "2026-01-02T03:09:05Z"}, True),
        ({"startedAt": None}, True),  # a redrive was requested
        ({"attempts": 2}, True),  # and the run began again within the same second
        ({"conditions": [{"type": "Ready", "status": "False", "reason": "TimedOut"}]}, True),
    ],
)
def test_a_run_that_another_process_has_brought_elsewhere_has_overtaken_us(
    now: dict[str, Any], overtaken: bool
) -> None:
    state = RunState.from_stored(run(BEGUN)).step_started("a", NOW)

    assert state.is_overtaken_by(run(BEGUN | now, resourceVersion="9")) is overtaken


def test_an_end_that_we_have_announced_ourselves_overtakes_nothing() -> None:
    state = RunState.from_stored(run(BEGUN)).ending(Reason.CANCELED, "Ending")
    theirs = run(BEGUN | {"conditions": [{"type": "Ready", "status": "False", "reason": "Canceled"}]})

    assert not state.is_overtaken_by(theirs)
    assert not state.concluded(Conclusion(Phase.FINISHED, Reason.CANCELED, "It was"), LATER).is_overtaken_by(theirs)


def test_a_container_clock_ahead_of_ours_does_not_end_a_step_before_it_starts() -> None:
    state = fresh("a").step_started("a", LATER).step_ended("a", Verdict(Phase.SUCCEEDED, finished_at=NOW), NOW)

    step = state.step("a")
    assert step is not None
    assert step.finished_at == LATER


def test_a_condition_alone_is_no_reason_for_a_write() -> None:
    state = stored(fresh("a").began(NOW, {}))
    body = dict(state.stored)
    body["status"] = {**body["status"], "conditions": [{"type": "Degraded", "status": "True", "reason": "EngineError"}]}

    assert state.with_stored(body).status_patch(LATER) == {}
    assert "conditions" in state.with_stored(body).step_started("a", LATER).status_patch(LATER)


def test_what_the_go_operator_recorded_of_branches_goes_with_the_end_of_the_run() -> None:
    states = {"fan": {"phase": "Running"}, "left": {"phase": "Running"}}
    state = RunState.from_stored(run({"phase": "Running", "stepStates": states, "attempts": 1})).planned(
        ("fan",), frozenset()
    )
    under_way = stored(state.began(NOW, {}).step_started("fan/left", NOW))
    ended = stored(under_way.step_ended("fan/left", OK, NOW).step_ended("fan", OK, NOW).concluded(DONE, NOW))

    assert sorted(under_way.stored["status"]["stepStates"]) == ["fan", "fan/left", "left"]
    assert sorted(ended.stored["status"]["stepStates"]) == ["fan", "fan/left"]
