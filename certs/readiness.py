"""Whether a server may be called with the certificate it presents, in a word for people and probes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Readiness:
    ready: bool
    word: str
    """Why, as one sentence; when not ready, with the remedy."""
