"""The place of a run in a trace follows from what is stored of it, so every process finds the same."""

from __future__ import annotations

from typing import Any

from core.api import keys
from core.api.objects import Object
from core.telemetry.tracing.run_trace import (
    OFF,
    TraceRules,
    context_for_attempt,
    context_for_child,
    run_trace,
    with_trace,
)
from core.telemetry.tracing.sampler import Sampler
from core.telemetry.tracing.trace_parent import parse_trace_parent
from tests.unit.reconcilers.reconciler_samples import run, step_run

ON = TraceRules(records=True, propagates=True)
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def annotated(**annotations: str) -> Object:
    obj = run()
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def called(**annotations: str) -> Object:
    """A run that another run has started."""
    obj = annotated(**annotations)
    owner = {"kind": "StoryRun", "name": "parent", "uid": "p", "controller": True}
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": [owner]}}


def with_status(obj: Object, **status: Any) -> Object:
    return {**obj, "status": status}


def test_a_run_without_a_caller_begins_a_trace_of_its_own() -> None:
    trace = run_trace(run(), ON)
    assert trace.above_root == ""
    assert trace == run_trace(with_status(run(), phase="Running", startedAt="2026-01-01T00:00:00Z"), ON)


def test_every_part_of_a_run_has_another_id() -> None:
    trace = run_trace(run(), ON)
    ids = [trace.root_id, trace.queue_id(), trace.queue_id("a"), trace.step_id("a"), trace.step_id("a/b")]
    ids += [trace.attempt_id("a", 0), trace.attempt_id("a", 1), trace.retry_id("a", 1), trace.attempt_id("a/0", 0)]
    assert len(set(ids)) == len(ids)
    assert trace.above_step("a/b") == trace.step_id("a")
    assert trace.above_step("a") == trace.root_id


def test_the_caller_in_an_annotation_is_above_the_run_if_contexts_are_propagated() -> None:
    obj = annotated(**{keys.ANNOTATION_TRACE_PARENT: CALLER, keys.ANNOTATION_TRACE_STATE: "vendor=1"})
    trace = run_trace(obj, ON)
    assert (trace.trace_id, trace.above_root, trace.state) == (CALLER[3:35], CALLER[36:52], "vendor=1")
    assert run_trace(obj, TraceRules(records=True)).above_root == ""


def test_a_run_that_a_step_has_started_is_below_that_step_in_any_case() -> None:
    parent = run_trace(run(), ON)
    child = called(**context_for_child(run(), "fan/a", TraceRules(records=True)))
    trace = run_trace(child, TraceRules(records=True))
    assert (trace.trace_id, trace.above_root) == (parent.trace_id, parent.step_id("fan/a"))


def test_what_is_recorded_counts_more_than_the_settings_of_today() -> None:
    recorded = {"traceId": "c" * 32, "spanId": "d" * 16, "sampled": False}
    trace = run_trace(with_status(annotated(**{keys.ANNOTATION_TRACE_PARENT: CALLER}), trace=recorded), ON)
    assert (trace.trace_id, trace.sampled, trace.above_root) == ("c" * 32, False, "")


def test_a_damaged_record_counts_as_absent() -> None:
    plain = run_trace(run(), ON)
    for damaged in ({"traceId": "zz"}, {"traceId": 7, "sampled": "yes"}, "text", {"traceId": "0" * 32}):
        assert run_trace(with_status(run(), trace=damaged), ON) == plain


def test_a_redrive_is_below_the_first_span_and_has_steps_of_its_own() -> None:
    first, again = run_trace(run(), ON), run_trace(annotated(**{keys.ANNOTATION_REDRIVE_OBSERVED: "token"}), ON)
    assert (again.trace_id, again.first_id, again.above_root) == (first.trace_id, first.root_id, first.root_id)
    assert again.root_id != first.root_id
    assert again.step_id("a") != first.step_id("a")


def test_a_container_gets_the_span_of_its_attempt() -> None:
    context = context_for_attempt(run(), "fetch", 2, ON)
    parent = parse_trace_parent(context["traceparent"])
    trace = run_trace(run(), ON)
    assert parent is not None
    assert (parent.trace_id, parent.span_id) == (trace.trace_id, trace.attempt_id("fetch", 2))


def test_a_trace_that_is_not_recorded_says_so_to_containers() -> None:
    rules = TraceRules(records=True, propagates=True, sampler=Sampler(0.0))
    assert context_for_attempt(run(), "fetch", 0, rules)["traceparent"].endswith("-00")


def test_an_operator_that_records_nothing_passes_the_context_of_the_caller_on() -> None:
    rules = TraceRules(propagates=True)
    obj = annotated(**{keys.ANNOTATION_TRACE_PARENT: CALLER, keys.ANNOTATION_BAGGAGE: "user=7"})
    assert context_for_attempt(obj, "fetch", 0, rules) == {"traceparent": CALLER, "baggage": "user=7"}
    assert context_for_child(obj, "call", rules)[keys.ANNOTATION_TRACE_PARENT] == CALLER
    assert context_for_attempt(run(), "fetch", 0, rules) == {}


def test_nothing_is_handed_over_while_tracing_is_off() -> None:
    obj = annotated(**{keys.ANNOTATION_TRACE_PARENT: CALLER})
    assert context_for_attempt(obj, "fetch", 0, OFF) == {}
    assert context_for_child(obj, "call", OFF) == {}
    assert context_for_attempt(obj, "fetch", 0, TraceRules(records=True)) == {}


def test_the_first_phase_records_the_trace_of_a_run_and_of_its_steps() -> None:
    trace, patch = run_trace(run(), ON), {"phase": "Running"}
    assert with_trace(run(), patch, ON, run())["trace"] == trace.status_of(trace.first_id)
    assert with_trace(step_run(run()), patch, ON, run())["trace"]["spanId"] == trace.step_id("fetch")


def test_a_trace_is_recorded_once_and_only_with_a_phase() -> None:
    patch = {"phase": "Running"}
    assert "trace" not in with_trace(with_status(run(), trace={"traceId": "c" * 32}), patch, ON, run())
    assert "trace" not in with_trace(run(), {"stepStates": {}}, ON, run())
    assert "trace" not in with_trace(run(), {"phase": None}, ON, run())
    assert "trace" not in with_trace(run(), patch, OFF, run())
    assert "trace" not in with_trace(step_run(run()), patch, ON, None)
