"""EffectClaims as documents: their names, what each transition writes, and what a claim that exists means. Pure.

A claim is a lease with an outcome. Every function returns a new document; a write sends uid and resourceVersion of the
document that it was made from, so the API server refuses it if another client has written meanwhile. Source: Trigger
contract 8.4.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from bubu_contract import instants
from bubu_contract.submission import MAX_NAME_BYTES, claim_name
from bubu_sdk.contract import Identity
from bubu_sdk.errors import EngramError, Object

DEFAULT_LEASE_SECONDS: Final = 600
MAX_KEY_CHARACTERS: Final = 256
_RUNS_API_VERSION: Final = "runs.bubustack.io/v1alpha1"


class ClaimFound(Enum):
    """What a claim that exists means for a process that wants the effect."""

    COMPLETED = "the effect has happened"
    MINE = "this process holds it: it has written the claim and lost the answer"
    FREE = "no attempt holds it"
    EXPIRED = "its holder has not renewed it in time"
    HELD = "another process performs the effect"
    STALE = "it belongs to a StepRun that was deleted, and will also be deleted"


def holder_identity(place: str, nonce: str) -> str:
    """The identity of the holder of a claim: its Pod, for people, and ``nonce``, which is never shortened.

    Two holders must not have the same identity: each would then treat the other's lease as its own.

    >>> holder_identity("sr-1-charge-x7k2p", "5f0c")
    'sr-1-charge-x7k2p:5f0c'
    """
    return f"{place[: MAX_NAME_BYTES - len(nonce) - 1]}:{nonce}"


def new_claim(identity: Identity, step_run: Object, key: str, holder: str, lease_seconds: int, now: datetime) -> Object:
    """The claim of an effect that no attempt has claimed yet."""
    taken_at = instants.format_precise_instant(now)
    uid = step_run.get("metadata", {}).get("uid", "")
    spec: Object = {
        "stepRunRef": {"name": identity.step_run} | ({"uid": uid} if uid else {}),
        "effectKey": key,
        "holderIdentity": holder,
        "acquireTime": taken_at,
        "renewTime": taken_at,
        "leaseDurationSeconds": lease_seconds,
    }
    if idempotency_key := step_run.get("spec", {}).get("idempotencyKey"):
        spec["idempotencyKey"] = idempotency_key
    owner = {"apiVersion": _RUNS_API_VERSION, "kind": "StepRun", "name": identity.step_run, "uid": uid}
    metadata: Object = {
        "name": claim_name(identity.namespace, identity.step_run, key),
        "namespace": identity.namespace,
    }
    if uid:
        metadata["ownerReferences"] = [owner]
    return {"apiVersion": _RUNS_API_VERSION, "kind": "EffectClaim", "metadata": metadata, "spec": spec}


def judge(found: Object, wanted: Object, now: datetime) -> ClaimFound:
    """What the stored claim ``found`` means for the process that would have created ``wanted``.

    Raises:
        EngramError: it is the claim of another effect; code ``EffectClaimMismatch``.
    """
    spec, mine = found.get("spec") or {}, wanted["spec"]
    _check_identity(spec, mine)
    if is_of_another_step_run(spec, mine):
        return ClaimFound.STALE
    if is_completed(found):
        return ClaimFound.COMPLETED
    if found["metadata"].get("deletionTimestamp"):
        return ClaimFound.STALE
    holder = holder_of(found)
    if not holder:
        return ClaimFound.FREE
    if holder == mine["holderIdentity"]:
        return ClaimFound.MINE
    until = lease_end(found)
    return ClaimFound.HELD if until is not None and now < until else ClaimFound.EXPIRED


def is_completed(claim: Object) -> bool:
    """Whether the effect has happened."""
    return bool((claim.get("spec") or {}).get("completionStatus") == "completed")


def holder_of(claim: Object) -> str:
    """Empty if no attempt holds the claim."""
    return str((claim.get("spec") or {}).get("holderIdentity") or "").strip()


def lease_end(claim: Object) -> datetime | None:
    """When another process may take the claim over; ``None`` if the claim has no time: at once."""
    spec = claim.get("spec") or {}
    since = spec.get("renewTime") or spec.get("acquireTime") or claim["metadata"].get("creationTimestamp")
    if not since:
        return None
    return instants.parse_instant(since) + timedelta(seconds=lease_seconds_of(claim))


def lease_age_seconds(claim: Object, now: datetime) -> float:
    """How long ago the lease began; 0 if the claim does not say it, or says a later time than ``now``."""
    until = lease_end(claim)
    if until is None:
        return 0.0
    return max(0.0, lease_seconds_of(claim) - (until - now).total_seconds())


def lease_seconds_of(claim: Object) -> int:
    """The length of its lease."""
    seconds = int((claim.get("spec") or {}).get("leaseDurationSeconds") or 0)
    return seconds if seconds > 0 else DEFAULT_LEASE_SECONDS


def taken_over(claim: Object, holder: str, lease_seconds: int, now: datetime) -> Object:
    """``claim`` with another holder; a takeover from a holder that has vanished is counted.

    ``released`` is removed, so that the claim says what is true: it is held. It stays beside a ``completedAt``, which
    no client may clear.
    """
    at = instants.format_precise_instant(now)
    spec = {**claim["spec"], "holderIdentity": holder, "acquireTime": at, "renewTime": at}
    spec["leaseDurationSeconds"] = lease_seconds
    if holder_of(claim):
        spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
    if not spec.get("completedAt"):
        spec.pop("completionStatus", None)
    return {**claim, "spec": spec}


def renewed(claim: Object, now: datetime) -> Object:
    """``claim`` with a lease that begins again."""
    at = _not_before(claim, now)
    return {**claim, "spec": {**claim["spec"], "acquireTime": claim["spec"].get("acquireTime") or at, "renewTime": at}}


def completed(claim: Object, holder: str, details: Object, now: datetime) -> Object:
    """``claim`` with the outcome that stays; ``completedAt`` and ``renewTime`` are the same instant."""
    spec, at = {**claim["spec"]}, _not_before(claim, now)
    spec |= {"holderIdentity": holder, "acquireTime": spec.get("acquireTime") or at, "renewTime": at}
    spec |= {"completionStatus": "completed", "completedAt": at}
    spec.pop("details", None)
    return {**claim, "spec": spec | ({"details": details} if details else {})}


def released(claim: Object) -> Object:
    """``claim`` without a holder: the effect has not happened, and may be tried again at once."""
    gone = ("holderIdentity", "acquireTime", "renewTime", "details")
    spec = {name: value for name, value in claim["spec"].items() if name not in gone}
    return {**claim, "spec": spec | {"completionStatus": "released"}}


def freed(claim: Object) -> Object:
    """``released`` for an admission that requires ``completedAt`` with each ``completionStatus``."""
    spec = {name: value for name, value in released(claim)["spec"].items() if name != "completionStatus"}
    return {**claim, "spec": spec}


def unstored(claim: Object) -> Object:
    """``claim`` as it is sent to create it again."""
    kept = ("name", "namespace", "ownerReferences")
    metadata = {name: claim["metadata"][name] for name in kept if name in claim["metadata"]}
    return {name: claim[name] for name in ("apiVersion", "kind", "spec")} | {"metadata": metadata}


def _not_before(claim: Object, now: datetime) -> str:
    """``now``, but not before the times of the claim: the clock of this machine may have been set back."""
    times = (claim["spec"].get(name) for name in ("acquireTime", "renewTime", "completedAt"))
    return instants.format_precise_instant(max([now, *(instants.parse_instant(text) for text in times if text)]))


def is_of_another_step_run(found: Object, wanted: Object) -> bool:
    """Whether the two specs refer to two StepRuns with one name: the first was deleted."""
    mine, theirs = wanted["stepRunRef"].get("uid"), (found.get("stepRunRef") or {}).get("uid")
    return bool(mine and theirs and mine != theirs)


def _check_identity(found: Object, wanted: Object) -> None:
    reference = found.get("stepRunRef") or {}
    pairs = [("stepRunRef.name", reference.get("name"), wanted["stepRunRef"]["name"])]
    if not is_of_another_step_run(found, wanted):
        pairs += [(name, found.get(name), wanted.get(name)) for name in ("effectKey", "idempotencyKey")]
    for name, theirs, mine in pairs:
        if theirs and mine and str(theirs).strip() != str(mine).strip():
            raise EngramError(
                f"the EffectClaim belongs to another effect: {name} is {theirs!r}, not {mine!r}",
                code="EffectClaimMismatch",
            )
