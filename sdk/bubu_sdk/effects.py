"""Side effects that must happen only once, in spite of retries, restarts and concurrent Pods.

An EffectClaim is a lease on one effect. A process creates it or takes it over, renews it while the effect runs, and
completes it. A process that finds a completed claim does not run the effect again. Source: SDK contract 18; admission
contract 11.

After a crash between the claim and the effect, the lease expires; the next attempt takes it over and runs the effect.
After a crash between the effect and the completion, the lease expires too, and the effect runs *again*. Pass
``lease.idempotency_key`` to the service that you call: only the service can distinguish the two cases.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Final

from bubu_sdk import canonical, encode, instant, signals
from bubu_sdk.contract import Identity
from bubu_sdk.errors import EffectInProgressError, EffectLostError, EngramError, Object
from bubu_sdk.kube import RUNS_API, Cluster, ConflictError, KubeError, NotFoundError, StatusError
from bubu_sdk.status import EffectRecord, StatusUpdate
from bubu_sdk.steprun import StepRunClient

DEFAULT_LEASE_SECONDS: Final = 600
DEFAULT_MAX_DETAILS_BYTES: Final = 8192
PATCH_TIMEOUT_SECONDS: Final = 3.0
_TAKE_OVER_ATTEMPTS: Final = 3
_MAX_NAME: Final = 253
_POLL_SECONDS: Final = 1.0


@dataclass(frozen=True)
class EffectOutcome:
    """The result of ``execute_once``."""

    executed: bool
    """True if this call ran the effect; False if the effect had already happened."""
    details: Object
    """The return value of the effect, from the attempt that ran it; empty if nothing was recorded."""


@dataclass(frozen=True)
class EffectLease:
    """The argument of the effect while it runs."""

    key: str
    idempotency_key: str
    """The same for each attempt of this effect; pass it to the service that you call."""
    lost: threading.Event
    """Set if the lease could not be renewed: stop, because another holder may start the effect."""


@dataclass(frozen=True)
class _Held:
    """A claim that this process holds, as it was last written."""

    claim: Object


def claim_name(namespace: str, step_run: str, key: str) -> str:
    """The name of the EffectClaim of one effect of one StepRun.

    >>> claim_name("default", "sr-1-charge", "charge-card")
    'sr-1-charge-effect-1ceea1f6cb4e8bee'
    """
    import hashlib  # imported here, because most steps never need it and it costs milliseconds

    digest = hashlib.sha1(f"{namespace}/{step_run}/{key}".encode(), usedforsecurity=False).hexdigest()[:16]
    suffix = f"-effect-{digest}"
    if len(step_run) + len(suffix) > _MAX_NAME:
        step_run = step_run[: _MAX_NAME - len(suffix)].rstrip("-") or "s"
    return f"{step_run}{suffix}"


def holder_identity(namespace: str, step_run: str, key: str, nonce: str) -> str:
    """The identity of the holder of a claim: what the claim is about, shortened if necessary, and ``nonce``, which is
    never shortened.

    Two holders must not have the same identity: each would then treat the other's lease as its own.

    >>> holder_identity("default", "sr-1-charge", "charge-card", "5f0c")
    'default:sr-1-charge:charge-card:5f0c'
    """
    return f"{f'{namespace}:{step_run}:{key}'[: _MAX_NAME - len(nonce) - 1]}:{nonce}"


def record(
    key: str, status: str, details: Any, *, now: datetime, max_details_bytes: int = DEFAULT_MAX_DETAILS_BYTES
) -> StatusUpdate:
    """The status update that records an effect.

    Raises:
        ValueError: the key is blank.
        OutputError: the details have no JSON form.
    """
    if not key.strip():
        raise ValueError("an effect needs a key")
    return StatusUpdate(effects=(EffectRecord(key, status, now, bounded(details, max_details_bytes)),))


def bounded(details: Any, limit_bytes: int) -> Object | None:
    """Details as plain JSON, or their summary if they are larger than ``limit_bytes``."""
    if details is None:
        return None
    plain = encode.to_json(details, "effect details")
    if len(canonical.encode(plain)) <= limit_bytes:
        return plain if isinstance(plain, dict) else {"value": plain}
    return {"truncated": True, **signals.summary(plain), "details": {}}


class Effects:
    """The effects of one StepRun. Blocking; thread-safe."""

    def __init__(
        self,
        cluster: Cluster,
        steprun: StepRunClient,
        identity: Identity,
        *,
        now: Callable[[], datetime] = instant.utc_now,
        max_details_bytes: int = DEFAULT_MAX_DETAILS_BYTES,
    ) -> None:
        self._cluster = cluster
        self._steprun = steprun
        self._identity = identity
        self._now = now
        self._max_details_bytes = max_details_bytes
        self._collection = f"{RUNS_API}/namespaces/{identity.namespace}/effectclaims"
        self._gates: dict[str, threading.Lock] = {}
        self._gates_lock = threading.Lock()

    def record(self, key: str, status: str, details: Any = None) -> None:
        """Record an effect in the status; a key that is already there is not recorded twice."""
        change = record(key, status, details, now=self._now(), max_details_bytes=self._max_details_bytes)
        self._steprun.update(change, PATCH_TIMEOUT_SECONDS)

    def has(self, key: str) -> bool:
        """Whether the status contains the effect."""
        return self._recorded(self._steprun.read(), key) is not None

    def execute_once(
        self,
        key: str,
        effect: Callable[[EffectLease], Mapping[str, Any] | None],
        *,
        lease_seconds: int = DEFAULT_LEASE_SECONDS,
        wait_seconds: float = 0.0,
        on_lost: Callable[[], None] = lambda: None,
    ) -> EffectOutcome:
        """Run ``effect`` unless it has already happened; its return value is recorded as its details.

        Args:
            wait_seconds: how long to wait until a live holder finishes or its lease expires.
            on_lost: called from another thread when the lease is lost, after ``lease.lost`` is set.
        Raises:
            EffectInProgressError: another holder still performs the effect.
            EffectLostError: this process lost the lease while the effect ran.
            EngramError: the existing claim belongs to another effect or another StepRun.
            KubeError: the API server refused the claim or did not answer.
        """
        if not key.strip():
            raise ValueError("an effect needs a key")
        if lease_seconds < 1:
            raise ValueError("lease_seconds must be at least 1")
        with self._gate(key):
            held = self._acquire(key, lease_seconds, time.monotonic() + wait_seconds)
            if isinstance(held, EffectOutcome):
                return held
            return self._perform(key, effect, held, lease_seconds, on_lost)

    def _gate(self, key: str) -> threading.Lock:
        with self._gates_lock:
            return self._gates.setdefault(key, threading.Lock())

    def _acquire(self, key: str, lease_seconds: int, deadline: float) -> _Held | EffectOutcome:
        step_run = self._steprun.read()
        entry = self._recorded(step_run, key)
        if entry is not None:
            return EffectOutcome(False, dict(entry.get("details") or {}))
        holder = holder_identity(self._identity.namespace, self._identity.step_run, key, os.urandom(16).hex())
        wanted = self._claim(step_run, key, holder, lease_seconds)
        while True:
            try:
                return _Held(self._cluster.request("POST", self._collection, wanted))
            except ConflictError:
                outcome = self._contend(wanted, lease_seconds)
            if outcome is not None:
                return outcome
            if time.monotonic() >= deadline:
                raise EffectInProgressError(
                    f"the effect {key!r} is being performed by another holder, whose result is not known yet"
                )
            time.sleep(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))

    def _contend(self, wanted: Object, lease_seconds: int) -> _Held | EffectOutcome | None:
        """The claim exists: use its result or take it over; ``None`` while a live holder has it."""
        path = f"{self._collection}/{wanted['metadata']['name']}"
        for _ in range(_TAKE_OVER_ATTEMPTS):
            try:
                claim = self._cluster.request("GET", path)
            except NotFoundError:
                return None
            spec = claim["spec"]
            _check_identity(spec, wanted["spec"])
            if spec.get("completionStatus") == "completed":
                self._backfill(spec)
                return EffectOutcome(False, dict(spec.get("details") or {}))
            holder = str(spec.get("holderIdentity") or "").strip()
            if holder == wanted["spec"]["holderIdentity"]:
                return _Held(claim)  # this process created it, but the answer was lost
            if holder and not self._expired(claim):
                return None
            now = instant.format_micros(self._now())
            spec |= {
                "holderIdentity": wanted["spec"]["holderIdentity"],
                "acquireTime": now,
                "renewTime": now,
                "leaseDurationSeconds": lease_seconds,
            }
            if holder:
                spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
            try:
                return _Held(self._cluster.request("PUT", path, claim))
            except ConflictError:
                continue
        return None

    def _perform(
        self,
        key: str,
        effect: Callable[[EffectLease], Mapping[str, Any] | None],
        held: _Held,
        lease_seconds: int,
        on_lost: Callable[[], None],
    ) -> EffectOutcome:
        lease = EffectLease(key, f"{self._identity.idempotency_key}/effect/{key}", threading.Event())
        renewal = _Renewal(self._cluster, self._path(held), held, lease, lease_seconds, self._now, on_lost)
        renewal.start()
        try:
            returned = effect(lease)
        except BaseException:
            renewal.stop()
            if lease.lost.is_set():
                raise EffectLostError(_lost(key, renewal.failure)) from None
            self._release(renewal.held)
            raise
        renewal.stop()
        if lease.lost.is_set():
            raise EffectLostError(_lost(key, renewal.failure))
        details = bounded(returned, self._max_details_bytes) or {}
        self._complete(renewal.held, details)
        self.record(key, "succeeded", details or None)
        return EffectOutcome(True, details)

    def _complete(self, held: _Held, details: Object) -> None:
        # Both are in whole seconds, rounded up. Otherwise an admission that compares completedAt (seconds) with
        # renewTime (microseconds) would refuse the same instant.
        now = self._now()
        instant_text = instant.format_seconds(datetime.fromtimestamp(ceil(now.timestamp()), tz=now.tzinfo))
        spec = {
            **held.claim["spec"],
            "completionStatus": "completed",
            "completedAt": instant_text,
            "renewTime": instant_text.replace("Z", ".000000Z"),
        }
        if details:
            spec["details"] = details
        self._cluster.request("PUT", self._path(held), {**held.claim, "spec": spec})

    def _release(self, held: _Held) -> None:
        """Release the claim, so that a retry does not have to wait until the lease expires; best effort."""
        gone = ("holderIdentity", "acquireTime", "renewTime", "completedAt", "details")
        spec = {name: value for name, value in held.claim["spec"].items() if name not in gone}
        try:
            self._cluster.request(
                "PUT", self._path(held), {**held.claim, "spec": {**spec, "completionStatus": "released"}}
            )
        except StatusError as error:
            if error.code not in (400, 403, 422):
                return
            spec.pop("completionStatus", None)
            try:  # an admission that requires completedAt with each completionStatus still accepts an empty holder
                self._cluster.request("PUT", self._path(held), {**held.claim, "spec": spec})
            except KubeError:
                return  # the lease expires by itself
        except KubeError:
            return  # the lease expires by itself

    def _backfill(self, spec: Object) -> None:
        """Record the effect of an attempt that died after it had completed its claim, but before this record."""
        key = str(spec["effectKey"])
        change = record(
            key, "succeeded", spec.get("details"), now=self._now(), max_details_bytes=self._max_details_bytes
        )
        self._steprun.update(change, PATCH_TIMEOUT_SECONDS)

    def _claim(self, step_run: Object, key: str, holder: str, lease_seconds: int) -> Object:
        identity, now = self._identity, instant.format_micros(self._now())
        uid = step_run.get("metadata", {}).get("uid", "")
        spec: Object = {
            "stepRunRef": {"name": identity.step_run} | ({"uid": uid} if uid else {}),
            "effectKey": key,
            "holderIdentity": holder,
            "acquireTime": now,
            "renewTime": now,
            "leaseDurationSeconds": lease_seconds,
        }
        if idempotency_key := step_run.get("spec", {}).get("idempotencyKey"):
            spec["idempotencyKey"] = idempotency_key
        owner = {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StepRun", "name": identity.step_run, "uid": uid}
        metadata: Object = {
            "name": claim_name(identity.namespace, identity.step_run, key),
            "namespace": identity.namespace,
        }
        if uid:
            metadata["ownerReferences"] = [owner]
        return {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "EffectClaim", "metadata": metadata, "spec": spec}

    def _expired(self, claim: Object) -> bool:
        spec = claim["spec"]
        since = spec.get("renewTime") or spec.get("acquireTime") or claim["metadata"].get("creationTimestamp")
        if not since:
            return True
        lasts = timedelta(seconds=int(spec.get("leaseDurationSeconds") or DEFAULT_LEASE_SECONDS))
        return instant.parse_instant(since) + lasts <= self._now()

    def _path(self, held: _Held) -> str:
        return f"{self._collection}/{held.claim['metadata']['name']}"

    @staticmethod
    def _recorded(step_run: Object, key: str) -> Object | None:
        entries = (step_run.get("status") or {}).get("effects") or []
        return next((entry for entry in entries if str(entry.get("key", "")).strip() == key.strip()), None)


class _Renewal(threading.Thread):
    """Renews the lease at a third of its duration until it is stopped. Marks the lease as lost if a renewal is refused
    or the lease has nearly expired.
    """

    def __init__(
        self,
        cluster: Cluster,
        path: str,
        held: _Held,
        lease: EffectLease,
        lease_seconds: int,
        now: Callable[[], datetime],
        on_lost: Callable[[], None],
    ) -> None:
        super().__init__(name=f"bubu-effect-{lease.key}", daemon=True)
        self.held = held
        self.failure = ""
        self._cluster = cluster
        self._path = path
        self._lease = lease
        self._interval_seconds = min(30.0, max(0.1, lease_seconds / 3))
        self._patience_seconds = lease_seconds * 2 / 3
        self._now = now
        self._on_lost = on_lost
        self._stopped = threading.Event()

    def run(self) -> None:
        renewed_at = time.monotonic()
        while not self._stopped.wait(self._interval_seconds):
            claim = {
                **self.held.claim,
                "spec": {**self.held.claim["spec"], "renewTime": instant.format_micros(self._now())},
            }
            try:
                self.held = _Held(self._cluster.request("PUT", self._path, claim))
                renewed_at = time.monotonic()
            except KubeError as error:
                if error.retryable and time.monotonic() - renewed_at < self._patience_seconds:
                    continue  # a third of the lease's duration is still left
                self.failure = str(error)
                self._lease.lost.set()
                self._on_lost()
                return

    def stop(self) -> None:
        """Return when no renewal is in progress, so that ``held`` is the claim as last written."""
        self._stopped.set()
        self.join()


def _lost(key: str, cause: str) -> str:
    return f"the lease on effect {key!r} was lost while it ran: {cause}"


def _check_identity(found: Object, wanted: Object) -> None:
    for name in ("effectKey", "idempotencyKey"):
        if found.get(name) and wanted.get(name) and str(found[name]).strip() != str(wanted[name]).strip():
            raise EngramError(
                f"the EffectClaim belongs to another effect: {name} is {found[name]!r}, not {wanted[name]!r}"
            )
    for name in ("name", "uid"):
        mine, theirs = wanted["stepRunRef"].get(name), found.get("stepRunRef", {}).get(name)
        if mine and theirs and mine != theirs:
            raise EngramError(
                f"the EffectClaim belongs to another StepRun: stepRunRef.{name} is {theirs!r}, not {mine!r}"
            )
