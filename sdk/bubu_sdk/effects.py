"""Side effects that must happen only once, in spite of retries, restarts and concurrent Pods.

An EffectClaim is a lease on one effect. A process creates it or takes it over, renews it while the effect runs, and
completes it. A process that finds a completed claim does not run the effect again. The claim decides; the list
``status.effects`` of the StepRun is a record for people. Source: SDK contract 18; Trigger contract 8.4 and 9.

After a crash between the claim and the effect, the lease expires; the next attempt takes it over and runs the effect.
After a crash between the effect and the completion, the lease expires too, and the effect runs *again*. Pass
``lease.idempotency_key`` to the service that you call: only the service can distinguish the two cases.

An effect that raises counts as not happened, and its claim is released. If its outcome is not known, for example
because the service did not answer, the idempotency key protects here, too.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bubu_contract import canonical, instants
from bubu_contract.submission import claim_name
from bubu_sdk import claims, encode, logs, signals
from bubu_sdk.claim_store import ClaimStore, HeldClaim, Renewal
from bubu_sdk.claims import DEFAULT_LEASE_SECONDS, ClaimFound
from bubu_sdk.contract import DEFAULT_OPERATION_TIMEOUT_SECONDS, Identity
from bubu_sdk.errors import EffectInProgressError, EffectLostError, Object
from bubu_sdk.kube import Cluster, ConflictError, KubeError, NotFoundError, StatusError
from bubu_sdk.status import EffectRecord, StatusUpdate
from bubu_sdk.steprun import StepRunClient, StepRunError
from bubu_sdk.timing import Backoff, Timing

DEFAULT_MAX_DETAILS_BYTES: Final = 8192
PATCH_TIMEOUT_SECONDS: Final = 3.0
_REFUSED: Final[Object] = {"refused": True}
"""The details of an effect whose own details the API server does not accept."""
_MOST_LATE_ANSWERS: Final = 3
"""How often a claim is renewed before its effect has begun, because the answer came after the lease."""
_POLL_SECONDS: Final = 1.0
_STALE_SECONDS: Final = 15.0
"""How long a claim of a deleted StepRun is waited for: the cluster deletes it."""

log = logging.getLogger(logs.SDK_LOGGER)


@dataclass(frozen=True)
class EffectOutcome:
    """The result of ``execute_once``."""

    executed: bool
    """True if this call ran the effect; False if the effect had already happened."""
    details: Object
    """The recorded return value of the effect, from the attempt that ran it; empty if nothing was recorded."""


@dataclass(frozen=True)
class EffectLease:
    """The argument of the effect while it runs."""

    key: str
    idempotency_key: str
    """The same for each attempt of this effect; pass it to the service that you call."""
    lost: threading.Event
    """Set if the lease could not be renewed: stop, because another holder may start the effect."""


def record(
    key: str, status: str, details: Any, *, now: datetime, max_details_bytes: int = DEFAULT_MAX_DETAILS_BYTES
) -> StatusUpdate:
    """The status update that records an effect.

    Raises:
        ValueError: the key is blank.
        OutputError: the details cannot be written as JSON.
    """
    if not key.strip():
        raise ValueError("an effect needs a key")
    return StatusUpdate(effects=(EffectRecord(key.strip(), status, now, bounded(details, max_details_bytes)),))


def bounded(details: Any, limit_bytes: int) -> Object | None:
    """Details as a JSON object: other values are wrapped, and those above ``limit_bytes`` replaced by their summary.

    Raises:
        OutputError: the details cannot be written as JSON.
    """
    if details is None:
        return None
    plain = encode.to_json(details, "effect details")
    if len(canonical.encode(plain)) <= limit_bytes:
        return plain if isinstance(plain, dict) else {"value": plain}
    return {"truncated": True, **signals.summary(plain)}


def recordable(returned: Any, limit_bytes: int) -> Object:
    """``bounded`` for an effect that has happened: it never fails, whatever the effect returned."""
    try:
        return bounded(returned, limit_bytes) or {}
    except Exception as error:  # noqa: BLE001 - user code in __iter__ or model_dump may raise anything
        log.warning("the result of an effect is recorded without its value: %s", error)
        return {"unserializable": True, "type": type(returned).__name__}


class Effects:
    """The effects of one StepRun. Blocking; thread-safe.

    ``stop`` ends the wait for another holder: it is set when the step is cancelled. An outage of the API server is
    waited out until ``patient_until`` on the monotonic clock, and for at least 30 s.
    """

    def __init__(
        self,
        cluster: Cluster,
        steprun: StepRunClient,
        identity: Identity,
        *,
        timing: Timing | None = None,
        stop: threading.Event | None = None,
        patient_until: float = 0.0,
        max_details_bytes: int = DEFAULT_MAX_DETAILS_BYTES,
    ) -> None:
        self._store = ClaimStore(cluster, identity.namespace)
        self._steprun = steprun
        self._identity = identity
        self._timing = timing or Timing()
        self._stop = stop or threading.Event()
        self._patient_until = patient_until
        self._max_details_bytes = max_details_bytes
        self._gates: dict[str, threading.Lock] = {}
        self._gates_lock = threading.Lock()

    def record(self, key: str, status: str, details: Any = None) -> None:
        """Record an effect in the status; a key that is already there is not recorded twice.

        The effect has happened, and compensations rely on the record: an outage of the API server is waited out.

        Raises:
            ValueError: the key is blank.
            OutputError: the details cannot be written as JSON.
            StepRunError: another Pod owns the StepRun.
            KubeError: the API server refuses the record, or the outage did not end in time.
        """
        self._steprun.update(self._entry(key, status, details), patient_until=self._patient_until)

    def _entry(self, key: str, status: str, details: Any) -> StatusUpdate:
        return record(key, status, details, now=self._timing.now(), max_details_bytes=self._max_details_bytes)

    def has(self, key: str) -> bool:
        """Whether the effect has happened: its claim is completed, or the status contains it.

        Raises:
            KubeError: the API server refused the request or did not answer.
        """
        key = key.strip()
        entries = (self._steprun.read().get("status") or {}).get("effects") or []
        if any(str(entry.get("key", "")).strip() == key for entry in entries):
            return True
        claim = self._store.read(claim_name(self._identity.namespace, self._identity.step_run, key))
        return claim is not None and claims.is_completed(claim)

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

        A value that is not an object is recorded as ``{"value": …}``, and a value without a JSON form by its type.

        Args:
            lease_seconds: how long other attempts wait after this process has vanished; it is renewed meanwhile.
            wait_seconds: how long to wait until a live holder finishes or its lease expires.
            on_lost: called from another thread when the lease is lost, after ``lease.lost`` is set.
        Raises:
            ValueError: the key is blank or longer than 256 characters, or ``lease_seconds`` is less than 1.
            EffectInProgressError: another holder still performs the effect; code ``EffectInProgress``.
            EffectLostError: another holder took the claim over while the effect ran here; code ``EffectLost``.
            EngramError: the existing claim belongs to another effect; code ``EffectClaimMismatch``.
            KubeError: the API server refused the claim, or did not answer; also for the completion of an effect that
                has happened.
        """
        key = key.strip()
        if not 0 < len(key) <= claims.MAX_KEY_CHARACTERS:
            raise ValueError(f"an effect needs a key of 1 to {claims.MAX_KEY_CHARACTERS} characters")
        if lease_seconds < 1:
            raise ValueError("lease_seconds must be at least 1")
        with self._gate(key):
            held = self._acquire(key, lease_seconds, wait_seconds)
            if isinstance(held, EffectOutcome):
                return held
            return self._perform(key, effect, held, on_lost)

    def _gate(self, key: str) -> threading.Lock:
        with self._gates_lock:
            return self._gates.setdefault(key, threading.Lock())

    # Acquire.

    def _acquire(self, key: str, lease_seconds: int, wait_seconds: float) -> HeldClaim | EffectOutcome:
        identity, timing = self._identity, self._timing
        step_run = self._steprun.read()
        holder = claims.holder_identity(identity.pod or identity.step_run, os.urandom(16).hex())
        began, exists = timing.monotonic(), False
        while True:
            wanted = claims.new_claim(identity, step_run, key, holder, lease_seconds, timing.now())
            won = self._claim(wanted, exists=exists)
            if isinstance(won, HeldClaim | EffectOutcome):
                return won
            (state, claim), exists = won, True
            patience = max(wait_seconds, _STALE_SECONDS) if state is ClaimFound.STALE else wait_seconds
            remaining = began + patience - timing.monotonic()
            if remaining <= 0 or timing.wait(self._stop, min(_POLL_SECONDS, remaining)):
                raise _in_progress(key, state, claim)

    def _claim(self, wanted: Object, *, exists: bool) -> HeldClaim | EffectOutcome | tuple[ClaimFound, Object]:
        """The claim, whose lease this process still holds; its outcome; or what keeps this process from taking it.

        ``exists``: whether the claim is known to exist, so that it is read first.
        """
        backoff = Backoff(self._timing, DEFAULT_OPERATION_TIMEOUT_SECONDS, first_seconds=0.05)
        patience = Backoff(self._timing, self._patience_seconds(), first_seconds=0.05)
        late = 0
        while True:
            try:
                if not exists:
                    return _in_time(self._held(self._store.create(wanted)))
                claim = self._store.read(wanted["metadata"]["name"])
                if claim is not None:
                    won = self._contend(claim, wanted)
                    return _in_time(won) if isinstance(won, HeldClaim) else won
                exists = False
            except ConflictError:  # it exists, or another client has just written it
                exists = True
            except _LateError as error:  # another attempt may have taken it meanwhile
                late, exists = late + 1, True
                if late == _MOST_LATE_ANSWERS:
                    error.held.release()
                    raise _too_slow(wanted) from error
                continue
            except KubeError as error:
                # The write may have happened. Then the next one finds a claim with the holder of this process.
                pauses = patience if error.is_outage else backoff
                if not error.retryable or not pauses.pause(_retry_after(error), self._stop):
                    raise
                continue
            if backoff.remaining_seconds <= 0:
                raise EffectInProgressError(
                    f"the claim of effect {wanted['spec']['effectKey']!r} is changed by others again and again",
                    code="EffectInProgress",
                )

    def _contend(self, claim: Object, wanted: Object) -> HeldClaim | EffectOutcome | tuple[ClaimFound, Object]:
        """Raises:
        ConflictError: another attempt was quicker to take the claim over.
        """
        state, spec = claims.judge(claim, wanted, self._timing.now()), wanted["spec"]
        match state:
            case ClaimFound.COMPLETED:
                return self._already(claim)
            case ClaimFound.MINE:
                held = self._held(claim)
                if held.usable_seconds > 0:
                    return held
                return self._held(self._store.replace(claims.renewed(claim, self._timing.now())))
            case ClaimFound.FREE | ClaimFound.EXPIRED:
                if state is ClaimFound.EXPIRED:
                    log.warning("taking the effect over from %s, whose lease has expired", claims.holder_of(claim))
                now = self._timing.now()
                mine = claims.taken_over(claim, spec["holderIdentity"], spec["leaseDurationSeconds"], now)
                return self._held(self._store.replace(mine))
        return state, claim

    def _held(self, claim: Object) -> HeldClaim:
        return HeldClaim(self._store, self._timing, claim)

    def _already(self, claim: Object) -> EffectOutcome:
        spec = claim["spec"]
        self._record_for_people(str(spec["effectKey"]), spec.get("details"))
        return EffectOutcome(False, dict(spec.get("details") or {}))

    # Perform.

    def _perform(
        self,
        key: str,
        effect: Callable[[EffectLease], Mapping[str, Any] | None],
        held: HeldClaim,
        on_lost: Callable[[], None],
    ) -> EffectOutcome:
        lease = EffectLease(key, f"{self._identity.idempotency_key}/effect/{key}", threading.Event())
        renewal = Renewal(held, self._timing, lease.lost, on_lost)
        try:
            renewal.start()
            returned = effect(lease)
        except BaseException as error:
            renewal.stop()
            held.release()
            if lease.lost.is_set():
                raise _lost(key, f"{renewal.failure}; the effect ended with: {error!r}") from error
            raise
        renewal.stop()
        stored = self._complete(held, recordable(returned, self._max_details_bytes))
        details = dict(stored["spec"].get("details") or {})
        self._record_for_people(key, details or None)
        return EffectOutcome(True, details)

    def _complete(self, held: HeldClaim, details: Object) -> Object:
        """The completed claim. The effect has happened, so this is tried as long as lease and step may last.

        Raises:
            EffectLostError: another process holds the claim.
            KubeError: the API server refuses, or does not answer.
        """
        holder = held.holder
        patience_seconds = max(held.usable_seconds, self._patience_seconds())
        backoff = Backoff(self._timing, patience_seconds, first_seconds=0.02)
        claim: Object | None = held.claim
        while True:
            done = claims.completed(claim or claims.unstored(held.claim), holder, details, self._timing.now())
            try:
                return self._store.create(done) if claim is None else self._store.replace(done)
            except KubeError as error:
                is_changed = isinstance(error, ConflictError) or (
                    claim is not None and isinstance(error, NotFoundError)
                )
                if not is_changed and not error.retryable:
                    if details == _REFUSED or not isinstance(error, StatusError):
                        raise
                    log.warning("the details of effect %s are refused: %s", held.claim["spec"]["effectKey"], error)
                    details = _REFUSED  # only they can be wrong: everything else was admitted before
                    continue
                if not backoff.pause(_retry_after(error)):
                    raise
            claim = self._reread(held.claim, holder, backoff)
            if claim is not None and claims.is_completed(claim):
                return claim

    def _patience_seconds(self) -> float:
        """How long an outage of the API server is waited out."""
        return max(DEFAULT_OPERATION_TIMEOUT_SECONDS, self._patient_until - self._timing.monotonic())

    def _reread(self, last: Object, holder: str, backoff: Backoff) -> Object | None:
        """The claim after a write that failed; ``None`` if it was deleted.

        Raises:
            EffectLostError: another process holds it, or it is that of another StepRun.
            KubeError: it cannot be read in time.
        """
        while True:
            try:
                claim = self._store.read(last["metadata"]["name"])
                break
            except KubeError as error:
                if not error.retryable or not backoff.pause(_retry_after(error)):
                    raise
        if claim is None:
            return None
        key, other = str(last["spec"]["effectKey"]), claims.holder_of(claim)
        if claims.is_of_another_step_run(claim["spec"], last["spec"]):
            raise _lost(key, "its StepRun was deleted; the effect ran, and is not recorded")
        if other not in ("", holder):
            if not claims.is_completed(claim):
                raise _lost(key, f"{other} took it over; the effect ran here, and may run there again")
            log.warning("effect %s ran here, and was also completed by %s", key, other)
        return claim

    def _record_for_people(self, key: str, details: Any) -> None:
        """Write ``status.effects``; best effort: the claim has the truth, and the next attempt writes it again."""
        try:
            self._steprun.update(self._entry(key, "succeeded", details), PATCH_TIMEOUT_SECONDS)
        except (KubeError, StepRunError) as error:
            log.warning("effect %s is completed, but not listed in the status: %s", key, error)


