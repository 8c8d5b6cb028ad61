"""Lists and watches the StepRuns of this worker, for as long as the process lives.

A watch that ends, also by a failure, is continued where it ended; one that the API server does not remember is begun
again with a list. Source: SDK contract 24.2.
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
from bubu_sdk.workers.assignment import LABEL_WORKER
from bubu_sdk.workers.settings import WorkerSettings

SILENCE_SECONDS: Final = 75.0
"""After this time without an event the connection counts as broken: an API server sends a bookmark every minute."""
_SERVER_SECONDS: Final = 290
_PAGE: Final = 500
_FIRST_PAUSE_SECONDS: Final = 0.05
_MAX_PAUSE_SECONDS: Final = 5.0
_GONE: Final = 410

log = logging.getLogger(logs.SDK_LOGGER)


class WatchedCluster(Cluster, Protocol):
    """A cluster that can be watched."""

    def watch(self, path: str, *, silence_seconds: float) -> WatchStream:
        """The events of a watch, until the server ends it.

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
                pause = min(pause * 2, _MAX_PAUSE_SECONDS)

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
        self._post(Listed(found, number))
        self._listed = number
        self._version = str(metadata.get("resourceVersion") or "0")

    def _follow(self) -> None:
        query = (
            f"watch=true&allowWatchBookmarks=true&timeoutSeconds={_SERVER_SECONDS}"
            f"&labelSelector={self._selector}&resourceVersion={self._version}"
        )
        stream = self._cluster.watch(f"{self._path}?{query}", silence_seconds=SILENCE_SECONDS)
        self._stream = stream
        try:
            if self._closed.is_set() or self._wanted != self._listed:
                return
            for event in stream:
                self._take(str(event.get("type")), event.get("object") or {})
        finally:
            stream.close()

    def _take(self, kind: str, given: Object) -> None:
        if kind == "ERROR":
            raise status_error(int(given.get("code") or 500), str(given.get("message") or "the watch has failed"))
        if kind in ("ADDED", "MODIFIED"):
            self._post(Seen(given))
        elif kind == "DELETED":
            self._post(LostSight(given))
        if version := str((given.get("metadata") or {}).get("resourceVersion") or ""):
            self._version = version
