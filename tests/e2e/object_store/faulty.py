"""A proxy in front of an object store that applies faults: an error, a slow or missing answer, a cut or altered body.

It speaks HTTP/1.1 over TLS. Requests arrive at the server as they were signed, so the server checks the signature of
the client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

import httpx
import trio

from tests.e2e.object_store.authority import Authority
from tests.e2e.object_store.https import WholeAnswer, WholeRequest, serve_https

_OF_CONNECTIONS: Final = frozenset({b"connection", b"transfer-encoding", b"keep-alive"})


class StoreServer(Protocol):
    """The server behind the proxy."""

    @property
    def url(self) -> str:
        """Scheme, host and port."""

    @property
    def authority(self) -> Authority: ...


class StoreFault(StrEnum):
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

    server: StoreServer
    port: int = 0
    faults: dict[str, list[StoreFault | None]] = field(default_factory=dict)
    latency_seconds: float = 0.0
    seen: list[str] = field(default_factory=list)
    """The method of each request."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def answer(self, client: httpx.AsyncClient, request: WholeRequest) -> WholeAnswer | None:
        self.seen.append(request.method)
        waiting = self.faults.get(request.method)
        fault = waiting.pop(0) if waiting else None
        await trio.sleep(self.latency_seconds)
        match fault:
            case StoreFault.HANG:
                await trio.sleep_forever()
            case StoreFault.ERROR:
                return _error(500, "InternalError")
            case StoreFault.SLOW_DOWN:
                return _error(503, "SlowDown")
        body = request.body
        if fault is StoreFault.ALTERED and body:
            body, fault = _altered(body), None
        headers = [(name, value) for name, value in request.headers if name not in _OF_CONNECTIONS]
        answer = await client.request(
            request.method, f"{self.server.url}{request.target}", headers=headers, content=body
        )
        if fault is StoreFault.LOST:
            return None
        content = _altered(answer.content) if fault is StoreFault.ALTERED else answer.content
        passed = [(name, value) for name, value in answer.headers.raw if name.lower() not in _OF_CONNECTIONS]
        return WholeAnswer(answer.status_code, content, passed, cut=fault is StoreFault.CUT)


def _altered(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _error(status: int, code: str) -> WholeAnswer:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>"
    return WholeAnswer(status, text.encode())


@asynccontextmanager
async def open_faulty(server: StoreServer) -> AsyncIterator[FaultyProxy]:
    """A proxy during the block, with a certificate of the server's authority."""
    proxy = FaultyProxy(server)
    async with (
        httpx.AsyncClient(
            verify=server.authority.client_context(), timeout=30, headers={"accept-encoding": "identity"}
        ) as client,
        serve_https(server.authority, lambda request: proxy.answer(client, request)) as port,
    ):
        proxy.port = port
        yield proxy
