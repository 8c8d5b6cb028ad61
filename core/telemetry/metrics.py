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

_OURS: Final = "bobrapet_"
"""What the names of our own series begin with; the others are named as other operators name them."""
_NAME_LABELS: Final = frozenset({"namespace", "story", "storyrun", "engram", "impulse", "image"})


class Recorder:
    """The series of one process. While ``enabled`` is False, ours are frozen: served as they are, and not moved.

    What a gauge would have shown meanwhile is kept, and shown once the series move again: many are set only when
    something changes.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        import prometheus_client

        self.registry: CollectorRegistry = prometheus_client.CollectorRegistry()
        self.enabled = enabled
        self._series: dict[str, Any] = {}
        self._kept: dict[tuple[Series, tuple[str, ...]], float] = {}
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

    def set_enabled(self, enabled: bool) -> None:
        """Freeze our series, or let them move again."""
        self.enabled = enabled
        if enabled:
            kept, self._kept = self._kept, {}
            for (series, values), value in kept.items():
                self._child(series, values).set(value)

    def at(self, series: Series, labels: dict[str, str]) -> Any | None:
        """The prometheus child to move, or None while the series is frozen."""
        values = _values(series, labels)
        return None if self._is_frozen(series) else self._child(series, values)

    def set(self, series: Series, value: float, labels: dict[str, str]) -> None:
        """Set a gauge, now or once it may move."""
        values = _values(series, labels)
        if self._is_frozen(series):
            self._kept[series, values] = value
        else:
            self._child(series, values).set(value)

    def add(self, series: Series, amount: float, labels: dict[str, str]) -> None:
        """Move a gauge, now or once it may move."""
        values = _values(series, labels)
        if self._is_frozen(series):
            shown = self.registry.get_sample_value(series.name, dict(zip(series.labels, values, strict=True))) or 0.0
            self._kept[series, values] = self._kept.get((series, values), shown) + amount
        else:
            self._child(series, values).inc(amount)

    def drop(self, series: Series, labels: dict[str, str]) -> None:
        values = _values(series, labels)
        self._kept.pop((series, values), None)
        try:
            self._series[series.name].remove(*values)
        except KeyError:  # it never moved
            return

    def _is_frozen(self, series: Series) -> bool:
        return not self.enabled and series.name.startswith(_OURS)

    def _child(self, series: Series, values: tuple[str, ...]) -> Any:
        made = self._series[series.name]
        return made.labels(*values) if series.labels else made


class _Process:
    recorder: Recorder | None = None
    enabled: bool = True
    """Of the recorder that there is, or will be: the setting may be known before recording starts."""
    collectors: Final[list[Callable[[], None]]] = []


def start_recording() -> Recorder:
    """Create the process's series, or give the ones there are."""
    if _Process.recorder is None:
        _Process.recorder = Recorder(enabled=_Process.enabled)
    return _Process.recorder


def set_enabled(enabled: bool) -> None:
    """Freeze or thaw our series (configuration key ``debug.enable-metrics``); library series always move.

    It may be called before recording starts.
    """
    _Process.enabled = enabled
    if _Process.recorder is not None:
        _Process.recorder.set_enabled(enabled)


@contextmanager
def recording() -> Iterator[Recorder]:
    """A fresh recorder, whose series move, while the block runs; the one before it returns afterwards."""
    before, _Process.recorder = (_Process.recorder, _Process.enabled), Recorder()
    _Process.enabled = True
    try:
        yield _Process.recorder
    finally:
        _Process.recorder, _Process.enabled = before


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
    if _Process.recorder is not None:
        _Process.recorder.set(series, value, labels)


def add_gauge(series: Series, amount: float, **labels: str) -> None:
    """Move a gauge by ``amount``, which may be negative."""
    if _Process.recorder is not None:
        _Process.recorder.add(series, amount, labels)


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


def _values(series: Series, labels: dict[str, str]) -> tuple[str, ...]:
    if len(labels) != len(series.labels):
        raise ValueError(f"{series.name} has labels {', '.join(series.labels)}; got {', '.join(labels)}")
    return tuple(labels[name] or (UNKNOWN_NAME if name in _NAME_LABELS else UNKNOWN) for name in series.labels)
