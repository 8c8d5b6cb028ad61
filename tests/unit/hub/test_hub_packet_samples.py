"""Traced packets: a bounded share, below the span of their step, and nothing for a run that is not traced."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio.testing

from core.api import keys
from core.api.objects import Object
from core.api.streaming import Streaming
from core.telemetry.tracing.trace_parent import TraceParent
from core.telemetry.tracing.trace_span import TraceSpan
from hub.bindings import read_binding, trimmed
from hub.packet_samples import MOST_A_SECOND, DonePacket, PacketSamples, samples_of
from hub.routes import StreamStep
from hub.settings import DeliverySettings, settings_of
from hub.topology import Place
from tests.unit.hub.json_packets import json_packet
from tests.unit.hub.test_hub_flow import ALO, EMIT, RUN, sink, staged

PARENT = TraceParent("ab" * 16, "cd" * 8)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
PLACE = Place(RUN, "sink")


class Spans:
    def __init__(self) -> None:
        self.all: list[TraceSpan] = []

    def put(self, span: TraceSpan) -> None:
        self.all.append(span)


def samples(percent: float = 100, spans: Spans | None = None) -> PacketSamples:
    return PacketSamples(percent, PARENT, PLACE, "stream", spans or Spans(), lambda: NOW)


def test_a_share_of_the_packets_is_traced() -> None:
    chosen = samples(25)
    assert [chosen.takes(float(second)) for second in range(8)] == [False, False, False, True] * 2


def test_a_fast_stream_has_a_bounded_number_of_spans() -> None:
    chosen = samples()
    taken = sum(chosen.takes(number / 1000) for number in range(5000))
    assert taken <= 5 * MOST_A_SECOND + 1


def test_a_span_covers_the_packet_from_its_arrival_to_its_receipt() -> None:
    spans = Spans()
    chosen = samples(spans=spans)
    chosen.done(DonePacket("p", 7, 12, 2, accepted_at=100.0))
    chosen.export(101.5)
    chosen.export(102)

    [span] = spans.all
    assert (span.name, span.trace_id, span.parent_id) == ("hub.processPacket", PARENT.trace_id, PARENT.span_id)
    assert (span.started_at, span.ended_at) == (NOW - timedelta(seconds=1.5), NOW)
    assert (span.attributes["packet.number"], span.attributes["packet.sendings"]) == (7, 2)


@pytest.mark.parametrize(
    ("tracing", "percent"),
    [
        ({}, 100.0),
        ({"sampleRate": 5}, 5.0),
        ({"samplePolicy": "random", "sampleRate": 0}, 0.0),
        ({"samplePolicy": "Always", "sampleRate": 5}, 100.0),
        ({"samplePolicy": "never"}, 0.0),
        ({"enabled": False}, 0.0),
    ],
)
def test_the_settings_of_the_stream_choose_the_share(tracing: Object, percent: float) -> None:
    streaming = Streaming.model_validate({"observability": {"tracing": tracing}})
    assert settings_of(streaming).trace_percent == percent
    assert settings_of(None).trace_percent == 100.0


def test_without_a_recorded_trace_nothing_is_traced() -> None:
    silent = TraceParent("ab" * 16, "cd" * 8, sampled=False)
    none = DeliverySettings(trace_percent=0)
    steps = (StreamStep("a"), StreamStep("a", trace_parent=silent), StreamStep("a", delivery=none, trace_parent=PARENT))
    assert [samples_of(step, PLACE, "stream", Spans()) for step in steps] == [None] * 3


def test_the_binding_of_a_step_names_its_span() -> None:
    binding: Object = {"metadata": {"annotations": {keys.ANNOTATION_TRACE_PARENT: PARENT.header}}, "spec": {}}
    assert read_binding(trimmed(binding)).trace_parent == PARENT


async def test_packets_of_a_traced_run_are_exported_when_their_step_is_done_with_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    spans = Spans()
    traced = sink(delivery=ALO)
    traced = StreamStep(traced.name, traced.needs, traced.delivery, trace_parent=PARENT)
    async with staged(EMIT, traced, spans=spans) as stage:
        stage.send("emit", json_packet({"text": "a"}))
        await trio.sleep(1)
        assert spans.all == []
        stage.run.receipts("sink", stage.links["sink"].receipts(1))
        [span] = spans.all
        assert span.attributes["step"] == "sink"
        assert span.ended_at - span.started_at == pytest.approx(timedelta(seconds=1), abs=timedelta(seconds=0.1))
