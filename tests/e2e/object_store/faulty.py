"""A proxy in front of the S3 server that applies faults: an error, a slow or missing answer, a cut or altered body.

It speaks HTTP/1.1 over TLS. Requests arrive at the server as they were signed, so the server checks the signature of
the client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final, cast

import h11
import httpx
import trio

from tests.e2e.object_store.gateway import Gateway

_READ_BYTES: Final = 64 * 1024
_OF_CONNECTIONS: Final = frozenset({b"connection", b"transfer-encoding", b"keep-alive"})


class S3Fault(StrEnum):
    """What happens to a request."""

    ERROR = "500"
    """The server never gets it; the client gets 500."""
    SLOW_DOWN = "503"
    """The same with 503 SlowDown."""
    HANG = "hang"
    """The server never gets it, and there is no answer."""
    LOST = "lost"
    """The server does it, and the client's connection ends."""
    CUT = "cut"
    """The client gets half of the body of the answer."""
    ALTERED = "altered"
    """One byte of the body changes: that of an upload on its way to the server, else that of the answer."""


@dataclass
class FaultyProxy:
    """``faults``: for each method, the faults of its next requests, in order; None passes a request on."""

    gateway: Gateway
    port: int = 0
    faults: dict[str, list[S3Fault | None]] = field(default_factory=dict)
    latency_seconds: float = 0.0
    seen: list[str] = field(default_factory=list)
    """The method of each request."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def serve(self, client: httpx.AsyncClient, stream: trio.SSLStream[trio.SocketStream]) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while True:
                request = await _next_event(connection, stream)
                if not isinstance(request, h11.Request):
                    return
                body = bytearray()
                while isinstance(event := await _next_event(connection, stream), h11.Data):
                    body += event.data
                if not await self._answer(client, connection, stream, request, bytes(body)):
                    return
                connection.start_next_cycle()
        except (h11.ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(
        self,
        client: httpx.AsyncClient,
        connection: h11.Connection,
        stream: trio.SSLStream[trio.SocketStream],
        request: h11.Request,
        body: bytes,
    ) -> bool:
        """Whether the connection goes on."""
        method = request.method.decode()
        self.seen.append(method)
        waiting = self.faults.get(method)
        fault = waiting.pop(0) if waiting else None
        await trio.sleep(self.latency_seconds)
        match fault:
            case S3Fault.HANG:
                await trio.sleep_forever()
            case S3Fault.ERROR:
                return await _send(connection, stream, 500, [], _error("InternalError"))
            case S3Fault.SLOW_DOWN:
                return await _send(connection, stream, 503, [], _error("SlowDown"))
        if fault is S3Fault.ALTERED and body:
            body, fault = _altered(body), None
        headers = [(name, value) for name, value in request.headers if name not in _OF_CONNECTIONS]
        answer = await client.request(
            method, f"{self.gateway.url}{request.target.decode()}", headers=headers, content=body
        )
        content = answer.content
        if fault is S3Fault.LOST:
            return False
        if fault is S3Fault.ALTERED:
            content = _altered(content)
        passed = [(name, value) for name, value in answer.headers.raw if name.lower() not in _OF_CONNECTIONS]
        return await _send(connection, stream, answer.status_code, passed, content, cut=fault is S3Fault.CUT)


async def _send(
    connection: h11.Connection,
    stream: trio.SSLStream[trio.SocketStream],
    code: int,
    headers: list[tuple[bytes, bytes]],
    content: bytes,
    *,
    cut: bool = False,
) -> bool:
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    length = (b"content-length", str(len(content)).encode())
    head = connection.send(h11.Response(status_code=code, headers=[*kept, length])) or b""
    if cut:
        await stream.send_all(head + content[: len(content) // 2])
        return False
    data = connection.send(h11.Data(data=content)) or b""
    await stream.send_all(head + data + (connection.send(h11.EndOfMessage()) or b""))
    return True


async def _next_event(
    connection: h11.Connection, stream: trio.SSLStream[trio.SocketStream]
) -> h11.Event | type[h11.PAUSED]:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
    return cast("h11.Event | type[h11.PAUSED]", event)


def _altered(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _error(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()


@asynccontextmanager
async def open_faulty(gateway: Gateway) -> AsyncIterator[FaultyProxy]:
    """A proxy during the block, with a certificate of the server's authority."""
    proxy = FaultyProxy(gateway)
    authority = gateway.authority
    async with (
        httpx.AsyncClient(verify=authority.client_context(), timeout=30) as client,
        trio.open_nursery() as nursery,
    ):
        listeners = await trio.open_ssl_over_tcp_listeners(0, authority.server_context(), host="127.0.0.1")
        [address] = [cast(trio.SocketListener, each.transport_listener).socket for each in listeners]
        proxy.port = address.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, partial(proxy.serve, client), listeners)
        yield proxy
        nursery.cancel_scope.cancel()
