"""A proxy in front of an API server that applies faults to what passes through it.

It speaks HTTP/1.1 over TLS to clients, with a certificate of the control plane's own authority, so that kubeconfigs
need only another address. Each connection of a client has its own connection to the server.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, cast

import h11
import httpx
import orjson
import trio

from core.kube.http1 import Http1Lane, Peer
from tools.control_plane.access import Access
from tools.control_plane.faults import (
    Choice,
    Cut,
    Delay,
    Fault,
    Hold,
    Late,
    LoseAnswer,
    LoseRequest,
    Moment,
    Mute,
    Refuse,
    Repeat,
    RepeatLines,
    Request,
    Rule,
)

_READ_BYTES: Final = 64 * 1024
_HOP_BY_HOP: Final = frozenset({b"connection", b"transfer-encoding", b"keep-alive", b"host", b"content-length"})
_CONNECT_SECONDS: Final = 5.0
_IDLE_SECONDS: Final = 60.0

Stream = trio.SSLStream[trio.SocketStream]
Give = Callable[[httpx.Response], Awaitable[None]]


class _BrokenConnection(Exception):  # noqa: N818 - an outcome the fault wanted
    """The fault breaks the client's connection."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that passed, and its result."""

    request: Request
    code: int | None
    """The code of the server's answer. None if the server did not get the request, or did not answer."""
    at: float = field(default_factory=trio.current_time)


@dataclass
class Proxy:
    """``url`` replaces that of the server. ``upstream`` may be changed at any time and applies to new connections."""

    url: str
    upstream: str
    _tls: ssl.SSLContext
    """For connections to the server."""
    seen: list[Seen] = field(default_factory=list)
    _rules: list[Rule] = field(default_factory=list)
    _connections: set[trio.CancelScope] = field(default_factory=set)

    def add(self, fault: Fault, chosen: Choice, *, times: int | None = 1) -> Rule:
        """From now on, apply ``fault`` to the next ``times`` chosen requests. The newest rule comes first."""
        rule = Rule(fault, chosen, times)
        self._rules.insert(0, rule)
        return rule

    def heal(self) -> None:
        """Remove all faults for new requests. Requests in progress keep theirs."""
        self._rules.clear()

    def cut_connections(self) -> None:
        """Break every connection, even with requests in progress."""
        for scope in list(self._connections):
            scope.cancel()

    async def serve(self, stream: Stream) -> None:
        """Serve one client, until it leaves or a fault breaks its connection."""
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                await self._converse(stream)
            except* (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError, _BrokenConnection):
                pass  # the client notices by its connection
            finally:
                self._connections.discard(scope)
                await trio.aclose_forcefully(stream)

    async def _converse(self, stream: Stream) -> None:
        connection = h11.Connection(h11.SERVER)
        async with self._open_server() as server:
            await self._converse_with(server, stream, connection)

    async def _converse_with(self, server: Http1Lane, stream: Stream, connection: h11.Connection) -> None:
        while True:
            head = await _next_event(stream, connection)
            if not isinstance(head, h11.Request):
                return
            body = await _body_of(stream, connection)
            request = Request(head.method.decode(), head.target.decode())
            fault = next((rule.fault for rule in self._rules if rule.takes(request)), None)
            answer = _Answer(stream, connection)
            await self._carry(request, head, body, fault, server, answer)
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    def _open_server(self) -> Http1Lane:
        url = httpx.URL(self.upstream)
        return Http1Lane(Peer(url.host, url.port or 443, self._tls, url.host, _CONNECT_SECONDS, _IDLE_SECONDS))

    async def _carry(
        self,
        request: Request,
        head: h11.Request,
        body: bytes,
        fault: Fault | None,
        server: Http1Lane,
        answer: _Answer,
    ) -> None:
        match fault:
            case Refuse():
                self.seen.append(Seen(request, None))
                await answer.refuse(fault)
                return
            case LoseRequest():
                self.seen.append(Seen(request, None))
                raise _BrokenConnection
            case Hold(moment=Moment.ASKED):
                await fault.wait()
            case Repeat():
                await self._ask(request, head, body, server, _swallow)
            case _:
                pass
        await self._ask(request, head, body, server, partial(self._give, fault=fault, answer=answer))

    async def _ask(self, request: Request, head: h11.Request, body: bytes, server: Http1Lane, give: Give) -> None:
        """Send the request to the server, and pass its answer to ``give`` while it comes."""
        headers = [(name, value) for name, value in head.headers if name.lower() not in _HOP_BY_HOP]
        asked = httpx.Request(request.method, self.upstream + request.target, headers=headers, content=body or None)
        try:
            response = await server.handle_async_request(asked)
            self.seen.append(Seen(request, response.status_code))
            try:
                await give(response)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise _BrokenConnection from error

    async def _give(self, response: httpx.Response, fault: Fault | None, answer: _Answer) -> None:
        match fault:
            case LoseAnswer():
                await _swallow(response)
                raise _BrokenConnection
            case Mute():
                await trio.sleep_forever()
            case Delay(seconds):
                await trio.sleep(seconds)
            case Hold(moment=Moment.DONE):
                await fault.wait()
            case Late(seconds):
                await self._give_late(response, seconds, answer)
                return
            case _:
                pass
        left = fault.after_bytes if isinstance(fault, Cut) else None
        times = fault.times if isinstance(fault, RepeatLines) else 1
        await answer.begin(response)
        async with _pieces(response) as pieces:
            rest = b""
            async for piece in pieces:
                data, rest = (piece, b"") if times == 1 else _repeated(rest + piece, times)
                if left is not None and len(data) >= left:
                    await answer.send(data[:left])
                    raise _BrokenConnection
                await answer.send(data)
                left = left if left is None else left - len(data)
        await answer.send(rest)
        await answer.end()
        if isinstance(fault, Hold) and fault.moment is Moment.TOLD:
            await fault.wait()

    async def _give_late(self, response: httpx.Response, seconds: float, answer: _Answer) -> None:
        """Continue to read while pieces wait, so that each is late by the same time."""
        send, receive = trio.open_memory_channel[tuple[float, bytes]](math.inf)
        await answer.begin(response)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read_with_instants, response, send)
            async for due, piece in receive:
                await trio.sleep_until(due + seconds)
                await answer.send(piece)
        await answer.end()


