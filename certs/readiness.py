"""Whether clients trust the certificate of a server, with a reason for people and probes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Readiness:
    ready: bool
    word: str
    """The reason in one sentence; when not ready, with the remedy."""
