"""Counts, observes and sets the series of the catalogue; costs nothing until a process starts recording.

One recorder per process, because the exposition format has one set of series per process. ``start_recording`` loads
prometheus-client and creates every series, so that they exist before they change; until then, calls do nothing.
Source: operator contract 7 and 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from core.telemetry.catalogue import CATALOGUE, LABEL_SETS_REMOVED, Series, SeriesKind

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

UNKNOWN: Final = "unknown"
UNKNOWN_NAME: Final = "(unknown)"
MOST_LABEL_SETS: Final = 1000
"""Combinations of labels of one metric. A histogram of twelve lines with so many is 1.5 MB of text for each scrape.
The default of the setting ``debug.max-label-sets``."""

_OURS: Final = "bobrapet_"
"""The prefix of the operator's own series; the other series have common names of other operators."""
_NAME_LABELS: Final = frozenset({"namespace", "story", "storyrun", "engram", "impulse", "image"})


class Recorder:
    """The series of one process. While ``enabled`` is False, the operator's own series are frozen: served, but not
    changed.

    Changes of gauges are kept meanwhile, and shown when the series are enabled again: many gauges are set only when
    something changes.
    """

    def __init__(
        self, *, enabled: bool = True, catalogue: Sequence[Series] = CATALOGUE, most_label_sets: int = MOST_LABEL_SETS
    ) -> None:
        import prometheus_client

        self.registry: CollectorRegistry = prometheus_client.CollectorRegistry()
        self.enabled = enabled
        self.most_label_sets = most_label_sets
        self._catalogue = catalogue = tuple(
            {series.name: series for series in (*catalogue, LABEL_SETS_REMOVED)}.values()
        )
        self._series: dict[str, Any] = {}
        self._kept: dict[tuple[Series, tuple[str, ...]], float] = {}
        self._children: dict[str, dict[tuple[str, ...], Any]] = {series.name: {} for series in catalogue}
        """For each metric, what is behind each combination of labels; the one that changed last is the last."""
        for series in catalogue:
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
        """Freeze the operator's own series, or enable them again."""
        self.enabled = enabled
        if enabled:
            kept, self._kept = self._kept, {}
            for (series, values), value in kept.items():
                self._child(series, values).set(value)

    def set_most_label_sets(self, most: int) -> None:
        """Change the bound; the label sets beyond it leave at once."""
        self.most_label_sets = most
        for series in self._catalogue:
            self._make_room(series, most)

    def at(self, series: Series, labels: dict[str, str]) -> Any | None:
        """The prometheus child to change, or None while the series is frozen."""
        values = _values(series, labels)
        return None if self._is_frozen(series) else self._child(series, values)

    def set(self, series: Series, value: float, labels: dict[str, str]) -> None:
        """Set a gauge, now or when it is no longer frozen; one that does not stay is not kept: it is set again soon."""
        values = _values(series, labels)
        if not self._is_frozen(series):
            self._child(series, values).set(value)
        elif series.stays:
            self._kept[series, values] = value

    def add(self, series: Series, amount: float, labels: dict[str, str]) -> None:
        """Change a gauge by ``amount``, now or when it is no longer frozen."""
        values = _values(series, labels)
        if self._is_frozen(series):
            shown = self.registry.get_sample_value(series.name, dict(zip(series.labels, values, strict=True))) or 0.0
            self._kept[series, values] = self._kept.get((series, values), shown) + amount
        else:
            self._child(series, values).inc(amount)

    def drop(self, series: Series, labels: dict[str, str]) -> None:
        values = _values(series, labels)
        self._kept.pop((series, values), None)
        if self._children[series.name].pop(values, None) is not None:
            self._series[series.name].remove(*values)

    def _is_frozen(self, series: Series) -> bool:
        return not self.enabled and series.name.startswith(_OURS)

    def _child(self, series: Series, values: tuple[str, ...]) -> Any:
        """What is behind ``values``, now the one that changed last. A new one of a full metric replaces the oldest:
        users choose many names.
        """
        made = self._series[series.name]
        if not values:
            return made
        known = self._children[series.name]
        child = known.pop(values, None)
        if child is None:
            self._make_room(series, self.most_label_sets - 1)
            child = made.labels(*values)
        known[values] = child
        return child

    def _make_room(self, series: Series, most: int) -> None:
        known = self._children[series.name]
        surplus = 0 if series.stays else len(known) - most
        for values in list(islice(known, max(surplus, 0))):
            del known[values]
            self._series[series.name].remove(*values)
        if surplus > 0 and (removed := self.at(LABEL_SETS_REMOVED, {"metric": series.name})) is not None:
            removed.inc(surplus)


