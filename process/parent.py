"""A child process that begins at its parent's word, says when it is ready, and ends with its parent.

The word comes over the pipe that is its standard input, the answer goes to its standard output.

The child may thus be started early, and load its modules while its parent prepares what it will work on. The end of
the pipe says that the parent has gone, however it ended: no polling, no process ids that could be somebody else's.
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
    """The first line; None when the other side went without a word."""
    received = bytearray()
    while b"\n" not in received and len(received) < _MAX_WORD_BYTES:
        chunk = await pipe.receive_some()
        if not chunk:
            return None
        received += chunk
    return received.partition(b"\n")[0].decode()


async def wait_until_gone(pipe: ReceiveStream) -> None:
    """Return when the parent has ended, or closed the pipe."""
    while await pipe.receive_some():
        pass


def answer(word: str) -> None:
    """Tell the parent; it is waiting for one line."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
