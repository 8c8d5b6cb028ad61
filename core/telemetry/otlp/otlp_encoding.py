"""Spans as the bytes of an OTLP request, and what the answer says. Importing this loads protobuf.

The Python SDK of OpenTelemetry is not used: its spans get random ids, and its exporter needs a thread.
Source: opentelemetry-proto, collector/trace/v1 and trace/v1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from core.telemetry.tracing.trace_span import AttributeValue, TraceSpan

TRACER: Final = "github.com/bubustack/bobrapet"
"""The name of the instrumentation scope, which is that of the reference."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def encoded_request(spans: Iterable[TraceSpan], resource: Mapping[str, AttributeValue]) -> bytes:
    """An ``ExportTraceServiceRequest``."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.extend(_attributes(resource))
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name = TRACER
    for span in spans:
        of_scope.spans.append(_span(span))
    return request.SerializeToString()


def rejected_spans(answer: bytes) -> tuple[int, str]:
    """How many spans the collector has refused although it accepted the request, and why."""
    try:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return 0, ""
    return partial.rejected_spans, partial.error_message


def _span(span: TraceSpan) -> Span:
    message = Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_id),
        trace_state=span.state,
        name=span.name,
        kind=Span.SPAN_KIND_SERVER if span.is_entry else Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=_nanoseconds(span.started_at),
        end_time_unix_nano=_nanoseconds(span.ended_at),
        attributes=_attributes(span.attributes),
    )
    if span.error is not None:
        message.status.code, message.status.message = Status.STATUS_CODE_ERROR, span.error
    elif span.succeeded:
        message.status.code = Status.STATUS_CODE_OK
    return message


def _nanoseconds(at: datetime) -> int:
    past = at - _EPOCH
    return ((past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds) * 1_000


def _attributes(values: Mapping[str, AttributeValue]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(value)) for name, value in values.items()]


def _value(value: AttributeValue) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value) if isinstance(value, float) else AnyValue(string_value=value)
