"""An API server that follows a script: a test answers each request and controls every watch."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import trio

from core.api.resource import Resource
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from core.kube.retry import ONCE, CallRetries
from kubewire import Object, status_failure

WIDGET = Resource("example.io", "v1", "widgets", "Widget", subresources=("status",))

Answer = Callable[[httpx.Request], Awaitable[httpx.Response] | httpx.Response]


def widget(name: str, version: int | str, *, uid: str = "", namespace: str = "team", **fields: Any) -> Object:
    """An object. ``labels`` and ``deletion`` go to its metadata, all other fields to the top level."""
    metadata: Object = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
    }
    if "labels" in fields:
        metadata["labels"] = fields.pop("labels")
    if fields.pop("deletion", False):
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"apiVersion": "example.io/v1", "kind": "Widget", "metadata": metadata, **fields}


def version_of(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])


def ok(value: Any, code: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(code, content=orjson.dumps(value), headers=headers)


def refusal(
    reason: str, message: str = "no", *, code: int | None = None, details: Object | None = None, **headers: str
) -> httpx.Response:
    status = status_failure(reason, message, code=code, details=details or {"name": "x"})
    return ok(status, status["code"], **{key.replace("_", "-"): value for key, value in headers.items()})


def listing(*items: Object, version: int | str, next_page: str = "") -> httpx.Response:
    return ok(
        {
            "kind": "WidgetList",
            "metadata": {"resourceVersion": str(version), "continue": next_page},
            "items": list(items),
        }
    )


class WatchConnection(httpx.AsyncByteStream):
    """The server's end of one watch."""

    def __init__(self, request: httpx.Request) -> None:
        self.request = request
        self.opened_at = trio.current_time()
        self.closed = trio.Event()
        self._send, self._receive = trio.open_memory_channel[bytes | Exception](math.inf)

    @property
    def resource_version(self) -> str:
        return str(self.request.url.params["resourceVersion"])

    def push(self, kind: str, obj: Object) -> None:
        self.push_bytes(orjson.dumps({"type": kind, "object": obj}) + b"\n")

    def push_bytes(self, data: bytes) -> None:
        self._send.send_nowait(data)

    def end(self) -> None:
        self._send.close()

    def break_off(self) -> None:
        self._send.send_nowait(httpx.ReadError("connection reset by peer"))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for item in self._receive:
            if isinstance(item, Exception):
                raise item
            yield item

    async def aclose(self) -> None:
        self.closed.set()


@dataclass
class ScriptedServer(httpx.AsyncBaseTransport):
    """``answer`` serves everything but watches.

    ``next_watch`` hands a watch to the test, and ``refuse_watch`` may refuse it.
    """

    answer: Answer = field(default=lambda request: listing(version=1))
    refuse_watch: Callable[[httpx.Request], httpx.Response | None] = field(default=lambda request: None)
    requests: list[httpx.Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._watches, self._opened = trio.open_memory_channel[WatchConnection](math.inf)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        if request.url.params.get("watch"):
            if (refused := self.refuse_watch(request)) is not None:
                return refused
            connection = WatchConnection(request)
            self._watches.send_nowait(connection)
            return httpx.Response(200, stream=connection)
        result = self.answer(request)
        return result if isinstance(result, httpx.Response) else await result

    async def next_watch(self) -> WatchConnection:
        return await self._opened.receive()

    @property
    def bodies(self) -> list[Any]:
        return [orjson.loads(request.content) for request in self.requests if request.content]

    def client(self, *, retry: CallRetries = ONCE, **config: Any) -> AbstractAsyncContextManager[KubeClient]:
        return open_client(ClusterConfig("http://scripted", **config), transport=self, retry=retry)
