"""Sockets to the hub: dial in plaintext or under TLS, wait for bytes or for another thread.

Source: Streaming contract 11.2.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Protocol

from bubu_sdk.streaming.links import Link, SocketLink
from bubu_sdk.streaming.settings import Endpoint

_UNACKNOWLEDGED_MS: Final = 60_000
"""Bytes that the other machine does not acknowledge for so long mean that it is gone."""


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
            if not endpoint.secure:
                return SocketLink(connection)
            from bubu_sdk.streaming import tls  # a hub on the same machine needs none

            connection.settimeout(max(0.001, by - time.monotonic()))
            connection = tls.tls_context(self._environ).wrap_socket(connection, server_hostname=endpoint.host)
            return tls.TlsLink(connection)
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
