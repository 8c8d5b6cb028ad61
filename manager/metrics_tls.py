"""The TLS context of the metrics port: a mounted certificate, or a self-signed one that lives in memory."""

from __future__ import annotations

import ssl
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Final

from core.engine.clock import system_now
from manager.options import MetricsOptions

_LIFETIME: Final = timedelta(days=365)
_BACKDATED: Final = timedelta(minutes=5)


def metrics_context(options: MetricsOptions) -> ssl.SSLContext:
    """A context for TLS 1.2 and later.

    Raises:
        OSError: the certificate files cannot be read or do not match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([*(["h2"] if options.http2 else []), "http/1.1"])
    if options.certificate is not None and options.key is not None:
        context.load_cert_chain(options.certificate, options.key)
        return context
    with tempfile.TemporaryDirectory() as folder:  # the ssl module loads chains from files only
        pem = Path(folder) / "tls.pem"
        pem.touch(mode=0o600)
        pem.write_bytes(_self_signed())
        context.load_cert_chain(pem)
    return context


def _self_signed() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bobrapet-metrics")])
    now = system_now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
