"""One generation of certificates and keys: signer, served certificate, trusted authorities. Pure data.

An authority has three states: *upcoming* (published, signs nothing), *active* (signs the served certificate),
*retired* (signs nothing, stays trusted until every leaf that it has signed has expired).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certs.authority import Pair


class Rotation(StrEnum):
    """The part that a user may request to renew early."""

    LEAF = "leaf"
    AUTHORITY = "authority"


@dataclass(frozen=True, slots=True)
class Material:
    active: Pair
    leaf: Pair
    activated_at: datetime
    """Since when ``active`` signs certificates."""
    generation: int = 1
    """Grows with every change; if the stored generation is older than the one in use, another client has restored
    it.
    """
    upcoming: Pair | None = None
    published_at: datetime | None = None
    """When all targets were seen to trust ``upcoming``; None before."""
    retired: tuple[x509.Certificate, ...] = ()
    requested: Rotation | None = None

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        """Every trusted authority, the active one first, each once."""
        upcoming = () if self.upcoming is None else (self.upcoming.certificate,)
        return tuple(dict.fromkeys((self.active.certificate, *upcoming, *self.retired)))

    @property
    def bundle(self) -> bytes:
        """``trusted`` as PEM: the ``caBundle``."""
        return pem_of(self.trusted)


def pem_of(certificates: tuple[x509.Certificate, ...]) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)
