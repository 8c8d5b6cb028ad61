"""Conversion of a generation to a Secret, and reading of any Secret. Pure.

``data``: ``tls.crt`` and ``tls.key`` (the served certificate), ``ca.crt`` (every trusted authority, the active one
first), ``ca.key`` (its key), ``next-ca.key`` (the upcoming authority's key, while there is one). Annotations hold
generation and instants. A Secret with the label ``app.kubernetes.io/managed-by: bobrapet`` belongs to the operator; the
operator also uses a Secret that has no data or only empty entries.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from bubu_contract.instants import format_precise_instant, parse_instant_or_none
from certs.authority import Pair, PrivateKey, is_authority, is_issued_by, names_of, same_key, within_time
from certs.errors import UnusableError
from certs.material import Material, Rotation, pem_of
from certs.policy import Absent, Damaged, Foreign, Kept, Provided, Stored
from kubewire import Object, copy_value

TLS_CERT: Final = "tls.crt"
TLS_KEY: Final = "tls.key"
CA_CERT: Final = "ca.crt"
CA_KEY: Final = "ca.key"
NEXT_CA_KEY: Final = "next-ca.key"

OWNER_LABEL: Final = "app.kubernetes.io/managed-by"
OWNER: Final = "bobrapet"
GENERATION: Final = "certs.bubustack.io/generation"
ACTIVATED_AT: Final = "certs.bubustack.io/activated-at"
PUBLISHED_AT: Final = "certs.bubustack.io/published-at"
ROTATE: Final = "certs.bubustack.io/rotate"
"""Set by users: ``leaf`` or ``authority``; removed when it is done."""


def read_secret(secret: Object | None, names: tuple[str, ...], now: datetime) -> Stored:
    """The stored state.

    Args:
        names: the names that another component's certificate must have.
        now: when it must be valid.
    """
    if secret is None or not any((secret.get("data") or {}).values()):
        return Absent()
    metadata = secret.get("metadata") or {}
    ours = (metadata.get("labels") or {}).get(OWNER_LABEL) == OWNER
    parts = _Parts(secret["data"])
    if not ours:
        return _foreign(parts, names, now)
    material = _material(parts, metadata.get("annotations") or {})
    if material is None:
        return Damaged(tuple(parts.problems), tuple(cert for cert in parts.certificates(CA_CERT) if is_authority(cert)))
    return Kept(material)


def write_secret(material: Material, found: Object | None, name: str, namespace: str) -> Object:
    """The Secret with ``material``; the rest of ``found``'s metadata, including its version, is kept."""
    secret: Object = (
        copy_value(found)
        if found is not None
        else {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name}}
    )
    metadata = secret.setdefault("metadata", {})
    metadata["namespace"] = namespace
    metadata["labels"] = {**(metadata.get("labels") or {}), OWNER_LABEL: OWNER}
    annotations = dict(metadata.get("annotations") or {})
    for key in (PUBLISHED_AT, ROTATE):
        annotations.pop(key, None)
    annotations[GENERATION] = str(material.generation)
    annotations[ACTIVATED_AT] = format_precise_instant(material.activated_at)
    if material.published_at is not None:
        annotations[PUBLISHED_AT] = format_precise_instant(material.published_at)
    if material.requested is not None:
        annotations[ROTATE] = str(material.requested)
    metadata["annotations"] = annotations
    data = {
        TLS_CERT: pem_of((material.leaf.certificate,)),
        TLS_KEY: material.leaf.key_pem(),
        CA_CERT: material.bundle,
        CA_KEY: material.active.key_pem(),
    }
    if material.upcoming is not None:
        data[NEXT_CA_KEY] = material.upcoming.key_pem()
    secret["data"] = {key: base64.b64encode(value).decode() for key, value in data.items()}
    secret.pop("stringData", None)
    return secret


def served_pair(chain_pem: bytes, key_pem: bytes) -> tuple[Pair, tuple[x509.Certificate, ...]]:
    """A certificate with its key, and its whole chain, leaf first.

    Raises:
        UnusableError: unreadable PEM, or the key does not belong to the certificate.
    """
    encoded = {TLS_CERT: base64.b64encode(chain_pem).decode(), TLS_KEY: base64.b64encode(key_pem).decode()}
    parts = _Parts(encoded)
    pair = parts.pair(TLS_CERT, TLS_KEY)
    if pair is None:
        raise UnusableError(parts.problems)
    return pair, parts.certificates(TLS_CERT)


