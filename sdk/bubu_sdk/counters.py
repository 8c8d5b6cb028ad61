"""Counts in the Impulse's status how often the throttle made an event wait.

Only ``throttledTriggers`` and ``lastThrottled`` are written here; the operator derives all other counters from the
StoryTriggers. Counts are collected for a second, so a busy throttle costs one patch per second. A count never delays or
fails a submission. Source: Trigger contract 7.2.
"""

from __future__ import annotations

import logging
import threading
import time
import urllib.parse
from collections.abc import Callable
from datetime import datetime
from typing import Final

from bubu_contract import instants
from bubu_sdk import logs
from bubu_sdk.errors import Object
from bubu_sdk.kube import ENGRAMS_API, MERGE_PATCH, Cluster, ConflictError, KubeError
from bubu_sdk.timing import utc_now

COLLECT_SECONDS: Final = 1.0
_ATTEMPTS: Final = 4
_FIRST_PAUSE_SECONDS: Final = 0.01
_GROWTH: Final = 5
_REQUEST_SECONDS: Final = 3.0

log = logging.getLogger(logs.SDK_LOGGER)


class ThrottleCounter:
    """The throttle's counts of one Impulse; without a name it counts nothing. Thread-safe."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        impulse: str,
        *,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cluster = cluster
        self._path = f"{ENGRAMS_API}/namespaces/{namespace}/impulses/{urllib.parse.quote(impulse, safe='')}"
        self._enabled = bool(impulse)
        self._now = now
        self._sleep = sleep
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._pending = 0
        self._last: datetime | None = None
        self._collector: threading.Thread | None = None

    def add(self) -> None:
        """Count one event that waited; returns at once."""
        if not self._enabled:
            return
        with self._lock:
            self._pending += 1
            self._last = self._now()
            if self._collector is None:
                self._collector = threading.Thread(target=self._collect, name="bubu-counter", daemon=True)
                self._collector.start()

    def flush(self) -> None:
        """Write what is counted. A failure is logged; its counts are written with the next ones."""
        with self._writing:
            with self._lock:
                count, last, self._pending = self._pending, self._last, 0
            if not count or last is None:
                return
            try:
                self._write(count, last)
            except KubeError as error:
                log.warning("the throttle's counts could not be written: %s", error)
                with self._lock:
                    self._pending += count

    def _collect(self) -> None:
        self._sleep(COLLECT_SECONDS)
        with self._lock:
            self._collector = None
        self.flush()

    def _write(self, count: int, last: datetime) -> None:
        pause = _FIRST_PAUSE_SECONDS
        for remaining in reversed(range(_ATTEMPTS)):
            impulse = self._cluster.request("GET", self._path, timeout_seconds=_REQUEST_SECONDS)
            try:
                self._cluster.request(
                    "PATCH",
                    f"{self._path}/status",
                    increment(impulse, count, last),
                    content_type=MERGE_PATCH,
                    timeout_seconds=_REQUEST_SECONDS,
                )
            except ConflictError:
                if not remaining:
                    raise
                self._sleep(pause)
                pause *= _GROWTH
            else:
                return


def increment(impulse: Object, count: int, last: datetime) -> Object:
    """The merge patch that adds ``count`` to the status as it was read, if it has not changed since. Pure.

    ``lastThrottled`` only moves forward.
    """
    status = impulse.get("status") or {}
    changes: Object = {"throttledTriggers": int(status.get("throttledTriggers") or 0) + count}
    before = status.get("lastThrottled")
    if not before or instants.parse_instant(before) < last:
        changes["lastThrottled"] = instants.format_instant(last)
    version = impulse.get("metadata", {}).get("resourceVersion", "")
    return ({"metadata": {"resourceVersion": version}} if version else {}) | {"status": changes}
