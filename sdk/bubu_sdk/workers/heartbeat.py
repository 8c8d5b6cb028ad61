"""The Lease with which a worker says that it is alive, and whether it takes steps. Source: SDK contract 24.4."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Final

from bubu_contract import instants
from bubu_sdk import logs
from bubu_sdk.errors import Object
from bubu_sdk.kube import MERGE_PATCH, Cluster, ConflictError, KubeError, NotFoundError, UntrustedError
from bubu_sdk.timing import utc_now
from bubu_sdk.workers import clock
from bubu_sdk.workers.assignment import LABEL_WORKER_POOL
from bubu_sdk.workers.settings import WorkerSettings

LEASE_SECONDS: Final = 20
RENEW_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 1.0
_REQUEST_SECONDS: Final = 4.0
_ATTENTION_SECONDS: Final = 5.0
_MAX_IGNORED: Final = 9
"""Looks, one a second, without an answer of the main thread. So it ends within 16 s after the last renewal."""
_STATE_ANNOTATION: Final = "bubustack.io/worker-state"

log = logging.getLogger(logs.SDK_LOGGER)


class WorkerState(StrEnum):
    """What the operator may assign to the worker."""

    READY = "ready"
    DRAINING = "draining"
    """Nothing new."""


class Heartbeat:
    """A thread that renews the Lease."""

    def __init__(
        self,
        cluster: Cluster,
        settings: WorkerSettings,
        *,
        renewed: Callable[[float], None],
        distrusted: Callable[[str], None],
        looked_at: Callable[[], float],
        hung: Callable[[], None],
        clock_now: Callable[[], float] = clock.now,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Prepare.

        Args:
            renewed: called after each renewal, with the seconds since the one before was sent.
            distrusted: called with a message if the certificate of the API server is not trusted any more.
            looked_at: when the main thread has looked at the clock the last time. Without its attention, nothing is
                renewed: a worker whose main thread is stuck ends no step, so the operator must take it for lost.
            hung: called if it does not look any more; ends the process.
        """
        self._cluster = cluster
        self._settings = settings
        self._renewed = renewed
        self._distrusted = distrusted
        self._looked_at = looked_at
        self._hung = hung
        self._clock_now = clock_now
        self._now = now
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{settings.namespace}/leases"
        self._state = WorkerState.READY
        self._changed = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="bubu-heartbeat", daemon=True)
        self.renewed_at: float | None = None
        """When the request of the last renewal was sent, by ``clock.now()``."""
        self.announced: WorkerState | None = None
        """The state that the API server has."""

    def begin(self) -> None:
        """Start to renew."""
        self._thread.start()

    def announce(self, state: WorkerState) -> None:
        """Tell the operator a new state, soon."""
        self._state = state
        self._changed.set()

    def close(self) -> None:
        """Stop to renew. The Lease stays; it is deleted with the Pod."""
        self._is_closed = True
        self._changed.set()
        self._thread.join(_REQUEST_SECONDS)

    def _run(self) -> None:
        was_renewed = True
        ignored = 0
        while True:
            self._changed.clear()
            if self._is_closed:
                return
            began, state = self._clock_now(), self._state
            if began - self._looked_at() > _ATTENTION_SECONDS:
                ignored += 1  # counted, not measured: after a pause of the machine both threads wake up
                if ignored > _MAX_IGNORED:
                    self._hung()
                self._changed.wait(_RETRY_SECONDS)
                continue
            ignored = 0
            try:
                self._renew(state)
            except UntrustedError as error:
                self._distrusted(str(error))
                was_renewed = False
            except KubeError as error:
                if was_renewed:
                    log.warning("the Lease of this worker could not be renewed: %s", error)
                was_renewed = False
            else:
                was_renewed = True
                before, self.renewed_at, self.announced = self.renewed_at, began, state
                self._renewed(0.0 if before is None else self._clock_now() - before)
            self._changed.wait(RENEW_SECONDS if was_renewed else _RETRY_SECONDS)

    def _renew(self, state: WorkerState) -> None:
        lease = self._lease(state)
        try:
            self._request("PATCH", f"{self._collection}/{self._settings.pod}", lease, MERGE_PATCH)
        except NotFoundError:
            try:
                self._request("POST", self._collection, lease, "application/json")
            except ConflictError:
                self._request("PATCH", f"{self._collection}/{self._settings.pod}", lease, MERGE_PATCH)

    def _lease(self, state: WorkerState) -> Object:
        settings = self._settings
        owner = {"apiVersion": "v1", "kind": "Pod", "name": settings.pod, "uid": settings.pod_uid}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": settings.pod,
                "namespace": settings.namespace,
                "labels": {LABEL_WORKER_POOL: settings.pool},
                "annotations": {_STATE_ANNOTATION: str(state)},
                "ownerReferences": [owner],
            },
            "spec": {
                "holderIdentity": settings.pod_uid,
                "leaseDurationSeconds": LEASE_SECONDS,
                "renewTime": instants.format_precise_instant(self._now()),
            },
        }

    def _request(self, method: str, path: str, body: Object, content_type: str) -> None:
        self._cluster.request(method, path, body, content_type=content_type, timeout_seconds=_REQUEST_SECONDS)
