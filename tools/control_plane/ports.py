"""Free ports on loopback that stay ours, also while the server behind them restarts.

A bound socket that does not listen keeps the port from other programs and gets no connection. Servers that share ports
(``SO_REUSEPORT``) listen beside it.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """A port on 127.0.0.1 during the block."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def unshared_port() -> int:
    """A free port on 127.0.0.1, for a server that does not share ports and is killed while others connect to it.

    It is not in the range that the kernel takes for connections, so none of them takes the port between two starts.
    """
    while True:
        port = random.randint(12_000, 16_000)
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
