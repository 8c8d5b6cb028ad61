"""One connection to a server: HTTP/1.1 requests and answers, one after the other; kept open between them.

It is an httpx transport and raises httpx's errors. The reason is its cost: with httptools directly on a Trio stream, a
request takes a third of the CPU of httpx's own client and pool, and requests are most of an operator's work. No
proxies, redirects, cookies or upgrades: an API server needs none.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import httptools
import httpx
import trio

WHOLE: Final = "bobrapet.whole"
"""Request extension: the caller wants the whole body at once, so the answer includes it and need not be closed."""
FENCE: Final = "bobrapet.fence"
"""Request extension: called when there is a connection, just before the first byte is sent; may raise an error."""
READ_BYTES: Final = 64 * 1024
MAX_HEAD_BYTES: Final = 100 * 1024
"""The largest head of an answer; a server that sends more is damaged."""
_SWITCHING: Final = 101
_FINAL: Final = 200
"""The lowest status of an answer that is not followed by another one."""


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
            if WHOLE not in request.extensions or head.is_encoded:  # httpx decodes streams only
                return httpx.Response(head.status, headers=head.headers, stream=_Body(self, connection))
            content = await connection.receive_rest()
            await self.settle(connection)
            return httpx.Response(head.status, headers=head.headers, content=content)
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
    """A stream, and what has arrived of the answer to the last request."""

    def __init__(self, stream: _FencedStream | trio.SSLStream[_FencedStream]) -> None:
        self.stream = stream
        self._transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        self._answer = AnswerReader()
        self._is_sent = True
        self._rests_since = trio.current_time()

    def is_stale(self, idle_seconds: float) -> bool:
        """Whether it was idle for too long, or the server has closed it: an idle server sends nothing else."""
        return trio.current_time() - self._rests_since > idle_seconds or self._transport.is_readable()

    async def send(self, request: httpx.Request) -> None:
        data = _head_of(request) + request.content
        self._transport.fence = request.extensions.get(FENCE)
        self._is_sent = False
        try:
            await self.stream.send_all(data)
            self._is_sent = True
        except trio.BrokenResourceError:
            return  # a server may refuse before it has read everything; if it has left, the next read fails
        finally:
            self._transport.fence = None

    async def receive_head(self) -> _Head:
        while self._answer.head is None:
            await self._receive()
        return self._answer.head

    async def receive_chunk(self) -> bytes:
        """A part of the body; empty at its end."""
        answer = self._answer
        while not answer.parts and not answer.is_complete:
            await self._receive()
        return answer.take()

    async def receive_rest(self) -> bytes:
        while not self._answer.is_complete:
            await self._receive()
        return self._answer.take()

    def rest(self) -> bool:
        """Prepare for the next request; False when the connection cannot be used again."""
        if not self._is_sent or not self._answer.allows_another:
            return False
        self._answer.begin()
        self._rests_since = trio.current_time()
        return True

    async def _receive(self) -> None:
        """Read what arrives next."""
        try:
            data = await self.stream.receive_some(READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpx.ReadError(str(error) or str(error.__cause__)) from error
        if data:
            self._answer.feed(data)
        else:
            self._answer.end()


class _Head(NamedTuple):
    """The head of an answer; of its body, whether it is encoded."""

    status: int
    headers: list[tuple[bytes, bytes]]
    is_encoded: bool


class AnswerReader:
    """What has arrived of an answer. Methods without a docstring are those that httptools calls.

    A connection has one for all its answers: an object and its parser refer to each other, which only the garbage
    collector resolves.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Forget the last answer."""
        self.head: _Head | None = None
        """Once it is complete."""
        self.is_complete = False
        self.parts: list[bytes] = []
        """Of the body, which have not been taken."""
        self._headers: list[tuple[bytes, bytes]] = []
        self._is_encoded = False
        self._ends_with_connection = True
        self._keeps_alive = False
        self._head_bytes = 0
        """Received since the last part of the body: of the head, or of what surrounds the body."""

    @property
    def allows_another(self) -> bool:
        """Whether the connection can be used for another request."""
        return self.is_complete and self._keeps_alive

    def take(self) -> bytes:
        """The parts of the body that have arrived since the last call."""
        taken = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        self.parts = []
        return taken

    def feed(self, data: bytes | bytearray) -> None:
        """
        Raises:
            httpx.RemoteProtocolError: the server does not speak HTTP/1.1.
        """
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.is_complete:
                raise httpx.RemoteProtocolError(str(error) or "the server wants another protocol") from error
            self._keeps_alive = False  # what follows an answer is nobody's
        if self._head_bytes > MAX_HEAD_BYTES and not self.is_complete:
            raise httpx.RemoteProtocolError(f"the head of the answer has more than {MAX_HEAD_BYTES} bytes")

    def end(self) -> None:
        """The server has closed the connection.

        Raises:
            httpx.RemoteProtocolError: in the middle of the answer, or before it.
        """
        if self.head is None:
            raise httpx.RemoteProtocolError("the server closed the connection without an answer")
        if not self._ends_with_connection:
            raise httpx.RemoteProtocolError("the server closed the connection in the middle of its answer")
        self.is_complete = True

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise _FollowedError

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is not None:  # after the body
            return
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._ends_with_connection = False
        elif name == b"content-encoding":
            self._is_encoded = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= _FINAL:
            self.head = _Head(status, self._headers, self._is_encoded)
        elif status == _SWITCHING:
            raise _UpgradedError
        else:
            self._headers.clear()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        self.parts.append(body)

    def on_message_complete(self) -> None:
        if self.head is not None:
            self.is_complete = True
            self._keeps_alive = self._parser.should_keep_alive()


class _FollowedError(Exception):
    """Bytes after the end of an answer."""


class _UpgradedError(Exception):
    """The server speaks another protocol from here on."""


def _head_of(request: httpx.Request) -> bytes:
    """
    Raises:
        httpx.LocalProtocolError: a header would be read as several.
    """
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%s: %s" % header for header in request.headers.raw]
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
        raise httpx.LocalProtocolError("a header of the request has a line break or a zero byte")
    return head + b"\r\n\r\n"


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
