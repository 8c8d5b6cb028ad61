"""The lease in an EffectClaim: who holds it, until when, and what that means for the effect.

Pure. The SDK in the step's container writes the lease; everyone else only reads it. Source: Trigger contract 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import ReadOnlyObject

DEFAULT_LEASE: Final = timedelta(seconds=600)
"""The length of a lease without ``leaseDurationSeconds``."""

_MOST_SECONDS: Final = 2**31 - 1
"""The schema has 32 bits; an object that was stored without it may have more."""

COMPLETED: Final = "completed"
RELEASED: Final = "released"
ABANDONED: Final = "abandoned"


class ClaimPhase(StrEnum):
    """``EffectClaim.status.phase``."""

    RESERVED = "Reserved"
    COMPLETED = "Completed"
    RELEASED = "Released"
    ABANDONED = "Abandoned"


class ClaimReason(StrEnum):
    """The reason of the conditions of an EffectClaim: its phase, unless there is more to say."""

    RESERVED = "Reserved"
    LEASE_EXPIRED = "LeaseExpired"
    COMPLETED = "Completed"
    RELEASED = "Released"
    ABANDONED = "Abandoned"


@dataclass(frozen=True, slots=True)
class ClaimLease:
    """The lease of a claim, whatever became of the effect."""

    holder: str
    """Empty: no attempt holds it."""
    acquired_at: datetime | None
    until: datetime | None
    """When another holder may take it over; None: no time is known, so at once."""

    def is_held(self, now: datetime) -> bool:
        """Whether no other attempt may take it now."""
        return bool(self.holder) and self.until is not None and now < self.until


@dataclass(frozen=True, slots=True)
class ClaimStanding:
    """What is true of a claim at one instant."""

    phase: ClaimPhase
    reason: ClaimReason
    message: str
    ready: bool
    progressing: bool
    degraded: bool
    changes_at: datetime | None = None
    """When time alone changes it; None: never."""


def lease_of(claim: ReadOnlyObject) -> ClaimLease:
    """The lease, also of a claim that was stored without a schema."""
    spec = _fields(claim.get("spec"))
    acquired_at = parse_instant_or_none(spec.get("acquireTime"))
    created_at = parse_instant_or_none(_fields(claim.get("metadata")).get("creationTimestamp"))
    since = parse_instant_or_none(spec.get("renewTime")) or acquired_at or created_at
    holder = spec.get("holderIdentity")
    return ClaimLease(
        holder=holder.strip() if isinstance(holder, str) else "",
        acquired_at=acquired_at,
        until=None if since is None else _later(since, _duration(spec.get("leaseDurationSeconds"))),
    )


def standing_of(claim: ReadOnlyObject, now: datetime) -> ClaimStanding:
    """The standing of ``claim`` at ``now``.

    The holder decides whether a claim is held. A client that takes a released claim may leave ``released`` in it.
    """
    status = _fields(claim.get("spec")).get("completionStatus")
    lease = lease_of(claim)
    if status == COMPLETED:
        return _ended(ClaimPhase.COMPLETED, ClaimReason.COMPLETED, "The effect has happened", ready=True)
    if status == ABANDONED:
        message = "The holder abandoned the effect; it is unknown whether it happened"
        return _ended(ClaimPhase.ABANDONED, ClaimReason.ABANDONED, message, degraded=True)
    if status == RELEASED and not lease.holder:
        message = "The effect failed and may be tried again"
        return _ended(ClaimPhase.RELEASED, ClaimReason.RELEASED, message)
    if not lease.holder:
        return _reserved("No attempt holds the lease; the next attempt may take it")
    if lease.is_held(now):
        return _reserved(f"{lease.holder} performs the effect", changes_at=lease.until)
    message = (
        f"{lease.holder} neither completed nor renewed its lease; it is unknown whether the effect happened, and the "
        "next attempt takes the lease over"
    )
    return ClaimStanding(
        ClaimPhase.RESERVED, ClaimReason.LEASE_EXPIRED, message, ready=False, progressing=False, degraded=True
    )


def _reserved(message: str, changes_at: datetime | None = None) -> ClaimStanding:
    return ClaimStanding(
        ClaimPhase.RESERVED,
        ClaimReason.RESERVED,
        message,
        ready=False,
        progressing=True,
        degraded=False,
        changes_at=changes_at,
    )


def _ended(
    phase: ClaimPhase, reason: ClaimReason, message: str, *, ready: bool = False, degraded: bool = False
) -> ClaimStanding:
    return ClaimStanding(phase, reason, message, ready=ready, progressing=False, degraded=degraded)


def _duration(seconds: Any) -> timedelta:
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds <= 0:
        return DEFAULT_LEASE
    return timedelta(seconds=min(seconds, _MOST_SECONDS))


def _later(instant: datetime, duration: timedelta) -> datetime:
    try:
        return instant + duration
    except OverflowError:  # beyond the calendar
        return datetime.max.replace(tzinfo=instant.tzinfo)


def _fields(value: Any) -> ReadOnlyObject:
    return value if isinstance(value, Mapping) else {}
