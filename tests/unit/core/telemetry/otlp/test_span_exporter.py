"""Spans reach a collector in batches; one that is slow, full or gone costs spans, and nothing else."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import httpx
import pytest
import trio
import trio.testing
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from core.telemetry import metrics
from core.telemetry.otlp.otlp_settings import OtlpSettings, QueueLimits
from core.telemetry.otlp.span_exporter import SpanExporter, wished_pause_seconds
from core.telemetry.tracing.trace_span import TraceSpan

AT = datetime(2026, 1, 2, tzinfo=UTC)
LIMITS = QueueLimits(max_queued_spans=10, max_batch_spans=4, delay_seconds=5, batch_seconds=30)
SETTINGS = OtlpSettings(limits=LIMITS)


def span(number: int) -> TraceSpan:
    return TraceSpan(f"span {number}", "ab" * 16, f"{number + 1:016x}", "", AT, AT)


@dataclass
class Collector:
    """Reads requests with OpenTelemetry's own classes; ``answer`` may refuse them."""

    answer: Callable[[int], httpx.Response] = lambda _: httpx.Response(200)
    requests: list[list[str]] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    async def send(self, body: bytes) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        request = ExportTraceServiceRequest.FromString(body)
        self.at.append(trio.current_time())
        self.requests.append([each.name for each in request.resource_spans[0].scope_spans[0].spans])
        return self.answer(len(self.requests))


