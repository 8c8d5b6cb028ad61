"""How the process of a step tells its records from what it prints, in one pipe that keeps their order.

A record is sent in frames. A frame is written at once, so what other processes of the step print does not get into it.
It begins with a mark that each attempt has for itself: nothing that is printed looks like a record by chance.

    MARK PID + TEXT \\n     a part of a record, of the process PID
    MARK PID . TEXT \\n     the last part
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from typing import Final

FRAME_BYTES: Final = select.PIPE_BUF
"""So much is written to a pipe at once, or not at all."""
PART: Final = b"+"
LAST: Final = b"."
_SEPARATOR: Final = b"\x1e"


def new_mark() -> str:
    """The mark of one attempt."""
    return _SEPARATOR.decode() + os.urandom(8).hex()


def frames(mark: str, record: bytes) -> Iterator[bytes]:
    """The frames of a record, which is one line without its end."""
    head = f"{mark}{os.getpid()}".encode()
    room = FRAME_BYTES - len(head) - 2
    while len(record) > room:
        yield head + PART + record[:room] + b"\n"
        record = record[room:]
    yield head + LAST + record + b"\n"


def start_of_mark(text: bytes, mark: bytes) -> int:
    """Where a mark may begin that ``text`` does not have whole; its length if there is none."""
    at = text.rfind(_SEPARATOR, max(0, len(text) - len(mark) + 1))
    return at if at >= 0 and mark.startswith(text[at:]) else len(text)


def parsed(frame: bytes) -> tuple[bytes, bytes, bytes] | None:
    """PID, kind and text of a frame without its mark and its end; ``None``: it is none."""
    text = frame.lstrip(b"0123456789")
    pid, kind = frame[: len(frame) - len(text)], text[:1]
    return (pid, kind, text[1:]) if pid and kind in (PART, LAST) else None


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of it, also if a program has made the descriptor non-blocking.

    Raises:
        OSError: nobody can read it any more.
    """
    left = memoryview(content)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            writable = select.poll()  # select() refuses high descriptors
            writable.register(descriptor, select.POLLOUT)
            writable.poll()
