"""The requests for one EffectClaim: read, create, replace; and the thread that renews its lease.

Each write names the uid and the resourceVersion that it was decided on. After a conflict the caller reads again and
decides again. Source: Trigger contract 8.4.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from bubu_sdk import claims
from bubu_sdk.errors import Object
from bubu_sdk.kube import RUNS_API, Cluster, ConflictError, KubeError, NotFoundError, StatusError
from bubu_sdk.timing import Backoff, Timing

REQUEST_SECONDS: Final = 3.0
"""The time limit of one request."""
RELEASE_SECONDS: Final = 5.0
_LONGEST_INTERVAL_SECONDS: Final = 30.0
_SHORTEST_INTERVAL_SECONDS: Final = 0.1
_USABLE: Final = 0.9
"""The part of a lease after which an effect that could not be renewed is stopped, so that it ends before the lease."""
_REFUSALS: Final = (400, 403, 422)


class ClaimStore:
    """The claims of one namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._collection = f"{RUNS_API}/namespaces/{namespace}/effectclaims"

    def read(self, name: str) -> Object | None:
        """The claim; ``None`` if there is none.

        Raises:
            KubeError: the request failed.
        """
        try:
            return self._cluster.request("GET", f"{self._collection}/{name}", timeout_seconds=REQUEST_SECONDS)
        except NotFoundError:
            return None

    def create(self, claim: Object) -> Object:
        """The claim as stored.

        Raises:
            ConflictError: it exists.
            KubeError: the request failed.
        """
        return self._cluster.request("POST", self._collection, claim, timeout_seconds=REQUEST_SECONDS)

    def replace(self, claim: Object, timeout_seconds: float = REQUEST_SECONDS) -> Object:
        """The claim as stored, if no one has written it since ``claim`` was read.

        Raises:
            ConflictError: another client has written it.
            NotFoundError: it was deleted.
            KubeError: the request failed.
        """
        path = f"{self._collection}/{claim['metadata']['name']}"
        return self._cluster.request("PUT", path, claim, timeout_seconds=timeout_seconds)


class HeldClaim:
    """A claim that this process holds, as it was last known."""

    def __init__(self, store: ClaimStore, timing: Timing, claim: Object) -> None:
        self.claim = claim
        self._store = store
        self._timing = timing
        # The lease counts from the time in the claim: since then, a request may have waited for its answer.
        self._renewed_at = timing.monotonic() - claims.lease_age_seconds(claim, timing.now())

    @property
    def holder(self) -> str:
        return claims.holder_of(self.claim)

    @property
    def lease_seconds(self) -> int:
        return claims.lease_seconds_of(self.claim)

    @property
    def usable_seconds(self) -> float:
        """For how long the effect may still run without a renewal; negative when it should have stopped."""
        return self._renewed_at + self.lease_seconds * _USABLE - self._timing.monotonic()

    def renew(self) -> bool:
        """Renew the lease once.

        Returns:
            False: another process has the claim, or it was completed or deleted.

        Raises:
            KubeError: the request failed; also after a conflict that another attempt resolves.
        """
        began, timeout = self._timing.monotonic(), min(REQUEST_SECONDS, max(self.usable_seconds, 0.1))
        try:
            self.claim = self._store.replace(claims.renewed(self.claim, self._timing.now()), timeout)
        except NotFoundError:
            return False
        except ConflictError:
            found = self._store.read(self.claim["metadata"]["name"])
            if found is None or claims.holder_of(found) != self.holder or claims.is_completed(found):
                return False
            self.claim = found
            raise
        self._renewed_at = began
        return True

    def release(self) -> None:
        """Free the claim, so that a retry does not have to wait until the lease expires; best effort.

        Without an answer the lease expires by itself.
        """
        holder, backoff = self.holder, Backoff(self._timing, RELEASE_SECONDS)
        while True:
            try:
                self._store.replace(claims.released(self.claim))
                return
            except ConflictError:
                with suppress(KubeError):
                    found = self._store.read(self.claim["metadata"]["name"])
                    if found is None or claims.holder_of(found) != holder or claims.is_completed(found):
                        return
                    self.claim = found
            except StatusError as error:
                if error.code in _REFUSALS:
                    with suppress(KubeError):
                        self._store.replace(claims.freed(self.claim))
                if not error.retryable:
                    return
            except KubeError as error:
                if not error.retryable:
                    return
            if not backoff.pause():
                return


class Renewal:
    """Renews a lease at a third of its length until it is stopped, in a thread of its own.

    A renewal that fails is tried again while the lease lasts; only another holder ends it at once.
    """

    def __init__(self, held: HeldClaim, timing: Timing, lost: threading.Event, on_lost: Callable[[], None]) -> None:
        self.failure = ""
        """Why the lease was lost."""
        self._held = held
        self._timing = timing
        self._lost = lost
        self._on_lost = on_lost
        self._stopped = threading.Event()
        third = held.lease_seconds / 3
        self._interval_seconds = min(_LONGEST_INTERVAL_SECONDS, max(_SHORTEST_INTERVAL_SECONDS, third))
        self._join: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._join = self._timing.start(self._run, f"bubu-effect-{self._held.claim['spec']['effectKey']}")

    def stop(self) -> None:
        """Return when no renewal is in progress: from then on, the claim is as it was last written."""
        self._stopped.set()
        self._join()

    def _run(self) -> None:
        while not self._timing.wait(self._stopped, self._pause_seconds()):
            if not self._renew_patiently():
                self._lost.set()
                self._on_lost()
                return

    def _pause_seconds(self) -> float:
        return max(0.0, min(self._interval_seconds, self._held.usable_seconds / 2))

    def _renew_patiently(self) -> bool:
        """False: the lease is lost. True also when this was stopped."""
        backoff = Backoff(self._timing, self._held.usable_seconds)
        while True:
            try:
                if self._held.renew():
                    return True
                self.failure = "another process has taken it over, or it was deleted"
                return False
            except KubeError as error:
                failure = str(error)
                least = getattr(error, "retry_after_seconds", 0.0)
            if not backoff.pause(least, self._stopped):
                if self._stopped.is_set():
                    return True
                self.failure = failure
                return False
