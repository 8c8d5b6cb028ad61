"""A connection to the hub: bytes are moved from and to it without waiting. Source: Streaming contract 11.2."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final, Protocol

READ_BYTES: Final = 64 * 1024


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


class SocketLink:
    """A socket, in plaintext; ``TlsLink`` is an encrypted one."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection

    def send(self, data: memoryview) -> int:
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0

    def receive(self) -> bytes | None:
        try:
            return self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return None

    def close(self) -> None:
        with suppress(OSError):
            self.socket.close()
