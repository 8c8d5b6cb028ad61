"""The metrics of a hub, read from its runs at each scrape: nothing is counted twice on the way of a packet.

Series of a Story without a live run are removed after the next exposition, so that their last values are seen once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from core.telemetry import metrics
from core.telemetry.catalogue import Series, SeriesKind
from core.telemetry.hub_catalogue import (
    ACTIVE_STREAMS,
    BUFFER_BYTES,
    BUFFER_BYTES_LIMIT,
    BUFFER_SIZE,
    BUFFER_SIZE_LIMIT,
    DELIVERED,
    DROPPED,
    HEARTBEAT_FAILURES,
    HEARTBEATS,
    HELD,
    RECEIVED,
    SENT,
    SKIPPED,
    UNACKNOWLEDGED,
)
from hub.run import LiveRun

Child = tuple[Series, tuple[str, ...]]
"""A series and the values of its labels."""


class HubMetrics:
    """Shows the state of live runs. ``collect`` is called before each exposition, ``ended`` at the end of a run."""

    def __init__(self) -> None:
        self._past: Counter[Child] = Counter()
        """Counters of runs that have ended."""
        self._shown: dict[Child, float] = {}
        self._fading: set[Child] = set()

    def ended(self, run: LiveRun) -> None:
        """The run has ended, and its counts are final."""
        for child, value in _samples(run):
            if child[0].kind is SeriesKind.COUNTER:
                self._past[child] += int(value)

    def collect(self, runs: Iterable[LiveRun]) -> None:
        """Show the counts of ``runs`` and of those that have ended."""
        now: Counter[Child] = Counter()
        for run in runs:
            for child, value in _samples(run):
                now[child] += int(value)
        live = set(now)
        now.update(self._past)
        for child, value in now.items():
            self._show(child, value)
        gone = self._shown.keys() - live
        for child in gone & self._fading:
            metrics.drop(child[0], **_labels(child))
            del self._shown[child]
            self._past.pop(child, None)
        for child in gone - self._fading:
            if child[0].kind is SeriesKind.GAUGE:
                self._show(child, 0)
        self._fading = gone - self._fading

    def _show(self, child: Child, value: float) -> None:
        series, labels = child[0], _labels(child)
        if series.kind is SeriesKind.COUNTER:
            before = self._shown.get(child, 0)
            if value < before:
                return  # a run is ending: it is not live any more, and has not reported its end yet
            metrics.count(series, value - before, **labels)
        else:
            metrics.set_gauge(series, value, **labels)
        self._shown[child] = value


def _labels(child: Child) -> dict[str, str]:
    return dict(zip(child[0].labels, child[1], strict=True))


def _samples(run: LiveRun) -> Iterator[tuple[Child, float]]:
    for name, step in run.steps.items():
        labels = (run.routes.run.namespace, run.routes.story, name)
        delivery, counts = step.delivery, step.delivery.counts
        yield (ACTIVE_STREAMS, labels), step.link is not None
        yield (BUFFER_SIZE, labels), delivery.waiting
        yield (BUFFER_BYTES, labels), delivery.kept_bytes
        yield (BUFFER_SIZE_LIMIT, labels), delivery.settings.max_messages
        yield (BUFFER_BYTES_LIMIT, labels), delivery.settings.max_bytes
        yield (UNACKNOWLEDGED, labels), delivery.in_flight
        yield (HELD, labels), run.is_held(name)
        yield (RECEIVED, labels), step.received
        yield (SENT, labels), counts.sent
        yield (DELIVERED, labels), counts.delivered
        yield (HEARTBEATS, labels), step.heartbeats
        yield (HEARTBEAT_FAILURES, labels), step.silences
        chunks = (("chunk", step.chunks.lost),) if step.chunks.lost else ()
        for reason, count in (*counts.lost.items(), *step.refused.items(), *chunks):
            yield (DROPPED, (*labels, str(reason))), count
        for reason, count in step.skipped.items():
            yield (SKIPPED, (*labels, str(reason))), count
    for name, primitive in run.primitives.items():
        labels = (run.routes.run.namespace, run.routes.story, name)
        yield (BUFFER_SIZE, labels), len(primitive.held)
        yield (BUFFER_BYTES, labels), primitive.held_bytes
        yield (HELD, labels), run.is_held(name)
        for reason, count in primitive.refused.items():
            yield (DROPPED, (*labels, str(reason))), count
        for reason, count in primitive.skipped.items():
            yield (SKIPPED, (*labels, str(reason))), count
