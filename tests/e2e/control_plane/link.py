"""A TCP connection's way through this process, which can be held up: what lies behind it is then a moment in the past.

Put between an API server and its etcd it makes a replica that lags.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio


@dataclass
class Link:
    """Carries bytes in both directions, as long as it is not frozen."""

    url: str
    """Leads to the server, in its place."""
    _port: int
    """Of the server."""
    _flowing: trio.Event = field(default_factory=trio.Event)

    def freeze(self) -> None:
        """Hold back whatever comes from now on; connections stay open, and nobody is told."""
        self._flowing = trio.Event()

    def thaw(self) -> None:
        """Carry on, first with what was held back."""
        self._flowing.set()

    async def serve(self, client: trio.SocketStream) -> None:
        """One connection, until either side closes it."""
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self._port)
        except OSError:  # nobody is there; the client hears of it by its connection
            await trio.aclose_forcefully(client)
            return
        async with client, server, trio.open_nursery() as nursery:
            for source, target in ((client, server), (server, client)):
                nursery.start_soon(self._carry, source, target, nursery.cancel_scope)

    async def _carry(self, source: trio.SocketStream, target: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            async for data in source:
                await self._flowing.wait()
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # one side has left, so the other does
        scope.cancel()


@asynccontextmanager
async def open_link(server_url: str) -> AsyncIterator[Link]:
    """A link to a server on loopback, ``http://127.0.0.1:<port>``, for the block; it carries at once."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    link = Link(f"http://127.0.0.1:{port}", int(server_url.rpartition(":")[2]))
    link.thaw()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, link.serve, [listener])
        yield link
        nursery.cancel_scope.cancel()
