"""The node's client of an API server: a few verbs, and a list and watch that retries until cancelled.

It works with any API server. Errors are ``ApiError`` (the server refused) and ``UnreachableError`` (it did not answer);
both have a message for people.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson
import trio

from kubewire import says_not_now
from localcluster.node.http import Answer, ConnectionLostError, Http, HttpServer

if TYPE_CHECKING:
    import httpx

Object = dict[str, Any]

_REQUEST_SECONDS = 30.0
_WATCH_SECONDS = 290
_WATCH_SILENCE_SECONDS = _WATCH_SECONDS + 30.0
_RELIST_DELAYS_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
_CONNECTIONS = 64


class ApiError(Exception):
    """The server answered with a Status that reports a failure."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        return says_not_now(self.code)


class UnreachableError(Exception):
    """No answer: connection refused, broken, or timed out."""


@dataclass(frozen=True, slots=True)
class Synced:
    """All objects that exist now; an object that is not among them is gone."""

    objects: list[Object]


@dataclass(frozen=True, slots=True)
class Changed:
    """An object was added or modified."""

    object: Object


@dataclass(frozen=True, slots=True)
class Gone:
    """An object was deleted; this is its last state."""

    object: Object


Change = Synced | Changed | Gone


class ApiClient:
    """Sends requests with one identity. Created by ``open_client``."""

    def __init__(self, http: Http, token: str) -> None:
        self._http = http
        self._headers = {"accept": "application/json", "user-agent": "localcluster-node"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Object:
        return await self._request("GET", path, params=params)

    async def text(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """An answer that is not an object, such as a log."""
        return (await self._send("GET", path, params)).decode()

    async def create(self, path: str, body: Object) -> Object:
        return await self._request("POST", path, body=body)

    async def update(self, path: str, body: Object) -> Object:
        return await self._request("PUT", path, body=body)

    async def merge_patch(self, path: str, patch: Object) -> Object:
        return await self._request("PATCH", path, body=patch, content_type="application/merge-patch+json")

    async def delete(self, path: str, options: Object) -> Object:
        return await self._request("DELETE", path, body=options)

    async def follow(self, path: str, params: Mapping[str, str], deliver: Callable[[Change], None]) -> None:
        """Deliver a ``Synced`` and then every change, until cancelled; after a gap, a new ``Synced``.

        ``deliver`` must neither block nor raise, e.g. ``send_nowait`` of an unbounded channel.
        """
        failures = 0
        while True:
            try:
                listing = await self.get(path, params)
                failures = 0
                deliver(Synced(_with_type(listing)))
                version = listing["metadata"]["resourceVersion"]
                while True:
                    version = await self._watch(path, params, version, deliver)
            except (ApiError, UnreachableError):
                # The server restarts or has lost our version: list again, each time after a longer pause.
                await trio.sleep(_RELIST_DELAYS_SECONDS[min(failures, len(_RELIST_DELAYS_SECONDS) - 1)])
                failures += 1

    async def _watch(
        self, path: str, params: Mapping[str, str], version: str, deliver: Callable[[Change], None]
    ) -> str:
        """Run one watch to its regular end; returns the version from which to continue."""
        refusal: ApiError | None = None

        def take(event: Object) -> None:
            nonlocal version, refusal
            thing = event["object"]
            if event["type"] == "ERROR":
                refusal = ApiError(thing.get("code", 500), thing.get("reason", ""), thing.get("message", ""))
                return
            version = thing["metadata"]["resourceVersion"]
            if event["type"] == "DELETED":
                deliver(Gone(thing))
            elif event["type"] != "BOOKMARK":
                deliver(Changed(thing))

        query = {**params, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_SECONDS)}
        await self._read_lines(path, {**query, "resourceVersion": version}, take)
        if refusal is not None:
            raise refusal
        return version

    async def _read_lines(self, path: str, params: Mapping[str, str], take: Callable[[Object], None]) -> None:
        """Pass each line to ``take`` until the server ends the stream."""
        target = _target(path, params)
        try:
            async with self._http.exchange(
                "GET", target, self._headers, b"", silence_seconds=_WATCH_SILENCE_SECONDS
            ) as answer:
                if answer.status != 200:
                    raise _error(answer.status, await _whole(answer))
                pending = b""
                while chunk := await answer.receive():
                    *lines, pending = (pending + chunk).split(b"\n")
                    for line in filter(None, lines):
                        take(orjson.loads(line))
        except ConnectionLostError as error:
            raise UnreachableError(f"watch {path}: {error}") from error

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        content = b"" if body is None else orjson.dumps(body)
        result: Object = orjson.loads(await self._send(method, path, params, content, content_type))
        return result

    async def _send(
        self, method: str, path: str, params: Mapping[str, str] | None, content: bytes = b"", content_type: str = ""
    ) -> bytes:
        headers = {**self._headers, "content-type": content_type} if content else self._headers
        try:
            async with self._http.exchange(
                method, _target(path, params), headers, content, silence_seconds=_REQUEST_SECONDS
            ) as answer:
                received = await _whole(answer)
        except ConnectionLostError as error:
            raise UnreachableError(f"{method} {path}: {error}") from error
        if answer.status >= 400:
            raise _error(answer.status, received)
        return received


@asynccontextmanager
async def open_client(
    url: str, token: str, tls: ssl.SSLContext | None = None, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[ApiClient]:
    """A client, until the block ends. ``transport`` replaces sockets, for a server in the same process."""
    if transport is not None:
        from localcluster.transport import TransportHttp

        yield ApiClient(TransportHttp(transport, url), token)
        return
    server = HttpServer(url, tls, _CONNECTIONS)
    try:
        yield ApiClient(server, token)
    finally:
        server.close()


def namespaced(plural: str, namespace: str, name: str = "", subresource: str = "") -> str:
    """The path of a core/v1 resource in a namespace."""
    return "/".join(filter(None, (f"/api/v1/namespaces/{namespace}/{plural}", name, subresource)))


def _with_type(listing: Object) -> list[Object]:
    """The items of a list, each with the apiVersion and kind of the list; in a list they have none."""
    kind = listing["kind"].removesuffix("List")
    return [{"apiVersion": listing["apiVersion"], "kind": kind, **item} for item in listing["items"]]


def _target(path: str, params: Mapping[str, str] | None) -> str:
    return f"{path}?{urlencode(params)}" if params else path


async def _whole(answer: Answer) -> bytes:
    pieces = []
    while piece := await answer.receive():
        pieces.append(piece)
    return b"".join(pieces)


def _error(code: int, content: bytes) -> ApiError:
    try:
        status = orjson.loads(content)
        return ApiError(code, status.get("reason", ""), status.get("message", ""))
    except (orjson.JSONDecodeError, AttributeError):
        return ApiError(code, "", content[:500].decode(errors="replace") or f"status {code}")
