"""Which packets to a step are traced, and what is told of them. Pure.

Each packet would be a span: a stream of thousands a second would cost more than its packets. So a share of them is
taken, and never more than ``MOST_A_SECOND``. Source: streaming contract 4 (``observability.tracing``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Final

from core.telemetry.tracing.run_trace import span_id_of
from core.telemetry.tracing.trace_parent import TraceParent
from core.telemetry.tracing.trace_span import SpanSink, TraceSpan
from hub.routes import StreamStep
from hub.topology import Place

MOST_A_SECOND: Final = 10
"""Of each step."""
_SPAN: Final = "hub.processPacket"
"""The name in the reference."""


@dataclass(frozen=True, slots=True)
class DonePacket:
    """A traced packet that its step is done with."""

    partition: str
    number: int
    size_bytes: int
    sendings: int
    accepted_at: float
    """Trio time."""


class PacketSamples:
    """The traced packets to one step. The owner gives the time.

    ``export`` gives ``sink`` a span for each that is done: from its arrival at the hub until its step was done with it,
    below the span of the step.
    """

    def __init__(
        self,
        percent: float,
        parent: TraceParent,
        place: Place,
        stream_id: str,
        sink: SpanSink,
        wall_now: Callable[[], datetime],
    ) -> None:
        """``percent``: the share of packets to trace, 0 to 100."""
        self._share = min(max(percent, 0.0), 100.0) / 100
        self._parent = parent
        self._place = place
        self._stream_id = stream_id
        self._sink = sink
        self._wall_now = wall_now
        self._credit = 0.0
        self._next_at = -inf
        self._done: list[DonePacket] = []

    def takes(self, now: float) -> bool:
        """Whether the packet that comes now is traced."""
        self._credit += self._share
        if self._credit < 1:
            return False
        self._credit -= 1
        if now < self._next_at:
            return False
        self._next_at = now + 1 / MOST_A_SECOND
        return True

    def done(self, packet: DonePacket) -> None:
        self._done.append(packet)

    def export(self, now: float) -> None:
        """``now``: Trio time."""
        if not self._done:
            return
        done, self._done = self._done, []
        ended_at = self._wall_now()
        for packet in done:
            self._sink.put(self._span(packet, ended_at - timedelta(seconds=max(now - packet.accepted_at, 0)), ended_at))

    def _span(self, packet: DonePacket, started_at: datetime, ended_at: datetime) -> TraceSpan:
        return TraceSpan(
            _SPAN,
            self._parent.trace_id,
            span_id_of("packet", self._stream_id, packet.partition, str(packet.number)),
            self._parent.span_id,
            started_at,
            ended_at,
            {
                "namespace": self._place.run.namespace,
                "storyrun": self._place.run.name,
                "step": self._place.step,
                "packet.number": packet.number,
                "packet.partition": packet.partition,
                "packet.bytes": packet.size_bytes,
                "packet.sendings": packet.sendings,
            },
            succeeded=True,
        )


def samples_of(step: StreamStep, place: Place, stream_id: str, sink: SpanSink) -> PacketSamples | None:
    """None: no packet to the step is traced."""
    parent, percent = step.trace_parent, step.delivery.trace_percent
    if parent is None or not parent.sampled or percent <= 0:
        return None
    from core.engine.clock import system_now  # a hub that traces nothing does not load the engine

    return PacketSamples(percent, parent, place, stream_id, sink, system_now)