class _Process:
    recorder: Recorder | None = None
    enabled: bool = True
    """The state of the current or future recorder: the setting may be known before recording starts."""
    most_label_sets: int = MOST_LABEL_SETS
    """The same."""
    collectors: Final[list[Callable[[], None]]] = []


def start_recording(catalogue: Sequence[Series] = CATALOGUE) -> Recorder:
    """Create the process's series, or return the existing ones. ``catalogue``: all series that the process changes."""
    if _Process.recorder is None:
        _Process.recorder = Recorder(
            enabled=_Process.enabled, catalogue=catalogue, most_label_sets=_Process.most_label_sets
        )
    return _Process.recorder


def set_enabled(enabled: bool) -> None:
    """Freeze or enable the operator's own series (configuration key ``debug.enable-metrics``); series with common names
    always change.

    It may be called before recording starts.
    """
    _Process.enabled = enabled
    if _Process.recorder is not None:
        _Process.recorder.set_enabled(enabled)


def set_most_label_sets(most: int) -> None:
    """Set how many label sets a metric may have (configuration key ``debug.max-label-sets``). When a metric is
    full, the label set that has not changed for longest leaves for a new one; series that stay are not bounded.

    It may be called before recording starts.
    """
    _Process.most_label_sets = most
    if _Process.recorder is not None:
        _Process.recorder.set_most_label_sets(most)


def most_label_sets() -> int:
    """How many label sets a metric may have."""
    return _Process.most_label_sets


@contextmanager
def recording(catalogue: Sequence[Series] = CATALOGUE) -> Iterator[Recorder]:
    """A new, enabled recorder while the block runs; afterwards the previous one is used again."""
    before = _Process.recorder, _Process.enabled, _Process.most_label_sets
    _Process.recorder, _Process.enabled, _Process.most_label_sets = Recorder(catalogue=catalogue), True, MOST_LABEL_SETS
    try:
        yield _Process.recorder
    finally:
        _Process.recorder, _Process.enabled, _Process.most_label_sets = before


def count(series: Series, amount: float = 1, **labels: str) -> None:
    """Add ``amount`` to a counter; every label of the series must be given; an empty value becomes ``unknown``."""
    if _Process.recorder is not None and (child := _Process.recorder.at(series, labels)) is not None:
        child.inc(amount)


def observe(series: Series, value: float, **labels: str) -> None:
    """Add ``value`` to a histogram."""
    if _Process.recorder is not None and (child := _Process.recorder.at(series, labels)) is not None:
        child.observe(value)


def set_gauge(series: Series, value: float, **labels: str) -> None:
    """Set a gauge to ``value``."""
    if _Process.recorder is not None:
        _Process.recorder.set(series, value, labels)


def add_gauge(series: Series, amount: float, **labels: str) -> None:
    """Change a gauge by ``amount``, which may be negative."""
    if _Process.recorder is not None:
        _Process.recorder.add(series, amount, labels)


def drop(series: Series, **labels: str) -> None:
    """Remove one labelled child when the object that it describes is gone."""
    if _Process.recorder is not None:
        _Process.recorder.drop(series, labels)


def sample(name: str, /, **labels: str) -> float | None:
    """The value of one exposed sample, e.g. ``rest_client_requests_total``; None when it has never changed."""
    if _Process.recorder is None:
        return None
    return _Process.recorder.registry.get_sample_value(name, labels)


@contextmanager
def collected_by(collect: Callable[[], None]) -> Iterator[None]:
    """While the block runs, call ``collect`` before each exposition; it sets values that are cheaper to read than to
    track.
    """
    _Process.collectors.append(collect)
    try:
        yield
    finally:
        _Process.collectors.remove(collect)


def exposition(accept: str = "") -> tuple[Callable[[], bytes], str]:
    """Collect now, and return what renders all series as text, and the content type of that text.

    The text is OpenMetrics if ``accept`` requests it; it is empty before recording starts. Rendering takes a second for
    thousands of label sets. It may run in a thread: prometheus-client locks the values while they are read, and the
    series may change meanwhile.
    """
    from prometheus_client.exposition import choose_encoder

    if _Process.recorder is None:
        return bytes, "text/plain; charset=utf-8"
    for collect in _Process.collectors:
        collect()
    encode, content_type = choose_encoder(accept)
    return partial(encode, _Process.recorder.registry), content_type


def _values(series: Series, labels: dict[str, str]) -> tuple[str, ...]:
    if len(labels) != len(series.labels):
        raise ValueError(f"{series.name} has labels {', '.join(series.labels)}; got {', '.join(labels)}")
    return tuple(labels[name] or (UNKNOWN_NAME if name in _NAME_LABELS else UNKNOWN) for name in series.labels)
