"""Where the time of a run was spent, and how that is shown."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.render.bars import bars
from cli.render.trace import document_of, trace_of
from core.api.objects import Object
from views.timeline import Activity, Timeline, timeline_of
from views.why.cause import Facts

START = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
NOW = START + timedelta(seconds=100)


def at(seconds: int) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_story(*steps: Object) -> Object:
    return {"metadata": {"name": "report"}, "spec": {"steps": list(steps)}}


def a_run(states: Object, name: str = "report-1", **status: Any) -> Object:
    return {
        "metadata": {"namespace": "team", "name": name},
        "spec": {"storyRef": {"name": "report"}},
        "status": {"phase": "Running", "startedAt": at(0), "stepStates": states, **status},
    }


def state(phase: str, began: int, ended: int | None = None, **more: str) -> Object:
    return {"phase": phase, "startedAt": at(began), **({"finishedAt": at(ended)} if ended is not None else {}), **more}


ENGRAM = {"name": "fetch", "ref": {"name": "worker"}}


def of_engram(
    step_state: Object, *, made: int, pod: Object | None = None, **status: Any
) -> list[tuple[Activity, int, int]]:
    step_run = {
        "metadata": {"name": "report-1-fetch", "creationTimestamp": at(made)},
        "spec": {"stepId": "fetch"},
        "status": status,
    }
    pods = {"report-1-fetch": pod} if pod else {}
    return spans(timeline_of(Facts(a_run({"fetch": step_state}), a_story(ENGRAM), {"fetch": step_run}, pods=pods), NOW))


def a_pod(made: int, scheduled: int | None = None, container: Object | None = None) -> Object:
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(scheduled)}] if scheduled else []
    return {
        "metadata": {"name": "p", "creationTimestamp": at(made), "labels": {"bubustack.io/steprun": "report-1-fetch"}},
        "status": {
            "conditions": conditions,
            "containerStatuses": [{"name": "engram", "state": container}] if container else [],
        },
    }


def spans(timeline: Timeline, row: int = 0) -> list[tuple[Activity, int, int]]:
    return [
        (span.activity, int((span.began_at - START).total_seconds()), int((span.ended_at - START).total_seconds()))
        for span in timeline.rows[row].spans
    ]


def test_an_attempt_is_queued_started_and_run() -> None:
    ended = {"terminated": {"startedAt": at(20), "finishedAt": at(50), "exitCode": 0}}

    assert of_engram(state("Succeeded", 5, 50), made=10, pod=a_pod(10, 12, ended)) == [
        (Activity.QUEUED, 5, 12),
        (Activity.STARTING, 12, 20),
        (Activity.RUNNING, 20, 50),
    ]


def test_earlier_attempts_are_one_span_before_the_last_one() -> None:
    runs = {"running": {"startedAt": at(63)}}

    found = of_engram(state("Running", 0), made=0, pod=a_pod(60, 61, runs), retries=2)

    assert found == [
        (Activity.RETRIES, 0, 60),
        (Activity.QUEUED, 60, 61),
        (Activity.STARTING, 61, 63),
        (Activity.RUNNING, 63, 100),
    ]


def test_listed_attempts_are_separate_spans_with_the_pauses_between_them() -> None:
    failed = [{"number": 0, "finishedAt": at(20), "retryAt": at(25)}, {"number": 1, "finishedAt": at(50)}]
    runs = {"running": {"startedAt": at(63)}}

    found = of_engram(
        state("Running", 0),
        made=0,
        pod=a_pod(60, 61, runs),
        retries=2,
        failedAttempts=[failed[0], {**failed[1], "retryAt": at(58)}],
    )

    assert found == [
        (Activity.RETRIES, 0, 20),
        (Activity.BACKOFF, 20, 25),
        (Activity.RETRIES, 25, 50),
        (Activity.BACKOFF, 50, 58),
        (Activity.QUEUED, 58, 61),
        (Activity.STARTING, 61, 63),
        (Activity.RUNNING, 63, 100),
    ]


def test_a_pause_before_the_next_attempt_lasts_until_now() -> None:
    failed = {"number": 0, "finishedAt": at(20), "retryAt": at(250)}

    found = of_engram(state("Running", 0), made=0, retries=1, failedAttempts=[failed], nextRetryAt=at(250))

    assert found == [(Activity.RETRIES, 0, 20), (Activity.BACKOFF, 20, 100)]


def test_after_a_retry_of_the_run_only_its_last_execution_has_bars() -> None:
    states = {"fetch": state("Succeeded", -90, -50), "approve": state("Paused", 10)}
    story = a_story(ENGRAM, {"name": "approve", "type": "gate"})
    timeline = timeline_of(Facts(a_run(states, attempts=2), story), NOW)

    assert spans(timeline) == []
    assert spans(timeline, 1) == [(Activity.GATE, 10, 100)]
    lines = [line for line, _ in bars(timeline, width=60)]
    assert lines[0] == "report-1  Running  1m40s so far  execution 2"
    assert lines[2].split() == ["fetch", "earlier", "execution"]
    document = document_of(timeline)
    assert (document["execution"], [step["isEarlier"] for step in document["steps"]]) == (2, [True, False])


def test_what_is_not_over_goes_on_until_now() -> None:
    assert of_engram(state("Running", 0), made=0, pod=a_pod(0)) == [(Activity.QUEUED, 0, 100)]
    assert of_engram(state("Running", 0), made=0, pod=a_pod(0, 5)) == [
        (Activity.QUEUED, 0, 5),
        (Activity.STARTING, 5, 100),
    ]
    assert of_engram(state("Running", 0), made=0, nextRetryAt=at(110)) == [(Activity.RETRIES, 0, 100)]


def test_once_the_pods_are_gone_a_step_is_one_span() -> None:
    assert of_engram(state("Succeeded", 0, 30), made=0) == [(Activity.RUNNING, 0, 30)]


def test_a_clock_that_is_wrong_makes_no_span_negative() -> None:
    ended = {"terminated": {"startedAt": at(-3600), "finishedAt": at(3600), "exitCode": 0}}

    found = of_engram(state("Succeeded", 0, 30), made=2, pod=a_pod(3, 4, ended))

    assert found[-1] == (Activity.RUNNING, 4, 30)
    assert all(ends >= began for _, began, ends in found)


@pytest.mark.parametrize(
    ("step", "activity"),
    [
        ({"name": "x", "type": "gate"}, Activity.GATE),
        ({"name": "x", "type": "wait"}, Activity.WAIT),
        ({"name": "x", "type": "sleep"}, Activity.SLEEP),
        ({"name": "x", "type": "parallel"}, Activity.BRANCHES),
        ({"name": "x", "type": "executeStory"}, Activity.CHILD),
    ],
)
def test_a_primitive_is_what_it_is_from_beginning_to_end(step: Object, activity: Activity) -> None:
    timeline = timeline_of(Facts(a_run({"x": state("Paused", 10)}), a_story(step)), NOW)

    assert spans(timeline) == [(activity, 10, 100)]


def test_a_step_that_waits_for_a_slot_is_queued() -> None:
    waits = state("Pending", 10, message="Queued due to story concurrency limit (1 running, limit 1)")

    assert spans(timeline_of(Facts(a_run({"fetch": waits}), a_story(ENGRAM)), NOW)) == [(Activity.QUEUED, 10, 100)]


def test_child_runs_and_branches_stand_below_their_step() -> None:
    fan = {"name": "fan", "type": "parallel", "with": {"steps": [{"name": "sub", "type": "executeStory"}]}}
    states = {"fan": state("Running", 0), "fan/sub": state("Running", 1, subStoryRunName="report-1-fan-sub")}
    child = Facts(a_run({"go": state("Paused", 3)}, "report-1-fan-sub"), a_story({"name": "go", "type": "gate"}))

    timeline = timeline_of(Facts(a_run(states), a_story(fan), children={"fan/sub": child}), NOW)

    assert [(row.run, row.step, row.depth) for row in timeline.rows] == [
        ("report-1", "fan", 0),
        ("report-1", "fan/sub", 1),
        ("report-1-fan-sub", "go", 2),
    ]


ALL = Facts(
    a_run(
        {
            "fetch": state("Succeeded", 0, 50),
            "approve": state("Paused", 50),
            "blink": state("Succeeded", 50, 50),
        }
    ),
    a_story(
        ENGRAM,
        {"name": "approve", "type": "gate"},
        {"name": "blink", "type": "condition"},
        {"name": "later", "type": "stop"},
    ),
)


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("ascii_only", [True, False], ids=["ascii", "signs"])
def test_bars_fill_the_width_and_never_exceed_it(width: int, ascii_only: bool) -> None:
    lines = [line for line, _ in bars(timeline_of(ALL, NOW), width=width, ascii_only=ascii_only)]

    assert max(map(len, lines[1:])) == width
    assert all(line.isascii() for line in lines) or not ascii_only


def test_bars_show_where_in_the_run_each_step_was() -> None:
    lines = [line for line, _ in bars(timeline_of(ALL, NOW), width=37, ascii_only=True)]

    assert lines == [
        "report-1  Running  1m40s so far",
        "                 0              1m40s",
        "fetch        50s ##########",
        "approve      50s           ==========",
        "blink        <1s           #",
        "later",
        "",
        "# running   = gate",
    ]


def test_attempts_are_counted_before_the_bar() -> None:
    step_run = {"metadata": {"name": "report-1-fetch"}, "spec": {"stepId": "fetch"}, "status": {"retries": 2}}
    timeline = timeline_of(replace(ALL, step_runs={"fetch": step_run}), NOW)

    assert [line[:21] for line, _ in bars(timeline, width=60)][2:4] == [
        "fetch        50s ×3 █",
        "approve      50s     ",
    ]


def test_a_step_that_timed_out_says_how_much_of_the_processor_it_had_used() -> None:
    step_run = {"metadata": {"name": "report-1-fetch"}, "spec": {"stepId": "fetch"}, "status": {}}
    used = "container engram was ended; it had used 3.2 s of processor in 50 s"
    timeline = timeline_of(replace(ALL, step_runs={"fetch": step_run}, processor={"report-1-fetch": used}), NOW)

    assert f"fetch: {used}" in [line for line, _ in bars(timeline, width=60)]
    assert [row["used"] for row in document_of(timeline)["steps"]] == [used, None, None, None]


def test_a_run_that_has_not_begun_has_no_bars() -> None:
    run = {**a_run({}), "status": {}}

    assert bars(timeline_of(Facts(run, None), NOW), width=80) == [("report-1  Pending  has not begun", "bold")]


def test_as_data_each_span_tells_its_seconds() -> None:
    document = document_of(timeline_of(ALL, NOW))

    assert document["finishedAt"] is None
    assert document["steps"][0]["spans"] == [
        {"activity": "running", "startedAt": at(0), "finishedAt": at(50), "seconds": 50.0}
    ]
    assert document["steps"][3]["spans"] == []


def test_as_a_trace_each_run_is_a_process_and_each_step_a_thread() -> None:
    child = Facts(a_run({"go": state("Succeeded", 3, 5)}, "report-1-sub"), a_story({"name": "go", "type": "gate"}))
    states = {"sub": state("Succeeded", 1, 6, subStoryRunName="report-1-sub")}
    facts = Facts(a_run(states), a_story({"name": "sub", "type": "executeStory"}), children={"sub": child})

    trace = json.loads(json.dumps(trace_of(timeline_of(facts, NOW))))

    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    names = {event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "process_name"}
    assert names == {"StoryRun report-1", "StoryRun report-1-sub"}
    assert [(event["pid"], event["tid"], event["cat"]) for event in events] == [(1, 1, "child"), (2, 2, "gate")]
    assert events[1]["ts"] == int(START.timestamp() * 1_000_000) + 3_000_000
    assert events[1]["dur"] == 2_000_000


LOOP = {
    "name": "refine",
    "type": "executeStory",
    "with": {"storyRef": {"name": "draft"}, "until": "true", "maxIterations": 5},
}


def an_iteration(number: int, began: int, ended: int | None) -> Facts:
    step = state("Succeeded" if ended is not None else "Running", began, ended)
    ends: dict[str, Any] = {"phase": "Succeeded", "finishedAt": at(ended)} if ended is not None else {}
    return Facts(a_run({"write": step}, f"report-1-refine-{number}", **{"startedAt": at(began), **ends}), None)


def test_each_iteration_of_a_loop_has_its_row_and_its_steps_below() -> None:
    facts = Facts(
        a_run({"refine": state("Running", 0)}),
        a_story(LOOP),
        children={"refine": an_iteration(10, 60, None)},
        earlier_children={"refine": (an_iteration(9, 30, 60), an_iteration(1, 0, 30))},
    )

    timeline = timeline_of(facts, NOW)

    assert [(row.run, row.step, row.iteration, row.depth) for row in timeline.rows] == [
        ("report-1", "refine", 0, 0),
        ("report-1-refine-1", "", 1, 1),
        ("report-1-refine-1", "write", 0, 2),
        ("report-1-refine-9", "", 9, 1),
        ("report-1-refine-9", "write", 0, 2),
        ("report-1-refine-10", "", 10, 1),
        ("report-1-refine-10", "write", 0, 2),
    ]
    assert spans(timeline, 3) == [(Activity.CHILD, 30, 60)]
    lines = [line.split()[:2] for line, _ in bars(timeline, width=60)]
    assert ["iteration", "9"] in lines
    assert [step["iteration"] for step in document_of(timeline)["steps"]] == [None, 1, None, 9, None, 10, None]
    names = [event["args"]["name"] for event in trace_of(timeline)["traceEvents"] if event["name"] == "thread_name"]
    assert names[1] == "iteration 1"
