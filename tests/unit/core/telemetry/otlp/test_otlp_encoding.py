"""Requests are read here by the classes that OpenTelemetry publishes."""

from __future__ import annotations

from datetime import UTC, datetime

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from core.telemetry.otlp.otlp_encoding import TRACER, encoded_request, rejected_spans
from core.telemetry.tracing.trace_span import TraceSpan

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


def test_a_span_keeps_its_ids_times_status_and_attributes() -> None:
    span = TraceSpan(
        *("step a", "ab" * 16, "cd" * 8, "ef" * 8, AT, AT.replace(second=6)),
        attributes={"step": "a", "retries": 2, "cached": False, "share": 0.5},
        error="it failed",
        state="vendor=1",
    )
    request = ExportTraceServiceRequest.FromString(encoded_request([span], {"service.name": "x"}))

    [resource] = request.resource_spans
    assert [(each.key, each.value.string_value) for each in resource.resource.attributes] == [("service.name", "x")]
    [scope] = resource.scope_spans
    [read] = scope.spans
    assert scope.scope.name == TRACER
    assert (read.trace_id.hex(), read.span_id.hex(), read.parent_span_id.hex()) == ("ab" * 16, "cd" * 8, "ef" * 8)
    assert read.start_time_unix_nano == 1767323045678901000
    assert read.end_time_unix_nano - read.start_time_unix_nano == 1_000_000_000
    assert (read.status.code, read.status.message) == (read.status.STATUS_CODE_ERROR, "it failed")
    values = {each.key: each.value for each in read.attributes}
    assert (values["step"].string_value, values["retries"].int_value) == ("a", 2)
    assert (values["cached"].WhichOneof("value"), values["share"].double_value) == ("bool_value", 0.5)
    assert (read.trace_state, read.kind) == ("vendor=1", read.SPAN_KIND_INTERNAL)


def test_the_first_span_has_no_parent_and_one_for_a_caller_is_an_entry() -> None:
    span = TraceSpan("run x", "ab" * 16, "cd" * 8, "", AT, AT, succeeded=True, is_entry=True)
    request = ExportTraceServiceRequest.FromString(encoded_request([span], {}))
    [read] = request.resource_spans[0].scope_spans[0].spans
    assert (read.parent_span_id, read.kind, read.status.code) == (
        b"",
        read.SPAN_KIND_SERVER,
        read.status.STATUS_CODE_OK,
    )


def test_an_answer_tells_how_many_spans_were_refused() -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans, answer.partial_success.error_message = 3, "too old"
    assert rejected_spans(answer.SerializeToString()) == (3, "too old")
    assert rejected_spans(b"") == (0, "")
    assert rejected_spans(b"<html>") == (0, "")
