"""Lists and watches the StepRuns of this worker, for as long as the process lives.

A watch that ends, also by a failure, is continued where it ended; one that the API server does not remember is begun
again with a list. A connection may break so that nobody is told. While an attempt is under way, the operator counts on
it that the worker hears of the end of its StepRun in time, so silence is believed for seconds only. That costs a
request where an attempt takes longer than that. Source: SDK contract 24.2.
"""

from __future__ import annotations

import logging
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from bubu_sdk import logs
from bubu_sdk.errors import Object
from bubu_sdk.kube import RUNS_API, Cluster, KubeError, status_error
from bubu_sdk.workers.assignment import LABEL_WORKER, assigned_to, is_released
from bubu_sdk.workers.settings import WorkerSettings

SILENCE_SECONDS: Final = 75.0
"""After this time without an event the connection counts as broken: an API server sends a bookmark every minute."""
SILENCE_AT_WORK_SECONDS: Final = 10.0
"""The same while an attempt is under way."""
HEARS_WITHIN_SECONDS: Final = 15.0
"""So soon a worker at work, to whose renewals of its Lease the API server answers, knows that a StepRun is gone: after
the longest silence, another connection, and one pause. The operator's ``worker_leftovers`` relies on it.
"""
_SERVER_SECONDS: Final = 290
_SERVER_SECONDS_AT_WORK: Final = 8
"""The API server ends such a watch before its silence is too long, and sends a bookmark shortly before that."""
_ANSWER_SECONDS_AT_WORK: Final = 4.0
_PAGE: Final = 500
_FIRST_PAUSE_SECONDS: Final = 0.05
_MAX_PAUSE_SECONDS: Final = 5.0
_MAX_PAUSE_SECONDS_AT_WORK: Final = 1.0
_GONE: Final = 410

log = logging.getLogger(logs.SDK_LOGGER)


class WatchedCluster(Cluster, Protocol):
    """A cluster that can be watched."""

    def watch(self, path: str, *, silence_seconds: float, timeout_seconds: float = 30.0) -> WatchStream:
        """The events of a watch, until the server ends it.

        Args:
            path: with the query of the watch.
            silence_seconds: without a byte for so long, the connection counts as broken.
            timeout_seconds: the longest wait for the answer.
        Raises:
            KubeError: one of the classes in ``kube``.
        """


class WatchStream(Protocol):
    """Events as they arrive."""

    def __iter__(self) -> Iterator[Object]:
        """The events.

        Raises:
            KubeError: the connection is broken, or was silent for too long.
        """

    def bear_silence(self, seconds: float) -> None:
        """From now on, the connection counts as broken after so many seconds without a byte. For who iterates."""

    def close(self) -> None:
        """End it. Any thread may call it, more than once."""


@dataclass(frozen=True)
class Listed:
    """All StepRuns of the worker; the events that follow are later."""

    step_runs: list[Object]
    number: int = 0
    """The last call of ``list_anew`` before they were read."""


@dataclass(frozen=True)
class Seen:
    """A StepRun of the worker was created or changed."""

    step_run: Object


@dataclass(frozen=True)
class LostSight:
    """A StepRun was deleted, or is assigned to another worker."""

    step_run: Object


WatchNews = Listed | Seen | LostSight