class _LateError(Exception):
    """The answer about a claim came when its lease had ended: the server was slow, or this process was stopped."""

    def __init__(self, held: HeldClaim) -> None:
        super().__init__()
        self.held = held


def _in_time(held: HeldClaim) -> HeldClaim:
    """Raises:
    _LateError: the claim can no longer be relied on.
    """
    if held.usable_seconds <= 0:
        raise _LateError(held)
    return held


def _too_slow(wanted: Object) -> EffectInProgressError:
    spec = wanted["spec"]
    message = (
        f"the claim of effect {spec['effectKey']!r} could not be taken: each answer of the API server took longer than "
        f"its lease of {spec['leaseDurationSeconds']} s; choose a longer one"
    )
    return EffectInProgressError(message, code="EffectInProgress")


def _retry_after(error: KubeError) -> float:
    return float(getattr(error, "retry_after_seconds", 0.0))


def _in_progress(key: str, state: ClaimFound, claim: Object) -> EffectInProgressError:
    holder, until = claims.holder_of(claim), claims.lease_end(claim)
    ends = instants.format_precise_instant(until) if until is not None else ""
    if state is ClaimFound.STALE:
        message = (
            f"the claim of effect {key!r} belongs to a StepRun that was deleted; try again when the claim is deleted"
        )
    else:
        who = f"{holder}, whose result is not known yet; its lease ends at {ends}"
        message = f"the effect {key!r} is being performed by {who}"
    details = {"effect": key, "holder": holder, "leaseUntil": ends}
    if ends and state is not ClaimFound.STALE:
        details["retryAt"] = ends
    return EffectInProgressError(message, code="EffectInProgress", details=details)


def _lost(key: str, cause: str) -> EffectLostError:
    return EffectLostError(f"the lease on effect {key!r} was lost while it ran: {cause}", code="EffectLost")
