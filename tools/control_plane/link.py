"""Carries a TCP connection through this process, which can hold it up. What lies behind it is then in the past.

Between an API server and its etcd it makes a replica that lags. Before an API server it makes half-open connections.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio


@dataclass
class _Valve:
    """Decides whether bytes flow."""

    _open: trio.Event = field(default_factory=trio.Event)

    def close(self) -> None:
        self._open = trio.Event()

    def open(self) -> None:
        self._open.set()

    async def wait_open(self) -> None:
        while not self._open.is_set():
            await self._open.wait()


@dataclass
class Link:
    """Carries bytes in both directions, as long as it is not frozen."""

    url: str
    """Use this URL instead of that of the server."""
    _port: int
    """Port of the server."""
    _valve: _Valve = field(default_factory=_Valve)
    _connections: set[trio.CancelScope] = field(default_factory=set)

    def freeze(self) -> None:
        """Hold back all bytes from now on. Connections stay open, and neither side is notified."""
        self._valve.close()

    def thaw(self) -> None:
        """Continue, first with the bytes that were held back."""
        self._valve.open()

    def abandon(self) -> None:
        """Present connections stay open and carry nothing, for ever. New connections work normally."""
        self._valve.close()
        self._valve = _Valve()
        self._valve.open()

    def cut(self) -> int:
        """Break all connections; both sides notice. New connections work normally. Returns how many were broken."""
        broken = list(self._connections)
        for scope in broken:
            scope.cancel()
        return len(broken)

    async def serve(self, client: trio.SocketStream) -> None:
        """Serve one connection, until either side closes it."""
        valve = self._valve
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self._port)
        except OSError:  # nothing listens there; the client notices by its connection
            await trio.aclose_forcefully(client)
            return
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                async with client, server:
                    await _carry_both(client, server, valve, scope)
            finally:
                self._connections.discard(scope)


async def _carry_both(
    client: trio.SocketStream, server: trio.SocketStream, valve: _Valve, scope: trio.CancelScope
) -> None:
    async with trio.open_nursery() as nursery:
        for source, target in ((client, server), (server, client)):
            nursery.start_soon(_carry, source, target, valve, scope)


async def _carry(source: trio.SocketStream, target: trio.SocketStream, valve: _Valve, scope: trio.CancelScope) -> None:
    try:
        async for data in source:
            await valve.wait_open()
            await target.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # one side has closed the connection, so the other side is closed, too
    scope.cancel()


@asynccontextmanager
async def open_link(server_url: str, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Link]:
    """A link to a server on loopback, ``https://127.0.0.1:<port>``, for the block. It carries bytes at once.

    Args:
        host: where it listens, another loopback address.
        port: where it listens. 0: a free one.
    """
    [listener] = await trio.open_tcp_listeners(port, host=host)
    scheme, _, rest = server_url.partition("://")
    link = Link(f"{scheme}://{host}:{listener.socket.getsockname()[1]}", int(rest.rpartition(":")[2]))
    link.thaw()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, link.serve, [listener])
        yield link
        nursery.cancel_scope.cancel()
