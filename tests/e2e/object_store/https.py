"""A server for tests: HTTP/1.1 over TLS on loopback; each request is read whole and answered by a function."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import trio

from tests.e2e.object_store.authority import Authority

_READ_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class WholeRequest:
    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    """With lower-case names."""
    body: bytes

    @property
    def path(self) -> str:
        """Without escapes."""
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    def header(self, name: str) -> str:
        return dict(self.headers).get(name.encode(), b"").decode()


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    code: int
    content: bytes = b""
    headers: Mapping[str, str] | list[tuple[bytes, bytes]] = field(default_factory=dict)
    """``content-length`` is replaced, except in the answer to HEAD."""
    cut: bool = False
    """The connection ends after half of the content."""


Handler = Callable[[WholeRequest], Awaitable[WholeAnswer | None]]
"""None ends the connection without an answer."""


@asynccontextmanager
async def serve_https(authority: Authority, handler: Handler) -> AsyncIterator[int]:
    """The server's port on 127.0.0.1, during the block."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_ssl_over_tcp_listeners(0, authority.server_context(), host="127.0.0.1")
        [address] = [cast(trio.SocketListener, each.transport_listener).socket for each in listeners]
        nursery.start_soon(trio.serve_listeners, partial(_serve, handler), listeners)
        yield address.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _serve(handler: Handler, stream: trio.SSLStream[trio.SocketStream]) -> None:
    connection = h11.Connection(h11.SERVER)
    try:
        while True:
            head = await _next_event(connection, stream)
            if not isinstance(head, h11.Request):
                return
            body = bytearray()
            while isinstance(event := await _next_event(connection, stream), h11.Data):
                body += event.data
            request = WholeRequest(head.method.decode(), head.target.decode(), list(head.headers), bytes(body))
            answer = await handler(request)
            if answer is None or not await _send(connection, stream, request.method, answer):
                return
            connection.start_next_cycle()
    except (h11.ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
        return
    finally:
        await trio.aclose_forcefully(stream)


async def _send(
    connection: h11.Connection, stream: trio.SSLStream[trio.SocketStream], method: str, answer: WholeAnswer
) -> bool:
    """Whether the connection goes on."""
    given = answer.headers
    headers = given if isinstance(given, list) else [(name.encode(), value.encode()) for name, value in given.items()]
    if method != "HEAD":
        headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        headers.append((b"content-length", str(len(answer.content)).encode()))
    head = connection.send(h11.Response(status_code=answer.code, headers=headers)) or b""
    if answer.cut:
        await stream.send_all(head + answer.content[: len(answer.content) // 2])
        return False
    data = connection.send(h11.Data(data=answer.content)) or b"" if method != "HEAD" else b""
    await stream.send_all(head + data + (connection.send(h11.EndOfMessage()) or b""))
    return True


async def _next_event(
    connection: h11.Connection, stream: trio.SSLStream[trio.SocketStream]
) -> h11.Event | type[h11.PAUSED]:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
    return cast("h11.Event | type[h11.PAUSED]", event)
