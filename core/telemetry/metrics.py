"""Count, observe and set the series of the catalogue; free of charge until a process starts recording.

One recorder per process, as the exposition format knows one set of series per process. ``start_recording`` loads
prometheus-client and creates every series, so that they exist before they move; before it, calls do nothing.
Source: operator contract 7 and 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from core.telemetry.catalogue import CATALOGUE, Series, SeriesKind

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

UNKNOWN: Final = "unknown"
UNKNOWN_NAME: Final = "(unknown)"

_NAME_LABELS: Final = frozenset({"namespace", "story", "storyrun", "engram", "impulse", "image"})


class Recorder:
    """The series of one process. ``frozen`` series of ours stop moving while ``enabled`` is False."""

    def __init__(self) -> None:
        import prometheus_client

        self.registry: CollectorRegistry = prometheus_client.CollectorRegistry()
        self.enabled = True
        self._series: dict[str, Any] = {}
        for series in CATALOGUE:
            match series.kind:
                case SeriesKind.COUNTER:
                    made: Any = prometheus_client.Counter(
                        series.name, series.help, series.labels, registry=self.registry
                    )
                case SeriesKind.GAUGE:
                    made = prometheus_client.Gauge(series.name, series.help, series.labels, registry=self.registry)
                case SeriesKind.HISTOGRAM:
                    made = prometheus_client.Histogram(
                        series.name, series.help, series.labels, registry=self.registry, buckets=series.buckets
                    )
            self._series[series.name] = made
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.PlatformCollector(registry=self.registry)
        prometheus_client.GCCollector(registry=self.registry)

    def at(self, series: Series, labels: dict[str, str]) -> Any | None:
        """The prometheus child to move, or None while the series is frozen."""
        if not self.enabled and series.name.startswith("bobrapet_"):
            return None
        made = self._series[series.name]
        return made.labels(*_values(series, labels)) if series.labels else made

    def drop(self, series: Series, labels: dict[str, str]) -> None:
        try:
            self._series[series.name].remove(*_values(series, labels))
        except KeyError:  # it never moved
            return


class _Process:
    recorder: Recorder | None = None
    collectors: Final[list[Callable[[], None]]] = []


def start_recording() -> Recorder:
    """Create the process's series, or give the ones there are."""
    if _Process.recorder is None:
        _Process.recorder = Recorder()
    return _Process.recorder


def set_enabled(enabled: bool) -> None:
    """Freeze or thaw our series (configuration key ``debug.enable-metrics``); library series always move."""
    if _Process.recorder is not None:
        _Process.recorder.enabled = enabled


@contextmanager
def recording() -> Iterator[Recorder]:
    """A fresh recorder while the block runs; the one before it returns afterwards."""
    before, _Process.recorder = _Process.recorder, Recorder()
    try:
        yield _Process.recorder
    finally:
        _Process.recorder = before


def count(series: Series, amount: float = 1, **labels: str) -> None:
    """Add ``amount`` to a counter; every label of the series must be given, an empty one reads as unknown."""
    if _Process.recorder is not None and (child := _Process.recorder.at(series, labels)) is not None:
        child.inc(amount)


def observe(series: Series, value: float, **labels: str) -> None:
    """Put ``value`` into a histogram."""
    if _Process.recorder is not None and (child := _Process.recorder.at(series, labels)) is not None:
        child.observe(value)


def set_gauge(series: Series, value: float, **labels: str) -> None:
    """Set a gauge to ``value``."""
    if _Process.recorder is not None and (child := _Process.recorder.at(series, labels)) is not None:
        child.set(value)


def add_gauge(series: Series, amount: float, **labels: str) -> None:
    """Move a gauge by ``amount``, which may be negative."""
    if _Process.recorder is not None and (child := _Process.recorder.at(series, labels)) is not None:
        child.inc(amount)


def drop(series: Series, **labels: str) -> None:
    """Forget one labelled child, once what it told about is gone."""
    if _Process.recorder is not None:
        _Process.recorder.drop(series, labels)


def sample(name: str, **labels: str) -> float | None:
    """The value of one exposed sample, e.g. ``rest_client_requests_total``; None when it never moved."""
    if _Process.recorder is None:
        return None
    return _Process.recorder.registry.get_sample_value(name, labels)


@contextmanager
def collected_by(collect: Callable[[], None]) -> Iterator[None]:
    """While the block runs, ``collect`` sets what is cheaper to read than to keep, before each exposition."""
    _Process.collectors.append(collect)
    try:
        yield
    finally:
        _Process.collectors.remove(collect)


def exposition(accept: str = "") -> tuple[bytes, str]:
    """All series as text and its content type: OpenMetrics if ``accept`` asks for it; empty before recording."""
    from prometheus_client.exposition import choose_encoder

    if _Process.recorder is None:
        return b"", "text/plain; charset=utf-8"
    for collect in _Process.collectors:
        collect()
    encode, content_type = choose_encoder(accept)
    return encode(_Process.recorder.registry), content_type


def _values(series: Series, labels: dict[str, str]) -> list[str]:
    if len(labels) != len(series.labels):
        raise ValueError(f"{series.name} has labels {', '.join(series.labels)}; got {', '.join(labels)}")
    return [labels[name] or (UNKNOWN_NAME if name in _NAME_LABELS else UNKNOWN) for name in series.labels]
