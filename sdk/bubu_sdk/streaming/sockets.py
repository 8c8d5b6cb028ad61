"""Sockets to the hub: dial in plaintext or under TLS, wait for bytes or for another thread.

Source: Streaming contract 11.2.
"""

from __future__ import annotations

import os
import re
import selectors
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from bubu_sdk.streaming.settings import Endpoint
from bubu_sdk.volume import mounted

READ_BYTES: Final = 64 * 1024
_UNACKNOWLEDGED_MS: Final = 60_000
"""Bytes that the other machine does not acknowledge for so long mean that it is gone."""
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")


class Link(Protocol):
    """One connection; nothing blocks."""

    def send(self, data: memoryview) -> int:
        """Send some of ``data``; how much, 0 if nothing can be sent now.

        Raises:
            OSError: the connection is broken.
        """

    def receive(self) -> bytes | None:
        """Some bytes; none at the end; None if nothing is there now.

        Raises:
            OSError: the connection is broken.
        """

    def close(self) -> None:
        """End it at once."""


class Network(Protocol):
    """Connects, and waits."""

    def dial(self, endpoint: Endpoint, seconds: float) -> Link:
        """Connect; blocks.

        Raises:
            OSError: there is no connection, within these seconds.
        """

    def wait(self, link: Link | None, *, sending: bool, seconds: float) -> None:
        """Until ``link`` has bytes, or takes some if ``sending``, or ``wake`` is called, or the time is over."""

    def wake(self) -> None:
        """End the wait, or the next one. Any thread may call it, also a signal handler."""

    def close(self) -> None:
        """Give up what ``wait`` needs."""


class SocketLink:
    """A socket, encrypted or not."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection

    def send(self, data: memoryview) -> int:
        try:
            return self.socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0

    def receive(self) -> bytes | None:
        try:
            return self.socket.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLEOFError:
            return b""

    def close(self) -> None:
        with suppress(OSError):
            self.socket.close()


class SocketNetwork:
    """The network of the machine. One thread waits."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._registered: socket.socket | None = None
        self._interest = 0

    def dial(self, endpoint: Endpoint, seconds: float) -> SocketLink:
        by = time.monotonic() + seconds
        connection = _connect(endpoint, seconds)
        try:
            if endpoint.secure:
                connection.settimeout(max(0.001, by - time.monotonic()))
                connection = tls_context(self._environ).wrap_socket(connection, server_hostname=endpoint.host)
            return SocketLink(connection)
        except BaseException:
            connection.close()
            raise

    def wait(self, link: Link | None, *, sending: bool, seconds: float) -> None:
        wanted = link.socket if isinstance(link, SocketLink) else None
        interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if sending else 0)
        if wanted is not self._registered:
            if self._registered is not None:
                with suppress(KeyError, ValueError):  # it is closed
                    self._selector.unregister(self._registered)
            if wanted is not None:
                self._selector.register(wanted, interest)
        elif wanted is not None and interest != self._interest:
            self._selector.modify(wanted, interest)
        self._registered, self._interest = wanted, interest
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._wake_read:
                with suppress(BlockingIOError):
                    self._wake_read.recv(4096)

    def wake(self) -> None:
        with suppress(BlockingIOError, OSError):  # full: it will wake; closed: no task waits
            self._wake_write.send(b"\0")

    def close(self) -> None:
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()


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


def _connect(endpoint: Endpoint, seconds: float) -> socket.socket:
    if endpoint.path:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(seconds)
            connection.connect(endpoint.path)
        except BaseException:
            connection.close()
            raise
        return connection
    connection = socket.create_connection((endpoint.host, endpoint.port), timeout=seconds)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
    return connection
