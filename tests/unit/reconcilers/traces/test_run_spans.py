"""The spans of a run follow from what is recorded of it, and fit into each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from core.api.objects import Object
from core.engine.status.state import RunState
from core.telemetry.tracing.run_trace import TraceRules, run_trace
from core.telemetry.tracing.trace_span import TraceSpan
from reconcilers.traces.run_spans import TracedRun, TracedStep, failed_attempt_spans, run_spans, step_spans
from reconcilers.traces.seen_instants import Sight
from tests.unit.reconcilers.reconciler_samples import run, step_run

ON = TraceRules(records=True)
CREATED = "2026-01-01T00:00:00Z"


def at(second: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)


def wire(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}Z"


def created(obj: Object, second: int, **status: Any) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "creationTimestamp": wire(second)}, "status": status}


def traced(seen: Sight | None = None, live: RunState | None = None, **status: Any) -> TracedRun:
    obj = created(run(), 0, **status)
    return TracedRun(obj, run_trace(obj, ON), live, seen or Sight())


def entry(started: int, finished: int, **fields: Any) -> Object:
    return {"phase": "Succeeded", "startedAt": wire(started), "finishedAt": wire(finished), **fields}


def one(spans: list[TraceSpan], name: str) -> TraceSpan:
    [span] = [each for each in spans if each.name == name]
    return span


def test_a_run_begins_with_its_creation_and_its_turn_is_a_part_of_it() -> None:
    facts = traced(phase="Succeeded", startedAt=wire(4), finishedAt=wire(9), attempts=1)
    spans = list(run_spans(facts))
    root, queued = one(spans, f"run {run()['spec']['storyRef']['name']}"), one(spans, "queued")
    assert (root.started_at, root.ended_at, root.parent_id) == (at(0), at(9), "")
    assert (queued.started_at, queued.ended_at, queued.parent_id) == (at(0), at(4), root.span_id)
    assert root.succeeded
    assert root.attributes["phase"] == "Succeeded"


def test_a_run_that_has_not_ended_has_no_span_yet() -> None:
    assert list(run_spans(traced(phase="Running", startedAt=wire(4)))) == []


def test_what_this_process_has_seen_refines_the_recorded_second_and_nothing_else() -> None:
    exact = traced(Sight(created_at=at(0.25)), phase="Succeeded", startedAt=wire(4), finishedAt=wire(9))
    late = traced(Sight(created_at=at(30)), phase="Succeeded", startedAt=wire(4), finishedAt=wire(9))
    assert [list(run_spans(facts))[-1].started_at for facts in (exact, late)] == [at(0.25), at(0)]


def test_a_step_has_the_exact_instants_of_the_process_that_recorded_it() -> None:
    status: Object = {"phase": "Running", "stepStates": {"a": entry(1, 2)}}
    live = RunState.from_stored(created(run(), 0, **status)).planned(["a"], frozenset())
    step = live.step("a")
    assert step is not None
    facts = traced(live=live, **status)
    [span] = step_spans(facts, "a", TracedStep(kind="sleep"))
    assert (span.started_at, span.ended_at, span.attributes["step_type"]) == (at(1), at(2), "sleep")
    assert span.parent_id == facts.trace.root_id


def test_a_branch_is_below_its_step() -> None:
    facts = traced(stepStates={"fan/left": entry(1, 2)})
    [span] = step_spans(facts, "fan/left", TracedStep())
    assert (span.name, span.parent_id) == ("step fan/left", facts.trace.step_id("fan"))


def test_the_wait_for_a_slot_is_a_part_of_the_step() -> None:
    spans = list(step_spans(traced(stepStates={"a": entry(5, 7, queuedAt=wire(2))}), "a", TracedStep()))
    assert (one(spans, "queued").started_at, one(spans, "queued").ended_at) == (at(2), at(5))
    assert one(spans, "step a").started_at == at(2)


def test_a_skipped_step_has_no_length() -> None:
    facts = traced(stepStates={"a": {"phase": "Skipped", "reason": "ConditionFalse", "finishedAt": wire(3)}})
    [span] = step_spans(facts, "a", TracedStep(kind="engram"))
    assert (span.started_at, span.ended_at) == (at(3), at(3))
    assert span.attributes["reason"] == "ConditionFalse"


def failing(**status: Any) -> TracedStep:
    attempts = [
        {"number": 0, "finishedAt": "2026-01-01T00:00:03.5Z", "retryAt": "2026-01-01T00:00:05Z", "exitCode": 137},
        {"number": 1, "finishedAt": "2026-01-01T00:00:06Z", "retryAt": "2026-01-01T00:00:20Z", "message": "no"},
    ]
    return TracedStep(created(step_run(run()), 1, retries=2, failedAttempts=attempts, **status))


def test_attempts_follow_each_other_with_the_waits_between_them() -> None:
    step = failing(phase="Succeeded", finishedAt=wire(25), podName="pod-1")
    facts = traced(stepStates={"fetch": entry(1, 25)})
    spans = list(step_spans(facts, "fetch", step))
    parts = [(span.name, span.started_at, span.ended_at) for span in spans[1:]]
    assert parts == [
        ("attempt 1", at(1), at(3.5)),
        ("retry wait", at(3.5), at(5)),
        ("attempt 2", at(5), at(6)),
        ("retry wait", at(6), at(20)),
        ("attempt 3", at(20), at(25)),
    ]
    assert {span.parent_id for span in spans[1:]} == {facts.trace.step_id("fetch")}
    assert [span.span_id for span in spans[1::2]] == [facts.trace.attempt_id("fetch", n) for n in range(3)]
    assert one(spans, "attempt 1").attributes["exit_code"] == 137
    assert one(spans, "attempt 2").error == "no"
    assert one(spans, "attempt 3").attributes["pod"] == "pod-1"


def test_a_step_that_ends_while_it_waits_for_a_retry_has_no_further_attempt() -> None:
    step = failing(phase="Canceled", finishedAt=wire(8))
    spans = list(step_spans(traced(stepStates={"fetch": entry(1, 8)}), "fetch", step))
    assert [span.name for span in spans] == ["step fetch", "attempt 1", "retry wait", "attempt 2", "retry wait"]
    assert all(span.ended_at <= spans[0].ended_at for span in spans)


def test_a_failed_attempt_can_be_told_before_its_step_ends() -> None:
    facts = traced(stepStates={"fetch": {"phase": "Running", "startedAt": wire(1)}})
    [span] = failed_attempt_spans(facts, "fetch", failing(phase="Pending"), 1)
    assert (span.name, span.span_id) == ("attempt 2", facts.trace.attempt_id("fetch", 1))


def test_a_step_whose_output_comes_from_the_cache_has_no_attempt() -> None:
    step = TracedStep(created(step_run(run()), 1, phase="Succeeded", cached=True, finishedAt=wire(1)))
    [span] = step_spans(traced(stepStates={"fetch": entry(1, 1)}), "fetch", step)
    assert span.attributes["cached"] is True


def test_a_step_that_fails_before_its_first_attempt_has_none() -> None:
    step = TracedStep(created(step_run(run()), 1, phase="Failed", finishedAt=wire(2)))
    state = entry(1, 2, phase="Failed", message="the input does not fit: Bearer abcdefgh12345678")
    [span] = step_spans(traced(stepStates={"fetch": state}), "fetch", step)
    assert span.error == "the input does not fit: Bearer [redacted]"


def test_damaged_records_cost_spans_and_nothing_else() -> None:
    states: Object = {"a": {"phase": "Succeeded"}, "b": "text", "c": {"phase": 7, "finishedAt": wire(1)}}
    facts = traced(phase="Failed", finishedAt="yesterday", stepStates=states)
    assert list(run_spans(facts)) == []
    assert [span for path in states for span in step_spans(facts, path, TracedStep())] == []
    step = TracedStep(created(step_run(run()), 1, phase="Failed", finishedAt=wire(2), failedAttempts=["x", {}, 3]))
    assert list(failed_attempt_spans(facts, "fetch", step, 0)) == []
