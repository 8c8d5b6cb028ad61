"""The trace of a run, from the operator to a collector: one tree, whoever works for the run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import trio

from core.api import keys
from core.api.objects import Object
from core.api.resource import STEP_RUN, STORY_RUN
from core.ownership.ownership import WHOLE_CLUSTER
from core.policy.settings import OperatorSettings
from core.telemetry.otlp.otlp_settings import OtlpSettings, QueueLimits
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, status_of, step
from tests.integration.span_collector import ReceivedSpan, SpanCollector, collecting
from views.trace_view import trace_view

ON = OperatorSettings(tracing_enabled=True, trace_propagation=True)
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def otlp(collector: SpanCollector) -> OtlpSettings:
    return OtlpSettings(collector.endpoint, {"x-key": "k"}, limits=QueueLimits(delay_seconds=0.05))


async def arrived(world: OperatorCluster, collector: SpanCollector, *names: str) -> None:
    async def all_there() -> bool:
        return all(collector.named(name) for name in names)

    try:
        await world.eventually(all_there)
    except trio.TooSlowError:
        raise AssertionError(f"{names} did not all come, but: {collector.spans}") from None


def parent_of(span: ReceivedSpan, collector: SpanCollector) -> str:
    return next((each.name for each in collector.spans if each.span_id == span.parent_id), "")


async def test_a_run_is_one_tree_of_steps_attempts_and_child_runs(world: OperatorCluster) -> None:
    await world.engram("greet", 'echo "$TRACEPARENT" > /dev/termination-log; exit 0')
    await world.engram("fail", "exit 137")
    await world.story("inner", step("greet", "greet"))
    call = {"name": "call", "type": "executeStory", "with": {"storyRef": {"name": "inner"}}}
    flaky = step("fail", "fail", allowFailure=True, execution={"retry": {"maxRetries": 1, "delay": "10ms"}})
    await world.story("outer", call, {**flaky, "needs": ["call"]})
    async with collecting() as collector, world.operator(ON, otlp=otlp(collector)):
        await world.run("one", "outer")
        run = await world.finished("one")
        await arrived(world, collector, "run outer", "run inner", "attempt 2")
        step_run = await world.until(STEP_RUN, "one-fail", lambda _: True)

    assert len({span.trace_id for span in collector.spans}) == 1
    assert len({span.span_id for span in collector.spans}) == len(collector.spans)
    assert [span.name for span in collector.spans if not span.parent_id] == ["run outer"]
    places = {(parent_of(span, collector), span.name) for span in collector.spans}
    assert places == {
        ("", "run outer"),
        ("run outer", "queued"),
        ("run outer", "step call"),
        ("step call", "run inner"),
        ("run inner", "queued"),
        ("run inner", "step greet"),
        ("step greet", "attempt 1"),
        ("run outer", "step fail"),
        ("step fail", "attempt 1"),
        ("step fail", "retry wait"),
        ("step fail", "attempt 2"),
    }
    root = collector.one("run outer")
    assert status_of(run)["trace"] == {"traceId": root.trace_id, "spanId": root.span_id, "sampled": True}
    assert status_of(step_run)["trace"]["spanId"] == collector.one("step fail").span_id
    shown = trace_view(run)
    assert shown is not None
    assert (shown.text, shown.span_id) == (root.trace_id, root.span_id)
    assert [each["number"] for each in status_of(step_run)["failedAttempts"]] == [0]
    assert collector.one("step fail").attributes["retries"] == 1
    assert collector.one("step fail").attributes["step_type"] == "engram"
    assert collector.one("step call").attributes["step_type"] == "executeStory"
    assert collector.one("attempt 2").error
    assert all(span.started <= span.ended for span in collector.spans)
    assert collector.headers[0]["x-key"] == "k"


async def test_the_trace_of_the_caller_goes_through_the_run_into_the_container(world: OperatorCluster) -> None:
    report = """printf '{"parent":"%s","state":"%s"}' "$TRACEPARENT" "$TRACESTATE\""""
    await world.engram("tell", report, container={"result": {"from": "stdout"}})
    await world.story("told", step("tell", "tell"))
    annotations = {keys.ANNOTATION_TRACE_PARENT: CALLER, keys.ANNOTATION_TRACE_STATE: "vendor=1"}
    async with collecting() as collector, world.operator(ON, otlp=otlp(collector)):
        await world.run("one", "told", annotations=annotations)
        await world.finished("one")
        await arrived(world, collector, "run told", "attempt 1")
        output = status_of(await world.until(STEP_RUN, "one-tell", lambda _: True))["output"]
    root, attempt = collector.one("run told"), collector.one("attempt 1")
    assert (root.trace_id, root.parent_id) == (CALLER[3:35], CALLER[36:52])
    assert output == {"parent": f"00-{root.trace_id}-{attempt.span_id}-01", "state": "vendor=1"}


