"""A child process that starts its work when its parent tells it to, reports when it is ready, and ends with its parent.

The parent sends a line through the pipe that is the child's standard input; the child answers on its standard output.

So the parent can start the child early, and the child loads its modules while the parent prepares its input. The end of
the pipe shows that the parent is gone, in any way: no polling, and no process ids that could belong to another process.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import trio
from trio.abc import ReceiveStream

_MAX_WORD_BYTES: Final = 64 * 1024


def standard_input() -> ReceiveStream:
    """The child's end of the pipe."""
    return trio.lowlevel.FdStream(os.dup(0))


async def word_of(pipe: ReceiveStream) -> str | None:
    """The first line; None when the other side closed the pipe without one."""
    received = bytearray()
    while b"\n" not in received and len(received) < _MAX_WORD_BYTES:
        chunk = await pipe.receive_some()
        if not chunk:
            return None
        received += chunk
    return received.partition(b"\n")[0].decode()


async def wait_until_gone(pipe: ReceiveStream) -> None:
    """Return when the parent has ended, or has closed the pipe."""
    while await pipe.receive_some():
        pass


def answer(word: str) -> None:
    """Send one line to the parent, which waits for it."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
