"""An httpx transport that runs an ASGI application in this process, with real streaming and without sockets.

The application runs as a task of the given nursery. A watch or a followed log therefore delivers lines as they are
produced. When the client closes the response, the application sees a disconnect. Works with any ASGI 3 ``http``
application.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

_BUFFERED_CHUNKS = 64
"""How many chunks of a body the application may send before the reader takes them."""

Message = MutableMapping[str, Any]
ASGIApp = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class ASGIStreamingTransport(httpx.AsyncBaseTransport):
    """Requests become calls of ``app`` in ``nursery``; use it as ``httpx.AsyncClient(transport=...)``.

    If the application raises before it begins to answer, the request raises that exception; later, the body raises it.
    """

    def __init__(self, app: ASGIApp, nursery: trio.Nursery, *, client: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._app = app
        self._nursery = nursery
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _Exchange(await request.aread())
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.split(b"?", 1)[0],
            "query_string": request.url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "server": (request.url.host, request.url.port),
            "client": self._client,
            "extensions": {},
        }
        self._nursery.start_soon(exchange.run, self._app, scope)
        try:
            await exchange.started.wait()
        except BaseException:
            exchange.leave()
            raise
        if exchange.status == 0:
            raise exchange.failure or RuntimeError(f"the application gave no answer to {request.method} {request.url}")
        return httpx.Response(exchange.status, headers=exchange.headers, stream=exchange)


class _Exchange(httpx.AsyncByteStream):
    """One request and its answer: the two ends of an ASGI conversation."""

    def __init__(self, body: bytes) -> None:
        self.started = trio.Event()
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.failure: Exception | None = None
        self._body: bytes | None = body
        self._gone = trio.Event()
        self._send_chunk, self._chunks = trio.open_memory_channel[bytes](_BUFFERED_CHUNKS)

    async def run(self, app: ASGIApp, scope: Message) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - handed to the client, whose request failed
            self.failure = error
        finally:
            self._send_chunk.close()
            self.started.set()

    def leave(self) -> None:
        """Tell the application that the client no longer listens."""
        self._gone.set()

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message.get("headers", ()))
            self.started.set()
        elif message["type"] == "http.response.body":
            self.started.set()
            if (chunk := message.get("body", b"")) and not self._gone.is_set():
                try:
                    await self._send_chunk.send(chunk)
                except trio.BrokenResourceError:
                    self.leave()  # the reader closed the response; the next ``receive`` of the application says so
            if not message.get("more_body"):
                self._send_chunk.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._chunks.receive()
        except trio.EndOfChannel:
            if self.failure is not None:
                raise self.failure from None
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self.leave()
        self._chunks.close()
        await trio.lowlevel.checkpoint()


class TransportHttp:
    """Adapts an httpx transport to the interface that a node uses (``localcluster.node.http.Http``)."""

    def __init__(self, transport: httpx.AsyncBaseTransport, url: str) -> None:
        self._transport = transport
        self._url = url.rstrip("/")

    @asynccontextmanager
    async def exchange(
        self, method: str, target: str, headers: Mapping[str, str], content: bytes, *, silence_seconds: float
    ) -> AsyncIterator[_TransportAnswer]:
        """Send one request; ``silence_seconds`` is passed on to the transport, which has no connection to lose."""
        timeout = httpx.Timeout(silence_seconds).as_dict()
        request = httpx.Request(
            method, self._url + target, headers=dict(headers), content=content, extensions={"timeout": timeout}
        )
        response = await self._transport.handle_async_request(request)
        try:
            yield _TransportAnswer(response)
        finally:
            await response.aclose()


class _TransportAnswer:
    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        assert isinstance(response.stream, httpx.AsyncByteStream), "what an asynchronous transport answers with"
        self._pieces = aiter(response.stream)

    async def receive(self) -> bytes:
        return await anext(self._pieces, b"")
