"""Serves an ASGI application over TLS on the loopback interface; ``connection`` handles each client."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio
from hypercorn.config import Config

from localcluster.connection import Asgi, serve_connection
from localcluster.keypair import KeyPair
from localcluster.privatefile import write_private

LOOPBACK = "127.0.0.1"
_BACKLOG = 512
_IDLE_SECONDS = 3600.0
_HEAD_BYTES = 64 << 10
"""The limit for the request line and headers together."""


class PortTakenError(Exception):
    """Another process listens on the port; the text names it and the remedy."""


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """The certificate of a server, and which clients it accepts."""

    pair: KeyPair
    client_ca_pem: str = ""
    """If set, clients must present a certificate of this authority."""


def bind_loopback(port: int) -> socket.socket:
    """A socket bound to 127.0.0.1; port 0 takes a free one.

    Raises:
        PortTakenError: the port is in use.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(
                f"port {port}: in use by another process; choose another port, or 0 for any free one"
            ) from error
        raise
    return listener


async def serve_asgi(
    app: Asgi,
    listener: socket.socket,
    identity: TlsIdentity,
    scratch: Path,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``app`` on ``listener`` until cancelled; started once connections are accepted.

    ``scratch``: a private directory, which holds the key in a file while OpenSSL reads it.
    """
    listener.listen(_BACKLOG)
    sockets = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    listeners = [trio.SSLListener(sockets, _tls_context(identity, scratch), https_compatible=True)]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, partial(serve_connection, app, _config()), listeners)
        task_status.started()


def _config() -> Config:
    """Hypercorn's settings for an existing connection."""
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("localcluster.serving")
    config.include_server_header = False
    config.keep_alive_timeout = _IDLE_SECONDS
    config.keep_alive_max_requests = 1_000_000_000  # clients of an API server keep their connections
    config.h11_max_incomplete_size = _HEAD_BYTES
    return config


def _tls_context(identity: TlsIdentity, scratch: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    file = scratch / f"serving-{id(identity)}.pem"
    write_private(file, identity.pair.certificate_pem + identity.pair.key_pem)
    context.load_cert_chain(file)
    file.unlink()
    if identity.client_ca_pem:
        context.load_verify_locations(cadata=identity.client_ca_pem)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