class _Answer:
    """The answer to the client, piece by piece."""

    def __init__(self, stream: Stream, connection: h11.Connection) -> None:
        self._stream = stream
        self._connection = connection

    async def begin(self, response: httpx.Response) -> None:
        headers = [(name, value) for name, value in response.headers.raw if name.lower() not in _HOP_BY_HOP]
        await self._say(h11.Response(status_code=response.status_code, headers=headers))

    async def send(self, data: bytes) -> None:
        if data:
            await self._say(h11.Data(data))

    async def end(self) -> None:
        await self._say(h11.EndOfMessage())

    async def refuse(self, fault: Refuse) -> None:
        headers = [("content-type", "application/json")]
        if fault.retry_after_seconds is not None:
            headers.append(("retry-after", str(fault.retry_after_seconds)))
        await self._say(h11.Response(status_code=fault.code, headers=headers))
        await self.send(orjson.dumps(fault.body()))
        await self.end()

    async def _say(self, event: h11.Event) -> None:
        data = self._connection.send(event)
        if data:
            await self._stream.send_all(data)


async def _swallow(response: httpx.Response) -> None:
    async with _pieces(response) as pieces:
        async for _ in pieces:
            pass


def _pieces(response: httpx.Response) -> aclosing[AsyncGenerator[bytes, None]]:
    """The body as it comes. Reading may stop at any time, which httpx's own nested iterators do not allow."""
    return aclosing(cast("AsyncGenerator[bytes, None]", aiter(cast("httpx.AsyncByteStream", response.stream))))


async def _read_with_instants(response: httpx.Response, send: trio.MemorySendChannel[tuple[float, bytes]]) -> None:
    async with send, _pieces(response) as pieces:
        async for piece in pieces:
            send.send_nowait((trio.current_time(), piece))


def _repeated(data: bytes, times: int) -> tuple[bytes, bytes]:
    """The complete lines of ``data``, each repeated ``times`` times, and the rest."""
    *lines, rest = data.split(b"\n")
    return b"".join((line + b"\n") * times for line in lines), rest


async def _body_of(stream: Stream, connection: h11.Connection) -> bytes:
    parts = []
    while isinstance(event := await _next_event(stream, connection), h11.Data):
        parts.append(bytes(event.data))
    return b"".join(parts)


async def _next_event(stream: Stream, connection: h11.Connection) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
    return event


@asynccontextmanager
async def open_proxy(access: Access, upstream: str) -> AsyncIterator[Proxy]:
    """A proxy to the server at ``upstream`` during the block. Every connection breaks at its end."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(access.certificate("serving"), access.key("serving"))
    context.set_alpn_protocols(["http/1.1"])
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    proxy = Proxy(f"https://127.0.0.1:{port}", upstream, access.tls_context())

    async def serve(plain: trio.SocketStream) -> None:
        stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
        await proxy.serve(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()


def kubeconfig_through(proxy: Proxy, access: Access, token: str, name: str = "proxied") -> Path:
    """A kubeconfig that leads through the proxy."""
    return access.write_kubeconfig(name, proxy.url, token)
