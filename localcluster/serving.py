"""Serving an ASGI application over TLS on the loopback interface, with Hypercorn's Trio worker."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve
from hypercorn.typing import ASGIFramework

from localcluster.certificates import KeyPair
from localcluster.kubeconfig import write_private

LOOPBACK = "127.0.0.1"
_SHUTDOWN_SECONDS = 0.5
_BACKLOG = 512

Asgi = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class PortTakenError(Exception):
    """Another process listens on the port; the text names it and the remedy."""


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """How a server shows who it is, and whom it lets in."""

    pair: KeyPair
    client_ca_pem: str = ""
    """When given, clients must present a certificate of this authority."""


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

    ``scratch``: a private directory, where the key stands for the moment in which OpenSSL reads it.
    """
    config = _TlsConfig(identity, scratch)
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("localcluster.serving")
    config.backlog = _BACKLOG
    config.keep_alive_timeout = 3600.0
    config.keep_alive_max_requests = 1_000_000_000  # clients of an API server keep their connections
    config.graceful_timeout = _SHUTDOWN_SECONDS
    config.shutdown_timeout = _SHUTDOWN_SECONDS
    config.h11_max_incomplete_size = 64 << 10
    config.alpn_protocols = ["http/1.1"]
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, app, config)
        task_status.started()


async def _serve(app: Asgi, config: Config, *, task_status: trio.TaskStatus[list[str]]) -> None:
    await hypercorn_serve(
        cast("ASGIFramework", app), config, shutdown_trigger=trio.sleep_forever, task_status=task_status, mode="asgi"
    )


class _TlsConfig(Config):
    """Hypercorn's configuration, with a ready-made TLS context instead of file names."""

    def __init__(self, identity: TlsIdentity, scratch: Path) -> None:
        super().__init__()
        self._context = _tls_context(identity, scratch)

    @property
    def ssl_enabled(self) -> bool:
        return True

    def create_ssl_context(self) -> ssl.SSLContext:
        return self._context


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
