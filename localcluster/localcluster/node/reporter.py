"""Writes the status of one Pod: one request at a time, only the newest state, as few writes as possible."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import trio

from localcluster.log import get_logger
from localcluster.node.client import ApiClient, ApiError, UnreachableError, namespaced
from localcluster.node.stopping import Backoff

Object = dict[str, Any]

_log = get_logger("localcluster.node")
_RETRY_FIRST_SECONDS, _RETRY_LIMIT_SECONDS = 0.1, 5.0


class PodGoneError(Exception):
    """The Pod no longer exists in the API server, or another one has its name."""


class StatusReporter:
    """Collects changes: those that come before a write is due, or while one is under way, go into the next write."""

    def __init__(self, client: ApiClient, pod: Object, compute: Callable[[Object], Object]) -> None:
        """``compute`` takes the status stored last and returns the status to write."""
        metadata = pod["metadata"]
        self._client = client
        self._uid = metadata["uid"]
        self._path = namespaced("pods", metadata["namespace"], metadata["name"], "status")
        self._compute = compute
        self._stored: Object = pod.get("status") or {}
        self._written: Object | None = None
        """The status as we sent it: an API server may store it in another form."""
        self._due_at = math.inf
        self._sooner = trio.Event()
        self._is_final = False

    def changed(self, within_seconds: float) -> None:
        """Report a change within ``within_seconds``; further changes until then go into the same write."""
        due_at = trio.current_time() + within_seconds
        if due_at < self._due_at:
            self._due_at = due_at
            self._sooner.set()

    def finish(self) -> None:
        """Report the current status, which is final, at once; then stop."""
        self._is_final = True
        self.changed(0)

    async def run(self) -> None:
        """Report until ``finish``, then once more.

        Raises:
            PodGoneError: the API server no longer has this Pod.
        """
        is_last = False
        while not is_last:
            while trio.current_time() < self._due_at:
                self._sooner = trio.Event()
                with trio.move_on_at(self._due_at):
                    await self._sooner.wait()
            # Read before the write: if the status becomes final during the write, another write follows.
            is_last = self._is_final
            self._due_at = math.inf
            await self._write()

    async def _write(self) -> None:
        delays = Backoff(_RETRY_FIRST_SECONDS, _RETRY_LIMIT_SECONDS)
        while True:
            status = self._compute(self._stored)
            if status == self._written or all(self._stored.get(name) == value for name, value in status.items()):
                return
            try:
                pod = await self._client.merge_patch(self._path, {"metadata": {"uid": self._uid}, "status": status})
            except UnreachableError as error:
                _log.warning("pod_status_not_written", path=self._path, error=str(error))
            except ApiError as error:
                if error.code in (404, 409):
                    raise PodGoneError(self._path) from error
                # Any other refusal is temporary (the server is overloaded or starting), so the write is retried.
                _log.warning("pod_status_refused", path=self._path, error=str(error))
            else:
                self._stored, self._written = pod["status"], status
                return
            await trio.sleep(delays.next_delay())
