"""One connection to a server: HTTP/1.1 requests and answers, one after the other; kept open between them.

It is an httpx transport and raises httpx's errors. The reason is its cost: with h11 directly on a Trio stream, a
request takes half the CPU of httpx's own client and pool, and requests are most of an operator's work. No proxies,
redirects, cookies or upgrades: an API server needs none.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import h11
import httpx
import trio

WHOLE: Final = "bobrapet.whole"
"""Request extension: the caller wants the whole body at once, so the answer includes it and need not be closed."""
FENCE: Final = "bobrapet.fence"
"""Request extension: called when there is a connection, just before the first byte is sent; may raise an error."""
READ_BYTES: Final = 64 * 1024
MAX_HEAD_BYTES: Final = 100 * 1024
"""The largest head of an answer; a server that sends more is damaged."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection. Without ``context`` it is plain TCP."""

    host: str
    port: int
    context: ssl.SSLContext | None
    name: str
    """The name that the certificate must be valid for."""
    connect_seconds: float
    """The longest time for connecting, TLS included."""
    idle_seconds: float
    """A connection that was idle for longer is not used again."""


class Http1Lane(httpx.AsyncBaseTransport):
    """One request at a time; connects at the first request, and again when the connection was closed.

    After a cancelled or failed request the connection is closed: the bytes that follow on it are unknown.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._connection: _Connection | None = None

    def __repr__(self) -> str:
        state = "closed" if self._connection is None else "open"
        return f"<Http1Lane to {self._peer.host}:{self._peer.port}, {state}>"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, with its whole body or with a stream that must be closed.

        Raises:
            httpx.TransportError: no answer arrived.
        """
        connection = await self._connected()
        try:
            await connection.send(request)
            head = await connection.receive_head()
            headers = list(head.headers)
            if WHOLE not in request.extensions or b"content-encoding" in dict(headers):  # httpx decodes streams only
                return httpx.Response(head.status_code, headers=headers, stream=_Body(self, connection))
            content = await connection.receive_rest()
            await self.settle(connection)
            return httpx.Response(head.status_code, headers=headers, content=content)
        except BaseException:
            await self._drop(connection)
            raise

    async def aclose(self) -> None:
        if self._connection is not None:
            await self._drop(self._connection)

    async def _connected(self) -> _Connection:
        connection = self._connection
        if connection is not None:
            if not connection.is_stale(self._peer.idle_seconds):
                return connection
            await self._drop(connection)
        self._connection = _Connection(await _connect(self._peer))
        return self._connection

    async def settle(self, connection: _Connection) -> None:
        """Keep the connection if both sides have finished this exchange and both allow another one."""
        if not connection.rest():
            await self._drop(connection)

    async def _drop(self, connection: _Connection) -> None:
        if self._connection is connection:
            self._connection = None
        await trio.aclose_forcefully(connection.stream)


class _Body(httpx.AsyncByteStream):
    """The body of an answer as it arrives."""

    def __init__(self, lane: Http1Lane, connection: _Connection) -> None:
        self._lane = lane
        self._connection: _Connection | None = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert self._connection is not None, "a body must be read before it is closed"
        while chunk := await self._connection.receive_chunk():
            yield chunk

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._lane.settle(connection)


class _Connection:
    """A stream and the HTTP state of both sides."""

    def __init__(self, stream: _FencedStream | trio.SSLStream[_FencedStream]) -> None:
        self.stream = stream
        self._transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._rests_since = trio.current_time()

    def is_stale(self, idle_seconds: float) -> bool:
        """Whether it was idle for too long, or the server has closed it: an idle server sends nothing else."""
        return trio.current_time() - self._rests_since > idle_seconds or self._transport.is_readable()

    async def send(self, request: httpx.Request) -> None:
        try:
            head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
            data = self._protocol.send(head) or b""
            if request.content:
                data += self._protocol.send(h11.Data(request.content)) or b""
            data += self._protocol.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        self._transport.fence = request.extensions.get(FENCE)
        try:
            await self.stream.send_all(data)
        except trio.BrokenResourceError:
            return  # a server may refuse before it has read everything; if it has left, the next read fails
        finally:
            self._transport.fence = None

    async def receive_head(self) -> h11.Response:
        while True:
            event = await self._receive()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise httpx.RemoteProtocolError(f"expected the head of an answer, received {event!r}")

    async def receive_chunk(self) -> bytes:
        """A part of the body; empty at its end."""
        event = await self._receive()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def receive_rest(self) -> bytes:
        chunks = []
        while chunk := await self.receive_chunk():
            chunks.append(chunk)
        return b"".join(chunks)

    def rest(self) -> bool:
        """Prepare for the next request; False when the connection cannot be used again."""
        if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
            return False
        self._protocol.start_next_cycle()
        self._rests_since = trio.current_time()
        return True

    async def _receive(self) -> h11.Event:
        while True:
            try:
                event = self._protocol.next_event()
            except h11.RemoteProtocolError as error:
                raise httpx.RemoteProtocolError(str(error)) from error
            if isinstance(event, h11.Event):
                return event
            if event is not h11.NEED_DATA:
                raise httpx.RemoteProtocolError("the server sent data after the end of its answer")
            try:
                data = await self.stream.receive_some(READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise httpx.ReadError(str(error) or str(error.__cause__)) from error
            if not data and self._protocol.their_state is h11.SEND_RESPONSE:
                raise httpx.RemoteProtocolError("the server closed the connection without an answer")
            self._protocol.receive_data(bytes(data))


class _FencedStream(trio.abc.HalfCloseableStream):
    """A socket that calls ``fence`` when bytes are about to leave.

    TLS takes turns before it sends: other tasks run meanwhile, and the process may be suspended.
    """

    def __init__(self, inner: trio.SocketStream) -> None:
        self._inner = inner
        self.fence: Callable[[], None] | None = None

    def is_readable(self) -> bool:
        return self._inner.socket.is_readable()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.fence is not None:
            self.fence()
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _connect(peer: Peer) -> _FencedStream | trio.SSLStream[_FencedStream]:
    try:
        with trio.fail_after(peer.connect_seconds):
            plain = _FencedStream(await trio.open_tcp_stream(peer.host, peer.port))
            return plain if peer.context is None else await _secured(plain, peer, peer.context)
    except trio.TooSlowError as error:
        raise httpx.ConnectTimeout(f"no connection within {peer.connect_seconds:g} s") from error
    except (OSError, trio.BrokenResourceError) as error:
        raise httpx.ConnectError(str(error) or str(error.__cause__)) from error


async def _secured(plain: _FencedStream, peer: Peer, context: ssl.SSLContext) -> trio.SSLStream[_FencedStream]:
    stream = trio.SSLStream(plain, context, server_hostname=peer.name, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(plain)
        raise
    return stream