class _Parts:
    """The entries of ``data``, and the problems of those that were read."""

    def __init__(self, data: Any) -> None:
        self._data: Mapping[str, Any] = data if isinstance(data, dict) else {}
        self.problems: list[str] = []

    def has(self, entry: str) -> bool:
        return bool(self._data.get(entry))

    def certificates(self, entry: str) -> tuple[x509.Certificate, ...]:
        """Empty, with a problem, when the entry contains anything else than PEM certificates."""
        content = self._content(entry)
        if content is None:
            return ()
        try:
            found = tuple(x509.load_pem_x509_certificates(content))
            for certificate in found:  # dates, keys and extensions are parsed lazily: check them now
                certificate.public_key(), certificate.extensions, certificate.not_valid_after_utc
        except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension):
            self.complain(f"{entry} must hold PEM certificates")
            return ()
        return found

    def key(self, entry: str) -> PrivateKey | None:
        content = self._content(entry)
        if content is None:
            return None
        try:
            key = serialization.load_pem_private_key(content, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):  # their texts are not repeated: they are about a key
            self.complain(f"{entry} must hold a private key in PEM")
            return None
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
            self.complain(f"{entry} has an unsupported type of key; use ECDSA P-256")
            return None
        return key

    def pair(self, certificate: str, key: str) -> Pair | None:
        certificates, private = self.certificates(certificate), self.key(key)
        if not certificates or private is None:
            return None
        pair = Pair(certificates[0], private)
        if not pair.matches:
            self.complain(f"{key} must be the key of {certificate}")
            return None
        return pair

    def complain(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _content(self, entry: str) -> bytes | None:
        encoded = self._data.get(entry)
        if not isinstance(encoded, str) or not encoded:
            self.complain(f"{entry} is missing")
            return None
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            self.complain(f"{entry} is not base64")
            return None


def _material(parts: _Parts, annotations: Mapping[str, str]) -> Material | None:
    leaf, active = parts.pair(TLS_CERT, TLS_KEY), parts.pair(CA_CERT, CA_KEY)
    rest = parts.certificates(CA_CERT)[1:]
    next_key = parts.key(NEXT_CA_KEY) if parts.has(NEXT_CA_KEY) else None
    if active is not None and not is_authority(active.certificate):
        parts.complain(f"the first certificate of {CA_CERT} must be an authority")
    if leaf is not None and active is not None and not is_issued_by(leaf.certificate, active.certificate):
        parts.complain(f"{TLS_CERT} must be issued by the first authority of {CA_CERT}")
    if active is not None and not isinstance(active.key, ec.EllipticCurvePrivateKey):
        parts.complain(f"{CA_KEY} must be an elliptic curve key")
    if leaf is None or active is None or parts.problems:
        return None
    upcoming = None
    if next_key is not None:
        mine = [certificate for certificate in rest if same_key(certificate, next_key)]
        upcoming = Pair(mine[0], next_key) if mine and is_authority(mine[0]) else None
    retired = tuple(cert for cert in rest if upcoming is None or cert != upcoming.certificate)
    generation = annotations.get(GENERATION, "")
    return Material(
        active,
        leaf,
        activated_at=parse_instant_or_none(annotations.get(ACTIVATED_AT)) or leaf.certificate.not_valid_before_utc,
        generation=int(generation) if generation.isascii() and generation.isdigit() and len(generation) < 16 else 0,
        upcoming=upcoming,
        published_at=parse_instant_or_none(annotations.get(PUBLISHED_AT)) if upcoming is not None else None,
        retired=retired,
        requested=next((kind for kind in Rotation if kind == annotations.get(ROTATE)), None),
    )


def _foreign(parts: _Parts, names: tuple[str, ...], now: datetime) -> Foreign:
    leaf, chain, trusted = parts.pair(TLS_CERT, TLS_KEY), parts.certificates(TLS_CERT), parts.certificates(CA_CERT)
    if leaf is not None:
        if missing := sorted(set(names) - names_of(leaf.certificate)):
            parts.complain(f"{TLS_CERT} is not for {', '.join(missing)}")
        if not within_time(leaf.certificate, now):
            parts.complain(f"{TLS_CERT} is expired or not yet valid")
        if trusted and not any(is_issued_by(chain[-1], ca) or chain[-1] == ca for ca in trusted):
            parts.complain(f"{TLS_CERT} is not issued by an authority of {CA_CERT}")
    if leaf is None or parts.problems:
        return Foreign(tuple(parts.problems))
    return Foreign(provided=Provided(leaf, chain, trusted))
