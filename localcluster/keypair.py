"""A certificate with its key: light to import, unlike ``certificates``, which makes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, both PEM."""

    certificate_pem: str
    key_pem: str
