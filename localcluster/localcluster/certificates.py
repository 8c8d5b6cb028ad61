"""The certificates of a local cluster: its own authority, kept in the data directory, and leaf certificates for a year.

Every key is ECDSA P-256. All functions are pure except ``load_or_create_authority``, which stores the key in a file
that only its owner can read.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from localcluster.keypair import KeyPair as KeyPair
from localcluster.privatefile import write_private

_AUTHORITY_LIFE = timedelta(days=3650)
_LEAF_LIFE = timedelta(days=365)
_CLOCK_SKEW = timedelta(minutes=5)


def new_authority(common_name: str, now: datetime) -> KeyPair:
    """Create a self-signed authority that is valid for ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    builder = (
        _builder(name, name, key.public_key(), now, _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def issue_server(authority: KeyPair, common_name: str, hosts: Sequence[str], now: datetime) -> KeyPair:
    """Issue a serving certificate for ``hosts``, which are DNS names and IP addresses."""
    names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    return _issue(authority, _name(common_name), ExtendedKeyUsageOID.SERVER_AUTH, now, names)


def issue_client(authority: KeyPair, common_name: str, organization: str, now: datetime) -> KeyPair:
    """Issue a client certificate, for the user ``common_name`` in group ``organization`` of an API server."""
    return _issue(authority, _name(common_name, organization), ExtendedKeyUsageOID.CLIENT_AUTH, now, None)


def load_or_create_authority(directory: Path, common_name: str, now: datetime) -> KeyPair:
    """Read the authority in ``directory`` (``ca.crt``, ``ca.key``); create one if it is missing or expires soon."""
    certificate, key = directory / "ca.crt", directory / "ca.key"
    if certificate.exists() and key.exists():
        pair = KeyPair(certificate.read_text(), key.read_text())
        if x509.load_pem_x509_certificate(pair.certificate_pem.encode()).not_valid_after_utc > now + _LEAF_LIFE:
            return pair
    pair = new_authority(common_name, now)
    directory.mkdir(parents=True, exist_ok=True)
    write_private(key, pair.key_pem)
    write_private(certificate, pair.certificate_pem)
    return pair


def _issue(
    authority: KeyPair,
    subject: x509.Name,
    purpose: x509.ObjectIdentifier,
    now: datetime,
    names: x509.SubjectAlternativeName | None,
) -> KeyPair:
    issuer = x509.load_pem_x509_certificate(authority.certificate_pem.encode())
    issuer_key = serialization.load_pem_private_key(authority.key_pem.encode(), password=None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(subject, issuer.subject, key.public_key(), now, _LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str, organization: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    encoding = serialization.Encoding.PEM
    key_pem = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return KeyPair(certificate.public_bytes(encoding).decode(), key_pem.decode())
