"""Messages between the supervisor, the zygote and the children: packets over a Unix socket, which keep their limits.

A message longer than a packet is sent in parts. A process that is killed in the middle of a message leaves no half of
one: the receiver drops parts that no last part follows.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

PACKET_BYTES: Final = 64 * 1024
_PART: Final = b"+"
_LAST: Final = b"."
_EXIT: Final = b"x"


@dataclass(frozen=True)
class Exited:
    """The process at the other end has ended; the zygote says so."""

    exit_code: int
    """128 + n if signal n ended it."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends; a child inherits none of them through ``exec``."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: bytes) -> None:
    """Send one message; blocks until the receiver has room for it.

    Raises:
        OSError: the other end is closed.
    """
    view = memoryview(message)
    while len(view) > PACKET_BYTES:
        end.send(_PART + view[:PACKET_BYTES].tobytes())
        view = view[PACKET_BYTES:]
    end.send(_LAST + view.tobytes())


def send_exit(end: socket.socket, exit_code: int) -> None:
    """Say that the process has ended, in one packet.

    Raises:
        OSError: the other end is closed.
    """
    end.send(_EXIT + str(exit_code).encode())


def receive(end: socket.socket) -> bytes | Exited | None:
    """The next message; ``None`` if the other end is closed. Blocks.

    Raises:
        OSError: the connection is broken.
    """
    parts: list[bytes] = []
    while packet := end.recv(PACKET_BYTES + 1):
        kind, content = packet[:1], packet[1:]
        if kind == _EXIT:
            return Exited(int(content))
        parts.append(content)
        if kind == _LAST:
            return b"".join(parts)
    return None
