"""An HTTP/1.1 client for one server with persistent connections, limited to the needs of a node.

A node sends many small requests; a general client spends several times as long on a request as the request takes.
h11 does the framing; Trio does connections, TLS and deadlines.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Protocol
from urllib.parse import urlsplit

import h11
import trio

_CHUNK_BYTES = 64 << 10
_CONNECT_SECONDS = 10.0
_IDLE_CONNECTIONS = 32


class ConnectionLostError(Exception):
    """A connection failed, broke or fell silent; the text says which."""


class Answer(Protocol):
    """The server's answer to one request; its body comes in pieces."""

    @property
    def status(self) -> int: ...

    async def receive(self) -> bytes:
        """The next piece of the body; empty at the end.

        Raises:
            ConnectionLostError: the answer broke off, or nothing came in time.
        """
        ...


class Http(Protocol):
    """A client of one server."""

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], content: bytes, *, silence_seconds: float
    ) -> AbstractAsyncContextManager[Answer]:
        """Send a request; yields its answer until the block ends.

        Args:
            target: path and query.
            silence_seconds: how long the server may send nothing.
        Raises:
            ConnectionLostError: no answer.
        """
        ...


class HttpServer:
    """``Http`` over TCP, with TLS if the URL says so. The code that creates one must close it."""

    def __init__(self, url: str, tls: ssl.SSLContext | None, connections: int) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._authority = parts.netloc
        self._idle: list[_Connection] = []
        self._places = trio.Semaphore(connections)

    @asynccontextmanager
    async def exchange(
        self, method: str, target: str, headers: Mapping[str, str], content: bytes, *, silence_seconds: float
    ) -> AsyncIterator[Answer]:
        fields = {"host": self._authority, **headers}
        if content:
            fields["content-length"] = str(len(content))
        request = h11.Request(method=method, target=target, headers=list(fields.items()))
        async with self._places:
            connection = self._take() or await self._connect()
            try:
                await connection.ask(request, content, silence_seconds)
                yield connection
            finally:
                self._give_back(connection)

    def close(self) -> None:
        for connection in self._idle:
            connection.end()
        self._idle.clear()

    def _take(self) -> _Connection | None:
        """An idle connection that the server has not closed; None if there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_quiet():
                return connection
            connection.end()
        return None

    def _give_back(self, connection: _Connection) -> None:
        if connection.is_ready_for_more() and len(self._idle) < _IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.end()

    async def _connect(self) -> _Connection:
        try:
            with trio.fail_after(_CONNECT_SECONDS):
                tcp = await trio.open_tcp_stream(self._host, self._port)
                if self._tls is None:
                    return _Connection(tcp, tcp.socket)
                secure = trio.SSLStream(tcp, self._tls, server_hostname=self._host, https_compatible=True)
                try:
                    await secure.do_handshake()
                except BaseException:
                    tcp.socket.close()
                    raise
                return _Connection(secure, tcp.socket)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            reason = str(error.__cause__ or error) or type(error).__name__
            raise ConnectionLostError(f"cannot connect: {reason}") from error


class _Connection:
    """One connection, and the current answer on it."""

    def __init__(self, stream: trio.abc.Stream, tcp: trio.socket.SocketType) -> None:
        self._stream = stream
        self._tcp = tcp
        self._http = h11.Connection(h11.CLIENT)
        self._silence_seconds = 0.0
        self.status = 0

    async def ask(self, request: h11.Request, content: bytes, silence_seconds: float) -> None:
        """Send a request; returns when the head of the answer has arrived."""
        self._silence_seconds = silence_seconds
        out = self._http.send(request) or b""
        if content:
            out += self._http.send(h11.Data(data=content)) or b""
        out += self._http.send(h11.EndOfMessage()) or b""
        with self._in_time():
            await self._stream.send_all(out)
        while not isinstance(event := await self._next(), h11.Response):
            pass  # informational answers such as 100 Continue
        self.status = event.status_code

    async def receive(self) -> bytes:
        if self._http.their_state is not h11.SEND_BODY:
            return b""
        event = await self._next()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    def is_quiet(self) -> bool:
        """Whether nothing has arrived since the last answer. If something has, the server is closing the connection."""
        poll = select.poll()
        poll.register(self._tcp.fileno(), select.POLLIN)
        return not poll.poll(0)

    def is_ready_for_more(self) -> bool:
        """Whether the answer was read to its end, and the server keeps the connection."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def end(self) -> None:
        self._tcp.close()

    async def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                with self._in_time():
                    received = await self._stream.receive_some(_CHUNK_BYTES)
                if not received and self._http.their_state is h11.SEND_RESPONSE:
                    raise ConnectionLostError("the server closed the connection")
                self._http.receive_data(bytes(received))
        except h11.RemoteProtocolError as error:
            raise ConnectionLostError(f"the answer broke off: {error}") from error
        return event

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        try:
            with trio.fail_after(self._silence_seconds):
                yield
        except trio.TooSlowError as error:
            raise ConnectionLostError(f"no answer within {self._silence_seconds:g} s") from error
        except trio.BrokenResourceError as error:
            raise ConnectionLostError(f"the connection broke: {error.__cause__ or error}") from error
