"""The operator's own certificate authority, and the serving certificates that it issues.

Pure except for randomness: times and names in, certificates out; nothing is read or written. Keys are ECDSA P-256,
serial numbers are random. An authority may only issue for the given names (name constraints) and may have no authority
below it. When to issue is decided in ``certs.policy``.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.lifetimes import DEFAULT_LIFETIMES as DEFAULT_LIFETIMES
from certs.lifetimes import Lifetimes as Lifetimes

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
"""The operator's own keys are always of the first type; others come with certificates from elsewhere."""


DEFAULT_SUBJECT: Final = "bobrapet webhook"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key; ``repr`` and comparisons ignore the key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False, compare=False)

    def key_pem(self) -> bytes:
        """Unencrypted PKCS #8: only for the Secret and the TLS library."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def matches(self) -> bool:
        """Whether the key belongs to the certificate."""
        return same_key(self.certificate, self.key)


def issue_authority(
    names: tuple[str, ...], now: datetime, lifetimes: Lifetimes, *, subject: str = DEFAULT_SUBJECT
) -> Pair:
    """A new self-signed authority for ``names`` (DNS names or IP addresses); its own name begins with ``subject``."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = _named(f"{subject} CA {serial:x}"[:36])  # unlike its predecessor's, so that chains are unambiguous
    builder = _builder(name, name, key.public_key(), serial, now - lifetimes.backdated, now + lifetimes.authority)
    usage = _usage(digital_signature=False, signs_certificates=True)
    constraints = x509.NameConstraints([_constraint(name) for name in names], None)
    return Pair(
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(constraints, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256()),
        key,
    )


def issue_leaf(
    authority: Pair, names: tuple[str, ...], now: datetime, lifetimes: Lifetimes, *, subject: str = DEFAULT_SUBJECT
) -> Pair:
    """A new serving certificate for ``names``; it ends no later than the authority does."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + lifetimes.leaf, authority.certificate.not_valid_after_utc)
    start = min(now, end - timedelta(seconds=1)) - lifetimes.backdated
    signer = authority.certificate
    builder = _builder(_named(subject), signer.subject, key.public_key(), x509.random_serial_number(), start, end)
    return Pair(
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True, signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256()),
        key,
    )


def within_time(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether a verifier whose clock shows ``now`` accepts the certificate's dates."""
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``issuer`` has signed ``certificate``; dates are not checked."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether the certificate may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """The DNS names and IP addresses of the certificate; empty when it has none."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    addresses = (str(address) for address in found.get_values_for_type(x509.IPAddress))
    return frozenset((*found.get_values_for_type(x509.DNSName), *addresses))


def may_issue_for(authority: x509.Certificate, names: tuple[str, ...]) -> bool:
    """Whether the authority's name constraints permit each of ``names`` literally; without constraints, all are."""
    try:
        permitted = authority.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    except x509.ExtensionNotFound:
        return True
    except ValueError:
        return False
    return set(map(_constraint, names)) <= set(permitted or ())


def same_key(certificate: x509.Certificate, key: PrivateKey) -> bool:
    """Whether ``key`` is the private key of the certificate's public key."""
    spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return certificate.public_key().public_bytes(*spki) == key.public_key().public_bytes(*spki)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    serial: int,
    start: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _usage(*, digital_signature: bool, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _constraint(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_network(name))
    except ValueError:
        return x509.DNSName(name)
