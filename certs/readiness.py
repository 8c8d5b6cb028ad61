"""Whether clients trust the certificate that a server presents, with a reason for people and probes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Readiness:
    ready: bool
    word: str
    """Why, as one sentence; when not ready, with the remedy."""
