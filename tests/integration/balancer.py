"""What a Service is to API servers: one address for several replicas, which leads only to ready ones.

As with a real Service, the balancer learns only after a while that a replica stops, and it keeps existing connections.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

_CHUNK = 65536


@dataclass
class Balancer:
    """``ports`` are those of the ready replicas, on loopback. New connections go to them in turn."""

    port: int = 0
    ports: list[int] = field(default_factory=list)
    refused: int = 0
    """Connections for which there was no replica, or whose replica did not listen."""
    _turn: int = 0
    _open: set[trio.SocketStream] = field(default_factory=set)

    async def serve(self, stream: trio.SocketStream) -> None:
        self._turn += 1
        try:
            other = await trio.open_tcp_stream("127.0.0.1", self.ports[self._turn % len(self.ports)])
        except (OSError, ZeroDivisionError):
            self.refused += 1
            await stream.aclose()
            return
        async with stream, other, trio.open_nursery() as nursery:
            self._open.add(stream)
            nursery.start_soon(_pump, stream, other, nursery.cancel_scope)
            nursery.start_soon(_pump, other, stream, nursery.cancel_scope)
        self._open.discard(stream)

    async def cut(self) -> None:
        """End all connections; returns once their clients know, so that the next requests begin with a handshake.

        No request may be in progress.
        """
        ended = set(self._open)
        for stream in ended:
            with suppress(OSError):  # the client has just closed it
                stream.socket.shutdown(socket.SHUT_WR)
        while ended & self._open:  # noqa: ASYNC110 - clients close them within milliseconds
            await trio.sleep(0.002)


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(_CHUNK):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()


@asynccontextmanager
async def open_balancer() -> AsyncIterator[Balancer]:
    balancer = Balancer()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        balancer.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, balancer.serve, [listener])
        yield balancer
        nursery.cancel_scope.cancel()
