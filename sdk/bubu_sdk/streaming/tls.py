"""Encrypted sockets to the hub. Source: Streaming contract 11.2."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from bubu_sdk.streaming.links import SocketLink
from bubu_sdk.volume import mounted

_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")


class TlsLink(SocketLink):
    """A socket under TLS, after its handshake."""

    def send(self, data: memoryview) -> int:
        try:
            return super().send(data)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0

    def receive(self) -> bytes | None:
        try:
            return super().receive()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLEOFError:
            return b""


def tls_context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """TLS 1.3 with the roots of the system, or those of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``.

    As Go does, and unlike OpenSSL, it reads files of any name in these directories. They may be mounted volumes.

    Raises:
        OSError: a file of ``SSL_CERT_FILE`` cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    context.load_default_certs()
    if file := environ.get("SSL_CERT_FILE"):
        context.load_verify_locations(file)
    for folder in environ.get("SSL_CERT_DIR", "").split(os.pathsep):
        if folder:
            _load_folder(context, mounted(folder, environ))
    return context


def _load_folder(context: ssl.SSLContext, folder: Path) -> None:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return
    if any(map(_HASHED.fullmatch, names)):
        context.load_verify_locations(capath=str(folder))  # OpenSSL finds these by itself
        return
    for name in names:
        with suppress(OSError, ssl.SSLError):  # no certificate
            if (folder / name).is_file():
                context.load_verify_locations(folder / name)
