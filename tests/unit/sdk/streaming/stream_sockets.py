"""A hub on sockets: the hub of the harness behind the rig of the wire's tests, in plaintext or under TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from bubu_sdk.testing.stream_hub import HubConnection, StreamHub

READ_BYTES = 64 * 1024


@dataclass
class SocketHub:
    """Serves one engram at a time."""

    hub: StreamHub
    port: int = 0
    _news: trio.Event = field(default_factory=trio.Event)
    _stream: trio.abc.HalfCloseableStream | trio.abc.Stream | None = None
    _dirty: trio.Event = field(default_factory=trio.Event)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a change at the hub after which ``condition`` holds."""
        while not condition():
            await self._news.wait()

    def send(self, *packets: bytes) -> list[int]:
        numbers = [self.hub.send(packet) for packet in packets]
        self._dirty.set()
        return numbers

    async def drop(self) -> None:
        """Break the connection."""
        if self._stream is not None:
            await trio.aclose_forcefully(self._stream)

    async def serve(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        connection = self.hub.connect()
        try:
            if isinstance(stream, trio.SSLStream):
                await stream.do_handshake()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, connection, stream)
                while not connection.wire.ended:
                    connection.receive(bytes(await stream.receive_some(READ_BYTES)))
                    self._dirty.set()
                    self._tell()
                self._dirty.set()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            pass
        finally:
            if not connection.wire.ended:
                connection.receive(b"")
            self._tell()
            await trio.aclose_forcefully(stream)

    async def _write(self, connection: HubConnection, stream: trio.abc.Stream) -> None:
        while True:
            while data := connection.data_to_send():
                with trio.fail_after(30):
                    await stream.send_all(data)
            if connection.wire.ended:
                return
            await self._dirty.wait()
            self._dirty = trio.Event()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def open_hub(hub: StreamHub, *, context: ssl.SSLContext | None = None) -> AsyncIterator[SocketHub]:
    served = SocketHub(hub)

    async def serve(stream: trio.SocketStream) -> None:
        await served.serve(trio.SSLStream(stream, context, server_side=True) if context else stream)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        served.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield served
        nursery.cancel_scope.cancel()