class StepRunWatch:
    """A thread that posts what happens to the StepRuns of a worker."""

    def __init__(self, cluster: WatchedCluster, settings: WorkerSettings, post: Callable[[WatchNews], None]) -> None:
        self._cluster = cluster
        self._post = post
        self._pod_uid = settings.pod_uid
        self._at_work: set[str] = set()
        """UIDs of the StepRuns that this worker has not let go of."""
        self._path = f"{RUNS_API}/namespaces/{settings.namespace}/stepruns"
        self._selector = urllib.parse.quote(f"{LABEL_WORKER}={settings.pod}", safe="")
        self._version = ""
        """Where the next watch begins; empty: with a list."""
        self._wanted = 0
        """The last call of ``list_anew``."""
        self._listed = 0
        """The last one that was answered."""
        self._closed = threading.Event()
        self._stream: WatchStream | None = None
        self._thread = threading.Thread(target=self._run, name="bubu-watch", daemon=True)

    def begin(self) -> None:
        """Start to watch."""
        self._thread.start()

    def list_anew(self) -> int:
        """List once more; returns the number of this call. Only one thread may call it."""
        self._wanted += 1
        if (stream := self._stream) is not None:
            stream.close()
        return self._wanted

    def close(self) -> None:
        """End the watch."""
        self._closed.set()
        if (stream := self._stream) is not None:
            stream.close()
        self._thread.join()

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._closed.is_set():
            try:
                if not self._version or self._wanted != self._listed:
                    self._list()
                self._follow()
                pause = _FIRST_PAUSE_SECONDS
            except KubeError as error:
                if self._closed.is_set():
                    return
                if getattr(error, "code", 0) == _GONE:
                    self._version = ""
                    continue
                if pause > _FIRST_PAUSE_SECONDS:
                    log.warning("the StepRuns of this worker cannot be watched: %s", error)
                self._closed.wait(max(pause, getattr(error, "retry_after_seconds", 0.0)))
                pause = min(pause * 2, _MAX_PAUSE_SECONDS_AT_WORK if self._at_work else _MAX_PAUSE_SECONDS)

    def _list(self) -> None:
        number = self._wanted
        found: list[Object] = []
        more = ""
        while True:
            query = f"labelSelector={self._selector}&limit={_PAGE}" + (f"&continue={more}" if more else "")
            page = self._cluster.request("GET", f"{self._path}?{query}")
            found += page.get("items") or ()
            metadata: dict[str, Any] = page.get("metadata") or {}
            more = urllib.parse.quote(str(metadata.get("continue") or ""), safe="")
            if not more:
                break
        self._at_work.clear()
        for step_run in found:
            self._note(step_run)
        self._post(Listed(found, number))
        self._listed = number
        self._version = str(metadata.get("resourceVersion") or "0")

    def _follow(self) -> None:
        at_work = bool(self._at_work)
        seconds = _SERVER_SECONDS_AT_WORK if at_work else _SERVER_SECONDS
        query = (
            f"watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}"
            f"&labelSelector={self._selector}&resourceVersion={self._version}"
        )
        silence = SILENCE_AT_WORK_SECONDS if at_work else SILENCE_SECONDS
        answer = {"timeout_seconds": _ANSWER_SECONDS_AT_WORK} if at_work else {}
        stream = self._cluster.watch(f"{self._path}?{query}", silence_seconds=silence, **answer)
        self._stream = stream
        try:
            if self._closed.is_set() or self._wanted != self._listed:
                return
            for event in stream:
                self._take(str(event.get("type")), event.get("object") or {})
                if bool(self._at_work) != at_work:
                    at_work = not at_work
                    stream.bear_silence(SILENCE_AT_WORK_SECONDS if at_work else SILENCE_SECONDS)
        finally:
            stream.close()

    def _take(self, kind: str, given: Object) -> None:
        if kind == "ERROR":
            raise status_error(int(given.get("code") or 500), str(given.get("message") or "the watch has failed"))
        if kind in ("ADDED", "MODIFIED"):
            self._note(given)
            self._post(Seen(given))
        elif kind == "DELETED":
            self._at_work.discard(_uid(given))
            self._post(LostSight(given))
        if version := str((given.get("metadata") or {}).get("resourceVersion") or ""):
            self._version = version

    def _note(self, step_run: Object) -> None:
        attempt = assigned_to(step_run, self._pod_uid)
        if attempt is None or is_released(step_run, attempt):
            self._at_work.discard(_uid(step_run))
        else:
            self._at_work.add(_uid(step_run))


def _uid(step_run: Object) -> str:
    return str((step_run.get("metadata") or {}).get("uid"))
