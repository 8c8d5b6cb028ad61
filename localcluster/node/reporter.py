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
    """The API server has no such Pod any more, or another of that name."""


class StatusReporter:
    """Coalesces: while one write is under way or not yet due, everything that changes goes into the next."""

    def __init__(self, client: ApiClient, pod: Object, compute: Callable[[Object], Object]) -> None:
        """``compute`` gives the status to write, from the one stored last."""
        metadata = pod["metadata"]
        self._client = client
        self._uid = metadata["uid"]
        self._path = namespaced("pods", metadata["namespace"], metadata["name"], "status")
        self._compute = compute
        self._stored: Object = pod.get("status") or {}
        self._written: Object | None = None
        """As we said it: an API server may store it in other words."""
        self._due_at = math.inf
        self._sooner = trio.Event()
        self._is_final = False

    def changed(self, within_seconds: float) -> None:
        """There is news, which may wait this long for more."""
        due_at = trio.current_time() + within_seconds
        if due_at < self._due_at:
            self._due_at = due_at
            self._sooner.set()

    def finish(self) -> None:
        """What is true now is the end; report it at once, then stop."""
        self._is_final = True
        self.changed(0)

    async def run(self) -> None:
        """Report until ``finish``, then once more.

        Raises:
            PodGoneError: nobody is interested any more.
        """
        is_last = False
        while not is_last:
            while trio.current_time() < self._due_at:
                self._sooner = trio.Event()
                with trio.move_on_at(self._due_at):
                    await self._sooner.wait()
            # Asked before the write: what becomes final during it is still to be written.
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
                # Any other refusal is a state to get out of (overloaded, half started), not an answer.
                _log.warning("pod_status_refused", path=self._path, error=str(error))
            else:
                self._stored, self._written = pod["status"], status
                return
            await trio.sleep(delays.next_delay())
