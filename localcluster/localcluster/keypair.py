"""A certificate with its key. This module is fast to import; ``certificates``, which creates them, is not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, both PEM."""

    certificate_pem: str
    key_pem: str