@asynccontextmanager
async def running(collector: Collector, settings: OtlpSettings = SETTINGS) -> AsyncIterator[SpanExporter]:
    exporter = SpanExporter(settings, 5.0, collector.send, jitter=lambda: 1.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(exporter.run)
        yield exporter
        nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def recorded() -> object:
    with metrics.recording():
        yield


def counted(outcome: str) -> float:
    return metrics.sample("bobrapet_trace_spans_total", outcome=outcome) or 0


async def test_spans_leave_together_after_a_delay(autojump_clock: trio.testing.MockClock) -> None:
    collector = Collector()
    async with running(collector) as exporter:
        exporter.put(span(0))
        await trio.sleep(1)
        exporter.put(span(1))
        await trio.sleep(6)
        assert collector.requests == [["span 0", "span 1"]]
    assert counted("exported") == 2


async def test_a_full_batch_leaves_at_once(autojump_clock: trio.testing.MockClock) -> None:
    collector = Collector()
    async with running(collector) as exporter:
        for number in range(5):
            exporter.put(span(number))
        await trio.sleep(0.1)
        assert [len(request) for request in collector.requests][:1] == [4]


async def test_what_has_no_room_is_dropped_and_counted(autojump_clock: trio.testing.MockClock) -> None:
    collector = Collector()
    async with running(collector) as exporter:
        for number in range(13):
            exporter.put(span(number))
        assert counted("dropped") == 3
    assert sum(map(len, collector.requests)) == 10


async def test_a_batch_is_repeated_with_growing_pauses(autojump_clock: trio.testing.MockClock) -> None:
    collector = Collector(lambda count: httpx.Response(503 if count < 4 else 200))
    async with running(collector) as exporter:
        exporter.put(span(0))
        await trio.sleep(20)
    pauses = [round(later - earlier, 3) for earlier, later in zip(collector.at, collector.at[1:], strict=False)]
    assert pauses == [1, 2, 4]
    assert counted("exported") == 1


async def test_the_wish_of_the_collector_counts_for_later_batches_too(autojump_clock: trio.testing.MockClock) -> None:
    collector = Collector(
        lambda count: httpx.Response(429, headers={"retry-after": "40"}) if count == 1 else httpx.Response(200)
    )
    async with running(collector) as exporter:
        began = trio.current_time()
        exporter.put(span(0))
        await trio.sleep(6)
        exporter.put(span(1))
        await trio.sleep(60)
    assert collector.requests == [["span 0"], ["span 1"]]
    assert collector.at[1] - began >= 45
    assert (counted("dropped"), counted("exported")) == (1, 1)


async def test_a_refusal_is_final(autojump_clock: trio.testing.MockClock) -> None:
    collector = Collector(lambda _: httpx.Response(400))
    async with running(collector) as exporter:
        exporter.put(span(0))
        await trio.sleep(60)
    assert len(collector.requests) == 1
    assert counted("refused") == 1


async def test_spans_that_the_collector_refuses_in_a_batch_are_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 1
    collector = Collector(lambda _: httpx.Response(200, content=answer.SerializeToString()))
    async with running(collector) as exporter:
        exporter.put(span(0))
        exporter.put(span(1))
        await trio.sleep(6)
    assert (counted("exported"), counted("refused")) == (1, 1)


async def test_a_collector_that_is_gone_costs_one_queue(autojump_clock: trio.testing.MockClock) -> None:
    def gone(_: int) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with running(Collector(gone)) as exporter:
        for number in range(100):
            exporter.put(span(number))
            await trio.sleep(1)
    assert counted("dropped") == 100


async def test_a_stop_sends_what_waits_also_the_batch_in_flight(autojump_clock: trio.testing.MockClock) -> None:
    collector = Collector(lambda count: httpx.Response(503 if count == 1 else 200))
    async with running(collector) as exporter:
        for number in range(6):
            exporter.put(span(number))
        await trio.sleep(0.1)
    assert sorted(name for request in collector.requests[1:] for name in request) == [
        f"span {number}" for number in range(6)
    ]
    assert counted("dropped") == 0


async def test_a_stop_waits_for_the_answer_to_what_it_has_sent_and_does_not_send_it_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    collector = Collector()

    async def slow(body: bytes) -> httpx.Response:
        answer = await collector.send(body)
        await trio.sleep(2)
        return answer

    exporter = SpanExporter(SETTINGS, 5.0, slow)
    async with trio.open_nursery() as nursery:
        await nursery.start(exporter.run)
        for number in range(6):
            exporter.put(span(number))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [name for request in collector.requests for name in request] == [f"span {number}" for number in range(6)]
    assert (counted("exported"), counted("dropped")) == (6, 0)


async def test_a_stop_gives_a_collector_that_does_not_answer_no_more_than_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def silent(_: bytes) -> httpx.Response:
        await trio.sleep_forever()

    exporter = SpanExporter(SETTINGS, 5.0, silent)
    async with trio.open_nursery() as nursery:
        await nursery.start(exporter.run)
        for number in range(6):
            exporter.put(span(number))
        await trio.sleep(1)
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began == pytest.approx(5)
    assert (counted("exported"), counted("dropped")) == (0, 6)


async def test_a_stop_waits_no_longer_than_it_may(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    async with running(Collector(lambda _: httpx.Response(503))) as exporter:
        exporter.put(span(0))
    assert trio.current_time() - began == pytest.approx(5)
    assert counted("dropped") == 1


async def test_many_spans_at_once_wait_for_room_instead_of_being_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    collector = Collector()
    async with running(collector) as exporter:
        await exporter.put_all(map(span, range(100)))
    assert sum(map(len, collector.requests)) == 100
    assert counted("dropped") == 0


async def test_requests_are_compressed_if_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    bodies: list[bytes] = []

    async def send(body: bytes) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        bodies.append(body)
        return httpx.Response(200)

    exporter = SpanExporter(replace(SETTINGS, compresses=True), 5.0, send)
    async with trio.open_nursery() as nursery:
        await nursery.start(exporter.run)
        exporter.put(span(0))
        nursery.cancel_scope.cancel()
    assert ExportTraceServiceRequest.FromString(gzip.decompress(bodies[0])).resource_spans


async def test_a_span_that_cannot_be_encoded_costs_its_batch_and_not_the_process(
    autojump_clock: trio.testing.MockClock,
) -> None:
    collector = Collector()
    async with running(collector) as exporter:
        exporter.put(replace(span(0), name="\ud800"))
        await trio.sleep(6)
        exporter.put(span(1))
        await trio.sleep(6)
    assert collector.requests == [["span 1"]]
    assert (counted("dropped"), counted("exported")) == (1, 1)


def test_a_wish_is_a_number_of_seconds_within_an_hour() -> None:
    assert [wished_pause_seconds(text) for text in ("7", "999999999999", "", "Wed, 21 Oct 2026 07:28:00 GMT")] == [
        *(7.0, 3600.0),
        *(None, None),
    ]
