"""How long the operator's own certificates live. Needs no cryptography, so that settings can name them cheaply."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The lifetimes of certificates, and their overlaps.

    Raises:
        ValueError: the successor of an authority would come too late: certificates of the old authority would outlive
            it.
    """

    authority: timedelta = timedelta(days=365)
    leaf: timedelta = timedelta(days=7)
    overlap: timedelta = timedelta(days=30)
    """How long before an authority's end its successor is introduced."""
    settle: timedelta = timedelta(days=5)
    """How long a new authority is published before it signs served certificates: longer than a leaf is in use, so that
    clients with the bundle of one rotation ago still trust the served certificate.
    """
    hurry: timedelta = timedelta(minutes=5)
    """The same when a user requested the rotation, or the old authority is about to expire: time for API servers to
    notice.
    """
    backdated: timedelta = timedelta(minutes=5)
    """How far validity begins before the issue: clocks of verifiers may be slow."""

    def __post_init__(self) -> None:
        if not self.authority > self.overlap > self.leaf + self.settle or self.leaf <= timedelta(0):
            raise ValueError(f"authority > overlap > leaf + settle > 0 must hold: {self}")
        if self.settle < self.hurry or min(self.hurry, self.backdated) < timedelta(0):
            raise ValueError(f"settle >= hurry >= 0 and backdated >= 0 must hold: {self}")


DEFAULT_LIFETIMES: Final = Lifetimes()