async def test_what_the_log_says_of_a_run_has_its_run_step_attempt_and_trace(
    world: OperatorCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="bobrapet")
    report = """printf '{"rows":7}'"""
    await world.engram("tell", report, container={"result": {"from": "stdout"}})
    await world.engram("fail", "exit 137")
    flaky = step("fail", "fail", execution={"retry": {"maxRetries": 1, "delay": "10ms"}}, needs=["tell"])
    await world.story("told", step("tell", "tell"), flaky)
    settings = replace(ON, step_output_logging=True)
    async with collecting() as collector, world.operator(settings, otlp=otlp(collector)):
        await world.run("one", "told")
        await world.finished("one")
        await arrived(world, collector, "run told", "step tell", "step fail")
    records = [
        (record.getMessage(), record.bobrapet_fields)
        for record in cast("list[Any]", caplog.records)
        if hasattr(record, "bobrapet_fields")
    ]
    told = [(message, fields) for message, fields in records if "run" in fields]
    assert {message for message, _ in told} >= {
        "a run ended",
        "a step ended",
        "an attempt failed; a retry follows",
        "a step ended with an output",
    }
    trace = collector.one("run told").trace_id
    spans = {
        "": collector.one("run told").span_id,
        **{name: collector.one(f"step {name}").span_id for name in ("tell", "fail")},
    }
    for message, fields in told:
        assert (fields["run"], fields["trace_id"]) == ("team/one", trace), (message, fields)
        assert fields["span_id"] == spans[fields.get("step", "")], (message, fields)
        assert ("attempt" in fields) == ("step" in fields), (message, fields)
    attempts = [
        (fields["step"], fields["attempt"])
        for message, fields in told
        if message.startswith(("a step ended", "an attempt"))
    ]
    assert sorted(set(attempts)) == [("fail", 1), ("fail", 2), ("tell", 1)]
    assert all("run" in fields for _, fields in records if "team/one" in fields.values())


async def test_a_new_operator_continues_the_tree_and_sends_what_the_one_before_could_not(
    world: OperatorCluster,
) -> None:
    await world.engram("greet")
    await world.story("gated", step("greet", "greet"), {"name": "ask", "type": "gate", "needs": ["greet"]})
    async with collecting() as collector:
        collector.status = 503
        async with world.operator(ON, otlp=OtlpSettings(collector.endpoint, limits=QueueLimits(delay_seconds=60))):
            await world.run("one", "gated")
            await world.until(STORY_RUN, "one", lambda run: _phase(run, "ask") in ("Running", "Paused"))
        assert collector.spans == []
        collector.status = 200
        async with world.operator(ON, otlp=otlp(collector)):
            await arrived(world, collector, "step greet", "attempt 1")
            patch = {"status": {"gates": {"ask": {"state": "Approved"}}}}
            await world.client.patch(STORY_RUN, "one", patch, namespace=NAMESPACE_NAME, subresource="status")
            await world.finished("one")
            await arrived(world, collector, "run gated", "step ask")
        async with world.operator(ON, otlp=otlp(collector)):

            async def is_there_again() -> bool:
                return len(collector.named("run gated")) > 1

            await world.eventually(is_there_again)
    assert [span.name for span in collector.spans if not span.parent_id] == ["run gated", "run gated"]
    first, second = collector.named("run gated")
    assert (first.span_id, first.trace_id) == (second.span_id, second.trace_id)
    assert {parent_of(span, collector) for span in collector.named("attempt 1")} == {"step greet"}


