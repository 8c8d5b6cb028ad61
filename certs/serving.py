"""The TLS context of a server whose certificate changes while it serves.

A server gets one context for its whole life. Within each handshake that context selects the newest installed one. A new
context is built and tested separately and then replaces the old one, on the event loop. A context in use is never
changed: loading a pair into it breaks handshakes in progress, and a pair that does not match leaves it broken.
"""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
from cryptography.hazmat.primitives import serialization

from certs.authority import Pair, PrivateKey
from certs.errors import UnusableError


class ServingContext:
    """``context`` is for the server; ``install`` replaces its certificate.

    Args:
        configure: applies the server's settings to every context, except its certificate, e.g. ALPN or a client
            authority.
    """

    def __init__(self, configure: Callable[[ssl.SSLContext], None] = lambda context: None) -> None:
        self._configure = configure
        self._current: ssl.SSLContext | None = None
        self.exchanges = 0
        self._installed = trio.Event()
        self.context = self._new()
        self.context.sni_callback = self._choose

    async def wait_until_installed(self) -> None:
        """Return once handshakes can succeed."""
        await self._installed.wait()

    def install(self, chain_pem: bytes, pair: Pair) -> None:
        """Present ``chain_pem`` (leaf first) from the next handshake on.

        Raises:
            UnusableError: the TLS library refuses the pair; the previous one stays in use.
        """
        context = self._new()
        load_pair(context, chain_pem, pair)
        self._current = context
        self.exchanges += 1
        self._installed.set()

    def _new(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._configure(context)
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int | None:
        if self._current is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._current
        return None


def load_pair(context: ssl.SSLContext, chain_pem: bytes, pair: Pair) -> None:
    """Load a certificate into a new context. The key is never written to a disk unencrypted.

    Raises:
        UnusableError: the TLS library refuses the pair.
    """
    opened = _memory_file if hasattr(os, "memfd_create") else _sealed_file
    with opened(chain_pem, pair.key) as (path, password):
        try:
            context.load_cert_chain(path, password=password)
        except ssl.SSLError as error:
            reason = error.reason or "unknown reason"
            raise UnusableError([f"the TLS library refuses certificate and key: {reason}"]) from error


@contextmanager
def _memory_file(chain_pem: bytes, key: PrivateKey) -> Iterator[tuple[str, str]]:
    """A path below /proc to a file in memory: the ssl module accepts only paths."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_pem(key, serialization.NoEncryption()) + chain_pem)
        file.flush()
        yield f"/proc/self/fd/{descriptor}", ""


@contextmanager
def _sealed_file(chain_pem: bytes, key: PrivateKey) -> Iterator[tuple[str, str]]:
    """A temporary file with an encrypted key; the password exists only in this process."""
    password = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tls.pem"
        path.touch(mode=0o600)
        path.write_bytes(_pem(key, serialization.BestAvailableEncryption(password.encode())) + chain_pem)
        yield str(path), password


def _pem(key: PrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
