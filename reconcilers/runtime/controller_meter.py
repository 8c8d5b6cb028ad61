"""Counts of one controller under the names of controller-runtime and client-go, which dashboards for operators chart.

Histograms are updated at once; everything else is read from the queue at each exposition, which costs a reconcile
nothing. Source: operator contract 8.6.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from core.telemetry import catalogue, metrics
from reconcilers.runtime.queue import WorkQueue

_FAILED: Final = frozenset({"error", "terminal"})
_PRIORITY: Final = "0"
"""All keys of a queue have the same."""


class ControllerMeter:
    """``collect`` sets what the queue knows, before each exposition."""

    def __init__(self, name: str, queue: WorkQueue[Any], workers: int) -> None:
        self._name = name
        self._queue = queue
        self._workers = workers
        self._results: Counter[str] = Counter()
        self._bugs = 0
        self._shown: Counter[str] = Counter()
        """What the counters show already."""
        queue.observe_wait = self._waited

    def settled(self, result: str, seconds: float, *, is_bug: bool) -> None:
        """A key was processed: ``success``, ``requeue_after``, ``error`` or ``terminal``.

        ``is_bug``: something was raised that no reconcile should raise.
        """
        self._results["error" if result in _FAILED else result] += 1
        self._results["terminal"] += result == "terminal"
        self._bugs += is_bug
        metrics.observe(catalogue.RUNTIME_RECONCILE_TIME, seconds, controller=self._name)
        metrics.observe(catalogue.WORK_QUEUE_WORK, seconds, **self._of_queue)

    def collect(self) -> None:
        for result in ("success", "error", "requeue_after"):
            series, number = catalogue.RUNTIME_RECONCILE, self._results[result]
            metrics.count(series, self._more(result, number), controller=self._name, result=result)
        for series, number in (
            (catalogue.RUNTIME_RECONCILE_ERRORS, self._results["error"]),
            (catalogue.RUNTIME_TERMINAL_ERRORS, self._results["terminal"]),
            (catalogue.RUNTIME_PANICS, self._bugs),
        ):
            metrics.count(series, self._more(series.name, number), controller=self._name)
        for series, number in (
            (catalogue.WORK_QUEUE_ADDS, self._queue.added),
            (catalogue.WORK_QUEUE_RETRIES, self._queue.retried),
        ):
            metrics.count(series, self._more(series.name, number), **self._of_queue)
        now, since = self._queue.statistics(), self._queue.working_seconds()
        metrics.set_gauge(catalogue.RUNTIME_WORKERS, self._workers, controller=self._name)
        metrics.set_gauge(catalogue.RUNTIME_ACTIVE_WORKERS, now.working, controller=self._name)
        metrics.set_gauge(catalogue.WORK_QUEUE_DEPTH, now.ready, **self._of_queue, priority=_PRIORITY)
        metrics.set_gauge(catalogue.WORK_QUEUE_UNFINISHED, sum(since), **self._of_queue)
        metrics.set_gauge(catalogue.WORK_QUEUE_LONGEST, max(since, default=0.0), **self._of_queue)

    @property
    def _of_queue(self) -> dict[str, str]:
        return {"name": self._name, "controller": self._name}

    def _waited(self, seconds: float) -> None:
        metrics.observe(catalogue.WORK_QUEUE_WAIT, seconds, **self._of_queue)

    def _more(self, what: str, number: int) -> int:
        """By how much ``what`` has grown since the last exposition."""
        more, self._shown[what] = number - self._shown[what], number
        return more
