"""Messages between the supervisor, the zygote and the children: packets over a Unix socket, which keep their limits.

A message longer than a packet is sent in parts. A process that is killed in the middle of a message leaves no half of
one: the receiver drops parts that no last part follows. The other end of a channel may be a process that sends
anything, so a message has a largest size.
"""

from __future__ import annotations

import math
import select
import socket
import time
from array import array
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

PACKET_BYTES: Final = 64 * 1024
PING_SECONDS: Final = 5.0
SEND_SECONDS: Final = 10.0
"""So long a message may take: a receiver that lives reads it within milliseconds."""
_PART: Final = b"+"
_LAST: Final = b"."
_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""More than an API server stores in an object."""
_MAX_UNANSWERED: Final = 3


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends; a child inherits none of them through ``exec``."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: bytes, seconds: float = SEND_SECONDS) -> None:
    """Send one message; blocks until the receiver has room for it.

    Raises:
        OSError: the other end is closed.
        TimeoutError: the receiver had no room for so long; a part of the message may have arrived.
    """
    until = time.monotonic() + seconds
    view = memoryview(message)
    while len(view) > PACKET_BYTES:
        send_packet(end, _PART + view[:PACKET_BYTES].tobytes(), until - time.monotonic())
        view = view[PACKET_BYTES:]
    send_packet(end, _LAST + view.tobytes(), until - time.monotonic())


def send_packet(end: socket.socket, packet: bytes, seconds: float, descriptors: Sequence[int] = ()) -> None:
    """Send one packet, perhaps with descriptors.

    Raises:
        OSError: the other end is closed.
        TimeoutError: the receiver had no room for so long.
    """
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
    until = time.monotonic() + seconds
    while True:
        try:
            end.sendmsg([packet], rights, socket.MSG_DONTWAIT)
        except BlockingIOError:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the receiver does not read its messages") from None
            writable = select.poll()
            writable.register(end, select.POLLOUT)
            writable.poll(math.ceil(left * 1000))
        else:
            return


def receive(end: socket.socket) -> bytes | None:
    """The next message; ``None`` if the other end is closed, or if the message is too large. Blocks.

    Raises:
        OSError: the connection is broken.
    """
    parts: list[bytes] = []
    size = 0
    while packet := end.recv(PACKET_BYTES + 1):
        kind, content = packet[:1], packet[1:]
        size += len(packet)
        if size > _MESSAGE_BYTES:
            return None
        parts.append(content)
        if kind == _LAST:
            return b"".join(parts)
    return None


class Pings:
    """Asks the process at the other end of a control socket, again and again, whether it is at work.

    Pauses do not count, of this process or of the machine: between two pings this process has worked.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._unanswered = 0
        """Pings since the last answer."""
        self._ping_at = 0.0

    def answered(self) -> None:
        """Something has arrived from the other process. Any thread may call it."""
        self._unanswered = 0

    def are_in_vain(self) -> bool:
        """Whether it has not answered for long. Asks it again if it is time; returns at once."""
        now = time.monotonic()
        if now >= self._ping_at:
            if self._unanswered >= _MAX_UNANSWERED:
                return True
            self._ping_at = now + PING_SECONDS
            self._unanswered += 1
            with suppress(OSError):  # it has ended, or has not read what it was told for long
                send_packet(self._control, b"p", 0)
        return False
