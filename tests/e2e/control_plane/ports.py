"""Free ports on loopback that stay ours, also while the server behind them restarts.

A bound socket that does not listen keeps the port from other programs and gets no connection. Servers that share ports
(``SO_REUSEPORT``) listen beside it.
"""

from __future__ import annotations

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
