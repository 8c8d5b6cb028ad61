"""Whether a hub is there, by the Lease that it renews. Pure; instants are arguments.

Clocks of different machines are never compared while the Lease is followed: what counts is how long ago this process
has seen ``renewTime`` change. Only the age of the Lease that it finds first is taken from ``renewTime`` itself, so that
a restarted process knows a dead hub at once. Source: streaming contract 5.4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api.objects import ReadOnlyObject

HUB_LEASE: Final = "bobrapet-hub"
"""In the operator's namespace. Its holder serves all realtime runs, and renews it every five seconds."""


@dataclass(frozen=True, slots=True)
class HubLease:
    """What one state of the Lease says."""

    is_held: bool
    renewed: str
    """``renewTime`` as it is stored; empty: never."""
    lasts: timedelta
    """After the last renewal."""

    @classmethod
    def of(cls, lease: ReadOnlyObject) -> HubLease:
        spec = lease.get("spec") or {}
        seconds, renewed = spec.get("leaseDurationSeconds"), spec.get("renewTime")
        return cls(
            bool(spec.get("holderIdentity")),
            renewed if isinstance(renewed, str) else "",
            timedelta(seconds=seconds if isinstance(seconds, int) else 0),
        )

    @property
    def renewed_at(self) -> datetime | None:
        return parse_instant_or_none(self.renewed)


@dataclass(frozen=True, slots=True)
class HubSilence:
    """The hub is lost: it has written nothing about the end of its connections."""

    since: datetime
    """When it was heard last, by its own clock."""
    back_at: datetime | None = None
    """When a hub has renewed the Lease again, by its own clock; it may not have corrected all statuses yet."""

    def covers(self, stream: ReadOnlyObject) -> bool:
        """Whether ``status.stream`` of a binding is what the lost hub has left; the next one writes ``observedAt``."""
        observed_at = parse_instant_or_none(stream.get("observedAt"))
        return self.back_at is None or observed_at is None or observed_at < self.back_at.replace(microsecond=0)

    @property
    def why(self) -> str:
        """Why no client is served, for messages."""
        since = format_instant(self.since)
        if self.back_at is None:
            return f"no hub has renewed the Lease {HUB_LEASE} since {since}"
        return f"the hub was lost at {since}, and the next one has not reported about the step yet"


HubSilenceProvider: TypeAlias = Callable[[], HubSilence | None]
"""Says whether the hub is lost; None: it is there, or nothing is known of it."""


def no_silence() -> HubSilence | None:
    """Where no hub is followed."""
    return None


class HubHeartbeat:
    """The renewals of the Lease, as one process sees them.

    A lost hub is back when the Lease has been renewed twice. Between the two renewals, the new hub corrects the
    statuses that the former one has left, and those that it has written count. Without a Lease nothing is known, and no
    hub is lost: it may be one that has no Lease.
    """

    def __init__(self) -> None:
        self._lease: HubLease | None = None
        self._heard_at = 0.0
        self._silence: HubSilence | None = None

    @property
    def silence(self) -> HubSilence | None:
        """None: no hub is known to be lost."""
        return self._silence

    def see(self, lease: ReadOnlyObject | None, now: float, wall: datetime, timeout: timedelta) -> None:
        """Take in the Lease, as it is now.

        Args:
            lease: None: there is none.
            now, wall: the same instant, on a monotonic clock and on the wall clock.
            timeout: silence after which the hub is lost.
        """
        if lease is None:
            self._lease, self._silence = None, None
            return
        before, found = self._lease, HubLease.of(lease)
        self._lease = found
        if before is not None and found.renewed == before.renewed:
            return
        age = timedelta()
        if before is None and found.renewed_at is not None:
            age = max(age, wall - found.renewed_at)
        self._heard_at = now - age.total_seconds()
        if self._silence is not None:
            is_second = self._silence.back_at is not None
            self._silence = None if is_second else replace(self._silence, back_at=found.renewed_at or wall)
        elif before is None and now >= self.due(timeout):
            self.lose(wall)

    def due(self, timeout: timedelta) -> float:
        """When the hub is suspected, unless it renews before; infinite: there is nothing to wait for.

        Never before the Lease itself is over: its holder may still serve.
        """
        if self._lease is None or (self._silence is not None and self._silence.back_at is None):
            return float("inf")
        return self._heard_at + max(timeout, self._lease.lasts).total_seconds()

    def lose(self, wall: datetime) -> None:
        """The hub is due, and has not renewed."""
        renewed_at = self._lease.renewed_at if self._lease is not None else None
        self._silence = HubSilence(renewed_at or wall)