async def test_a_run_that_runs_again_stays_in_its_trace(world: OperatorCluster) -> None:
    await world.engram("greet")
    await world.story("plain", step("greet", "greet"))
    async with collecting() as collector, world.operator(ON, otlp=otlp(collector)):
        await world.run("one", "plain")
        await world.finished("one")
        await arrived(world, collector, "run plain", "attempt 1")
        patch = {"metadata": {"annotations": {keys.ANNOTATION_REDRIVE_TOKEN: "again"}}}
        await world.client.patch(STORY_RUN, "one", patch, namespace=NAMESPACE_NAME)

        async def has_run_again() -> bool:
            return len(collector.named("run plain")) == 2

        await world.eventually(has_run_again)
    first, again = collector.named("run plain")
    assert (again.trace_id, again.parent_id) == (first.trace_id, first.span_id)
    assert [span.parent_id for span in collector.named("step greet")] == [first.span_id, again.span_id]
    assert len({span.span_id for span in collector.spans}) == len(collector.spans)


async def test_nothing_of_traces_is_stored_or_sent_while_they_are_off(world: OperatorCluster) -> None:
    await world.engram("greet")
    await world.story("plain", step("greet", "greet"))
    async with collecting() as collector, world.operator(otlp=otlp(collector)):
        await world.run("one", "plain", annotations={keys.ANNOTATION_TRACE_PARENT: CALLER})
        run = await world.finished("one")
        step_run = await world.until(STEP_RUN, "one-greet", lambda _: True)
    assert collector.headers == []
    assert "trace" not in status_of(run)
    assert "trace" not in status_of(step_run)


async def test_traces_cost_no_request_to_the_api_server(world: OperatorCluster) -> None:
    await world.engram("greet")
    await world.story("plain", step("greet", "greet"))
    writes = []
    async with collecting() as collector:
        for name, settings in (("warm-up", OperatorSettings()), ("off", OperatorSettings()), ("on", ON)):
            async with world.operator(settings, otlp=otlp(collector)) as traffic:
                await world.run(name, "plain")
                await world.finished(name)
                writes.append(+traffic.writes)
    off, on = (
        {key: each[key] for key in ("POST stepruns", "POST jobs", "PATCH stepruns/status")} for each in writes[1:]
    )
    assert on == off
    assert on["PATCH stepruns/status"] == 1
    counts = {"PATCH engrams/status", "PATCH stories/status"}  # when they are written depends on the time
    assert writes[2].keys() <= writes[1].keys() | writes[0].keys() | counts
    assert writes[2]["PATCH storyruns/status"] <= 3, "start, step, end: the budget without traces"


def _phase(run: Object, name: str) -> str:
    return str((status_of(run).get("stepStates") or {}).get(name, {}).get("phase"))


async def test_the_setting_starts_and_ends_the_export_while_the_operator_runs(world: OperatorCluster) -> None:
    await world.engram("greet")
    await world.story("plain", step("greet", "greet"))
    chosen = [OperatorSettings()]
    async with (
        collecting() as collector,
        world.operator_owning(WHOLE_CLUSTER, lambda: chosen[0], otlp=otlp(collector)) as (operator, _),
    ):
        for name, settings in (("off", OperatorSettings()), ("on", ON), ("off-again", OperatorSettings())):
            chosen[0] = settings
            operator.settings_changed()
            await trio.sleep(0.2)
            await world.run(name, "plain")
            await world.finished(name)
            if settings is ON:
                await arrived(world, collector, "run plain", "attempt 1")
        await trio.sleep(0.3)
    assert {span.attributes["storyrun"] for span in collector.spans} == {"on"}
    assert len(collector.named("run plain")) == 1
