"""How a run is shown to users."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.render.progress import MAX_ROWS, columns, transitions, tree, whole_tree
from cli.verbs.get import paragraphs_of
from core.api.phases import Phase
from views.run_view import view_run

NOW = datetime(2026, 1, 1, 12, 0, 10, tzinfo=UTC)


def a_run(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "team", "name": "report-1", "creationTimestamp": "2026-01-01T12:00:00Z"},
        "spec": {"storyRef": {"name": "report"}},
        "status": status,
    }


def a_story(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "report"}, "spec": {"steps": list(steps)}}


FETCH = {"name": "fetch", "ref": {"name": "http"}}
SEND = {"name": "send", "ref": {"name": "mail"}, "needs": ["fetch"], "allowFailure": True}


def test_steps_appear_in_spec_order_also_before_they_start() -> None:
    view = view_run(a_run(stepStates={"send": {"phase": "Running"}}), a_story(FETCH, SEND))

    assert [(step.name, step.phase) for step in view.steps] == [("fetch", None), ("send", Phase.RUNNING)]


def test_a_run_without_its_story_shows_the_steps_it_recorded() -> None:
    view = view_run(a_run(stepStates={"old": {"phase": "Succeeded"}}), None)

    assert [step.name for step in view.steps] == ["old"]


def test_done_counts_terminal_steps_only() -> None:
    states = {"fetch": {"phase": "Succeeded"}, "send": {"phase": "Running"}}

    assert view_run(a_run(phase="Running", stepStates=states), a_story(FETCH, SEND)).done == 1


def test_waiting_on_names_the_first_step_and_counts_the_others() -> None:
    states = {"fetch": {"phase": "Running"}, "send": {"phase": "Paused"}}

    assert view_run(a_run(phase="Running", stepStates=states), a_story(FETCH, SEND)).waiting_on() == "fetch (+1)"


def test_an_exit_code_is_shown_once() -> None:
    container = {"version": "v1", "type": "execution_error", "message": "the container exited with code 3: Error"}
    of_sdk = {**container, "message": "no such table", "exitClass": "terminal"}

    def detail(error: dict[str, Any]) -> str:
        step_run = {"spec": {"stepId": "fetch"}, "status": {"phase": "Failed", "exitCode": 3, "error": error}}
        return view_run(a_run(phase="Failed"), a_story(FETCH), [step_run]).steps[0].detail

    assert detail(container) == "the container exited with code 3: Error"
    assert detail(of_sdk) == "exit 3, no such table"
    assert detail({**container, "message": "timed out after 9s", "details": {}}) == "timed out after 9s"


def test_a_step_that_was_not_executed_again_is_of_an_earlier_execution() -> None:
    states = {
        "fetch": {"phase": "Succeeded", "finishedAt": "2026-01-01T11:59:00Z"},
        "send": {"phase": "Running", "startedAt": "2026-01-01T12:00:00Z"},
    }
    run = a_run(phase="Running", startedAt="2026-01-01T12:00:00Z", attempts=2, stepStates=states)
    view = view_run(run, a_story(FETCH, SEND))

    assert [(step.is_earlier, step.detail) for step in view.steps] == [(True, "earlier execution"), (False, "")]
    assert tree(view, NOW, width=80)[0][0] == "report-1  Running  1/2 steps  10s  execution 2"
    assert not view_run(a_run(phase="Running", startedAt=NOW.isoformat(), stepStates=states), None).steps[0].is_earlier


def test_a_failed_step_tells_attempt_exit_code_error_and_permission_to_fail() -> None:
    step_run = {
        "spec": {"stepId": "send"},
        "status": {"retries": 2, "exitCode": 137, "error": {"message": "out of\nmemory"}},
    }
    view = view_run(a_run(phase="Failed", stepStates={"send": {"phase": "Failed"}}), a_story(FETCH, SEND), [step_run])

    assert view.steps[1].detail == "attempt 3, exit 137, allowFailure, out of memory"


def test_a_retried_step_tells_how_many_attempts_it_has() -> None:
    step_run = {"spec": {"stepId": "fetch", "retry": {"maxRetries": 3}}, "status": {"phase": "Pending", "retries": 1}}
    view = view_run(a_run(phase="Running", stepStates={"fetch": {"phase": "Running"}}), a_story(FETCH), [step_run])

    assert view.steps[0].detail == "attempt 2/4"


def test_a_cached_step_says_which_run_has_executed_it() -> None:
    status = {"phase": "Succeeded", "cached": True, "cachedFrom": {"key": "0", "storyRun": "first"}}
    step_run = {"spec": {"stepId": "fetch"}, "status": status}
    view = view_run(a_run(phase="Running", stepStates={"fetch": {"phase": "Succeeded"}}), a_story(FETCH), [step_run])

    assert view.steps[0].detail == "cached, from first"


def test_what_a_program_wrote_cannot_move_the_cursor() -> None:
    states = {"fetch": {"phase": "Failed", "message": "bad\x1b[2Jthing\r\n\ttwice"}}
    view = view_run(a_run(phase="Failed", stepStates=states, message="a\x1bb"), a_story(FETCH))

    assert (view.steps[0].detail, view.message) == ("bad [2Jthing twice", "a b")


def test_an_unknown_phase_word_counts_as_not_started() -> None:
    assert view_run(a_run(phase="Dancing"), a_story(FETCH)).phase is None


def test_duration_runs_until_now_and_never_below_zero() -> None:
    view = view_run(a_run(phase="Running", startedAt="2026-01-01T12:00:00Z"), a_story(FETCH))

    assert view.duration(NOW) == timedelta(seconds=10)
    assert view.duration(NOW - timedelta(hours=1)) == timedelta()


@pytest.mark.parametrize(
    ("recorded", "paragraphs"),
    [
        ({"traceId": "ab" * 16, "spanId": "cd" * 8, "sampled": True}, [f"trace: {'ab' * 16}"]),
        (
            {"traceId": "ab" * 16, "spanId": "cd" * 8, "sampled": False},
            [f"trace: {'ab' * 16} (not exported: the sampler left it out)"],
        ),
        ({"traceId": "\x1b[2J"}, []),
        ("damaged", []),
        (None, []),
    ],
)
def test_the_trace_of_a_run_stands_below_its_steps(recorded: Any, paragraphs: list[str]) -> None:
    view = view_run(a_run(phase="Succeeded", trace=recorded), a_story(FETCH))

    assert list(paragraphs_of(view)) == paragraphs


def test_what_stands_below_the_steps_comes_in_one_order() -> None:
    told = {"message": "one failed", "error": {"type": "StepFailed"}, "output": {"n": 1}}
    view = view_run(a_run(phase="Failed", trace={"traceId": "ab" * 16, "spanId": "", "sampled": True}, **told), None)

    words = [each.partition(":")[0] for each in paragraphs_of(view)]
    assert words == ["message", "trace", "error", "output"]


def test_the_tree_shows_the_word_of_every_phase_and_drops_signs_for_ascii() -> None:
    view = view_run(a_run(phase="Running", stepStates={"fetch": {"phase": "Succeeded"}}), a_story(FETCH, SEND))

    lines = [line for line, _ in tree(view, NOW, width=80, ascii_only=True)]

    assert lines[0] == "report-1  Running  1/2 steps"
    assert lines[1].split() == ["fetch", "Succeeded"]
    assert lines[2].split() == ["send", "Pending", "needs", "fetch"]
    assert all(line.isascii() for line in lines)


def test_the_tree_never_exceeds_the_terminal() -> None:
    states = {"fetch": {"phase": "Failed", "message": "x" * 500}}
    view = view_run(a_run(phase="Failed", stepStates=states), a_story(FETCH))

    assert max(len(line) for line, _ in tree(view, NOW, width=60)[1:]) == 60


def test_permission_to_fail_is_seen_however_long_the_message() -> None:
    states = {"send": {"phase": "Failed", "message": "x" * 500}}
    view = view_run(a_run(phase="Succeeded", stepStates=states), a_story(FETCH, SEND))

    assert "allowFailure, xxx" in tree(view, NOW, width=60)[2][0]


def test_wide_letters_count_as_what_they_take() -> None:
    states = {"fetch": {"phase": "Failed", "message": "失敗" * 100}}
    view = view_run(a_run(phase="Failed", stepStates=states), a_story(FETCH))

    line = tree(view, NOW, width=60)[1][0]

    assert columns(line) in (59, 60)
    assert line.endswith("…")


def test_queue_and_priority_stand_in_the_header_where_the_story_gives_them() -> None:
    story = {**a_story(FETCH)}
    story["spec"]["policy"] = {"queue": "nightly", "priority": 5, "timeouts": {"story": "30m"}}
    view = view_run(a_run(phase="Running", startedAt="2026-01-01T12:00:00Z"), story)

    assert tree(view, NOW, width=100)[0][0] == "report-1  Running  0/1 steps  10s of 30m00s  queue nightly, priority 5"


def test_a_large_story_keeps_rows_for_what_changes_or_fails() -> None:
    steps = [{"name": f"s{index}", "type": "condition"} for index in range(MAX_ROWS + 5)]
    view = view_run(a_run(stepStates={"s3": {"phase": "Failed"}}), a_story(*steps))

    lines = [line for line, _ in tree(view, NOW, width=80)]

    assert len(lines) == 3
    assert "s3" in lines[1]
    assert f"{MAX_ROWS + 4} more" in lines[2]


FAN = {
    "name": "fan",
    "type": "parallel",
    "with": {"steps": [{"name": "a", "ref": {"name": "x"}}, {"name": "ok", "type": "gate"}]},
}
OPEN = {
    "fan": {"phase": "Running"},
    "fan/a": {"phase": "Succeeded"},
    "fan/ok": {"phase": "Paused", "message": "Waiting for approval"},
}


def test_branches_stand_indented_below_their_step_and_do_not_count_as_steps() -> None:
    view = view_run(a_run(phase="Running", stepStates=OPEN), a_story(FETCH, FAN))

    lines = [line for line, _ in tree(view, NOW, width=120)]

    assert lines[0] == "report-1  Running  0/2 steps"
    assert lines[2].split()[:3] == ["●", "fan", "Running"]
    assert lines[2].endswith("1/2 done")
    assert lines[3].startswith("✔   a ")
    assert lines[4].startswith("ǁ   ok ")
    assert view.waiting_on() == "fan/ok"


def test_a_row_that_waits_for_somebody_says_what_to_type_below_itself_where_it_is_too_long() -> None:
    view = view_run(a_run(phase="Running", stepStates=OPEN), a_story(FAN))

    wide = [line for line, _ in tree(view, NOW, width=120)]
    narrow = [line for line, _ in tree(view, NOW, width=60)]

    assert wide[3].endswith("Waiting for approval: bobrapet approve report-1 fan/ok")
    assert narrow[3].endswith("Waiting for approval")
    assert narrow[4] == "    bobrapet approve report-1 fan/ok"
    assert max(map(len, narrow)) <= 60


def test_time_that_is_left_is_told() -> None:
    run = a_run(phase="Running", stepStates={"nap": {"phase": "Paused", "message": "Sleeping until 12:01"}})
    timers = '{"nap": {"sleepUntil": "2026-01-01T12:01:10Z"}}'
    run["metadata"]["annotations"] = {"runs.bubustack.io/step-timers": timers}
    view = view_run(run, a_story({"name": "nap", "type": "sleep"}))

    assert tree(view, NOW, width=100)[1][0].endswith("Sleeping until 12:01 (1m00s left)")


def test_where_there_is_no_room_for_both_the_time_left_is_told_and_not_until_when() -> None:
    message = "Waiting for approval until 2026-01-01T12:01:10Z"
    run = a_run(phase="Running", stepStates={"approve": {"phase": "Paused", "message": message}})
    timers = '{"approve": {"gateTimeoutAt": "2026-01-01T12:01:10Z"}}'
    run["metadata"]["annotations"] = {"runs.bubustack.io/step-timers": timers}
    view = view_run(run, a_story({"name": "approve", "type": "gate"}))

    assert tree(view, NOW, width=70)[1][0].endswith("Waiting for approval (1m00s left)")


def test_a_branch_whose_step_is_not_shown_is_called_by_its_path() -> None:
    many = [{"name": f"s{index}", "type": "condition"} for index in range(MAX_ROWS)]
    states = {"fan": {"phase": "Succeeded"}, "fan/a": {"phase": "Failed"}}
    view = view_run(a_run(stepStates=states), a_story(FAN, *many))

    assert tree(view, NOW, width=80)[1][0].startswith("✖   fan/a ")


def test_the_pod_of_a_branch_is_found_by_its_step_run() -> None:
    step_run = {
        "metadata": {"name": "report-1-fan-a", "annotations": {"runs.bubustack.io/step-path": "fan/a"}},
        "spec": {"stepId": "a"},
        "status": {"phase": "Running"},
    }
    waiting = {"reason": "ErrImagePull", "message": "no such image"}
    pod = {
        "metadata": {"name": "p", "labels": {"bubustack.io/steprun": "report-1-fan-a", "bubustack.io/step": "a"}},
        "status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": waiting}}]},
    }
    view = view_run(a_run(phase="Running"), a_story(FAN, {"name": "a", "ref": {"name": "x"}}), [step_run], [pod])

    assert {step.name: step.waits for step in view.steps if step.waits} == {"fan/a": "ErrImagePull: no such image"}


def test_the_failed_branch_is_what_the_run_failed_with() -> None:
    states = {"fan": {"phase": "Failed"}, "fan/a": {"phase": "Failed"}, "fan/ok": {"phase": "Succeeded"}}
    culprit = view_run(a_run(phase="Failed", stepStates=states), a_story(FAN)).culprit()

    assert culprit is not None
    assert culprit.name == "fan/a"


@pytest.mark.parametrize(
    ("phase", "states", "found"),
    [
        ("Finished", {"fan": "Canceled", "fan/a": "Canceled"}, None),
        ("Failed", {"fan": "Canceled", "fan/a": "Canceled"}, "fan/a"),
        ("Failed", {"fan": "Failed", "fan/a": "Canceled", "fan/ok": "Failed"}, "fan/ok"),
    ],
)
def test_a_canceled_step_made_a_run_fail_only_where_no_other_has(
    phase: str, states: dict[str, str], found: str | None
) -> None:
    run = a_run(phase=phase, stepStates={name: {"phase": each} for name, each in states.items()})
    culprit = view_run(run, a_story(FAN)).culprit()

    assert (culprit.name if culprit is not None else None) == found


def test_a_step_that_is_only_queued_is_not_told_as_a_change_from_pending_to_pending() -> None:
    queued = {"fetch": {"phase": "Pending", "message": "Queued due to story concurrency limit", "startedAt": None}}
    before = view_run(a_run(phase="Running"), a_story(FETCH))
    after = view_run(a_run(phase="Running", stepStates=queued), a_story(FETCH))

    assert transitions(before, after, NOW) == [
        "2026-01-01T12:00:10Z report-1 fetch Pending  Queued due to story concurrency limit"
    ]


def test_very_many_items_at_work_are_told_by_the_step_around_them() -> None:
    each = {"name": "each", "type": "parallel", "with": {"forEach": [], "steps": [{"name": "x", "type": "sleep"}]}}
    states = {"each": {"phase": "Running"}, "each/3": {"phase": "Failed"}}
    states |= {f"each/{n}": {"phase": "Paused"} for n in range(MAX_ROWS + 20) if n != 3}
    view = view_run(a_run(phase="Running", stepStates=states), a_story(each))

    lines = [line for line, _ in tree(view, NOW, width=80)]

    assert [line.split()[1] for line in lines[1:]] == ["each", "3", str(MAX_ROWS + 19)]
    assert lines[1].endswith(f"1/{MAX_ROWS + 20} done, 1 failed")


def fifty(states: dict[str, Any], **status: Any) -> dict[str, Any]:
    """A run of 50 items, of which those not in ``states`` have succeeded."""
    children = {"each": [f"report-1-each-{n}" for n in range(50)]}
    items = {f"each/{n}": {"phase": "Succeeded"} for n in range(50)} | states
    return a_run(primitiveChildren=children, stepStates={"each": {"phase": "Running"}, **items}, **status)


EACH = {"name": "each", "type": "parallel", "with": {"forEach": "{{ inputs.x }}", "steps": [FETCH]}}


def test_a_wide_step_counts_its_items_and_shows_those_that_are_not_well() -> None:
    retried = {
        "metadata": {"name": "report-1-each-8", "annotations": {"runs.bubustack.io/step-path": "each/8"}},
        "spec": {"stepId": "fetch"},
        "status": {"phase": "Pending", "retries": 1},
    }
    states: dict[str, Any] = {"each/7": {"phase": "Failed"}, "each/8": {"phase": "Running"}}
    run = fifty({**states, "each/9": {"phase": "Running"}}, phase="Running")
    view = view_run(run, a_story(EACH), [retried])

    lines = [line for line, _ in whole_tree(view, NOW, folded="bobrapet get report-1 --all")]

    assert lines[1].endswith("48/50 done, 1 failed")
    assert [line.split()[1] for line in lines[2:]] == ["7", "8", "48"]
    assert lines[4] == "  … 48 more steps; all of them with: bobrapet get report-1 --all"
    assert len(whole_tree(view, NOW)) == 52


def test_items_that_have_not_begun_are_counted_too() -> None:
    run = fifty({}, phase="Running")
    for number in range(32, 50):
        del run["status"]["stepStates"][f"each/{number}"]
    run["status"]["stepStates"] |= {f"each/{number}": {"phase": "Running"} for number in range(25, 32)}

    assert tree(view_run(run, a_story(EACH)), NOW, width=80)[1][0].endswith("25/50 done")


def test_a_step_that_has_ended_still_counts_its_items() -> None:
    run = fifty({}, phase="Succeeded")
    run["status"]["stepStates"]["each"] = {"phase": "Succeeded"}

    lines = [line for line, _ in whole_tree(view_run(run, a_story(EACH)), NOW, folded="all")]

    assert lines[1].endswith("50/50 done")
    assert len(lines) == 3


def test_a_canceled_run_says_so_and_one_that_a_step_has_ended_does_not() -> None:
    canceled = a_run(phase="Finished")
    canceled["spec"]["cancelRequested"] = True
    canceled["metadata"]["annotations"] = {"storyrun.bubustack.io/cancel-reason": "wrong\ncity"}
    view = view_run(canceled, a_story(FETCH))

    assert (view.word, view.cancel_reason) == ("Finished (canceled)", "wrong city")
    assert tree(view, NOW, width=80)[0][0].startswith("report-1  Finished (canceled)  ")
    assert view_run(a_run(phase="Finished"), a_story(FETCH)).word == "Finished"


def test_transitions_give_one_line_per_change_and_none_without_change() -> None:
    before = view_run(a_run(phase="Running", stepStates={"fetch": {"phase": "Running"}}), a_story(FETCH))
    after = view_run(a_run(phase="Succeeded", stepStates={"fetch": {"phase": "Succeeded"}}), a_story(FETCH))

    assert transitions(before, after, NOW) == [
        "2026-01-01T12:00:10Z report-1 fetch Running→Succeeded",
        "2026-01-01T12:00:10Z report-1 Running→Succeeded",
    ]
    assert transitions(after, after, NOW) == []


def test_a_run_is_seen_to_begin_before_its_steps() -> None:
    step_run = {"spec": {"stepId": "fetch"}, "status": {"phase": "Running"}}

    assert view_run(a_run(), a_story(FETCH), [step_run]).steps[0].phase is None
    assert view_run(a_run(phase="Running"), a_story(FETCH), [step_run]).steps[0].phase is Phase.RUNNING
