"""A request as the API server understands it: verb, resource, namespace, name, subresource, and body.

Pure, except that it reads the body. Source: apiserver's RequestInfo.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from localcluster.server import errors

MAX_BODY_BYTES: Final = 3 << 20
_DRAINED_BYTES: Final = 16 << 20
"""How much of a too large body is read and dropped: a client that is still sending would not see the refusal."""
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_VERB_OF_METHOD: Final = {
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
    "GET": "get",
    "HEAD": "get",
}
_NAMESPACE_SUBRESOURCES: Final = frozenset({"status", "finalize"})


@dataclass(frozen=True)
class Route:
    """The target of a path below ``/api`` or ``/apis``; all fields are empty if the path is not a resource."""

    group: str = ""
    version: str = ""
    namespace: str | None = None
    plural: str = ""
    name: str = ""
    subresource: str = ""
    rest: tuple[str, ...] = ()
    """Path segments after the subresource."""

    @property
    def is_resource(self) -> bool:
        return bool(self.plural)


@dataclass(frozen=True)
class Request:
    """One HTTP request with its route and verb; ``warnings`` collects the warnings for the response."""

    method: str
    path: str
    query: Mapping[str, str]
    queries: tuple[tuple[str, str], ...]
    """All query parameters, including repeated ones."""
    headers: Mapping[str, str]
    route: Route
    verb: str
    receive: Receive
    warnings: list[str] = field(default_factory=list)
    tls_peer: Mapping[str, Any] | None = None
    client_host: str = ""

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> Request:
        """Read an ASGI ``http`` scope."""
        queries = tuple(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
        query = dict(reversed(queries))
        path = scope["path"]
        route = parse_route(path)
        client = scope.get("client") or ("", 0)
        return cls(
            method=scope["method"],
            path=path,
            query=query,
            queries=queries,
            headers=_headers(scope["headers"]),
            route=route,
            verb=verb_of(scope["method"], route, query),
            receive=receive,
            tls_peer=(scope.get("extensions") or {}).get("tls"),
            client_host=str(client[0]),
        )

    def warn(self, text: str) -> None:
        """Add a ``Warning`` header to the response."""
        if text not in self.warnings:
            self.warnings.append(text)

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            StatusError: 413, it is larger than ``MAX_BODY_BYTES``.
            ClientGoneError: the client left before it was complete.
        """
        length = self.headers.get("content-length", "")
        if length.isdigit() and int(length) > _DRAINED_BYTES:
            raise errors.too_large_entity(MAX_BODY_BYTES)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= MAX_BODY_BYTES:
                chunks.append(chunk)
            elif size > _DRAINED_BYTES or not message.get("more_body"):
                raise errors.too_large_entity(MAX_BODY_BYTES)
            if not message.get("more_body"):
                return b"".join(chunks) if len(chunks) > 1 else chunk

    async def wait_until_gone(self) -> None:
        """Return when the client has left."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


class ClientGoneError(Exception):
    """The client closed its connection, so no answer is sent."""


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header values by lower-case name; repeated ones are joined by a newline, which no value can contain."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}\n{text}" if key in headers else text
    return headers


def parse_route(path: str) -> Route:
    """The route of a URL path; resource fields stay empty if the path names no resource."""
    parts = [part for part in path.split("/") if part]
    if not parts:
        return Route()
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Route()
    namespace: str | None = None
    if rest[0] == "namespaces" and len(rest) > 2 and not (group == "" and rest[2] in _NAMESPACE_SUBRESOURCES):
        namespace, rest = rest[1], rest[2:]
    names = [*rest, "", "", ""]
    return Route(group, version, namespace, names[0], names[1], names[2], tuple(rest[3:]))


def verb_of(method: str, route: Route, query: Mapping[str, str]) -> str:
    """The API verb; the URL distinguishes ``list``, ``watch`` and ``deletecollection`` from ``get`` and ``delete``."""
    if not route.is_resource:
        return method.lower()
    verb = _VERB_OF_METHOD.get(method, method.lower())
    if verb == "get" and not route.name:
        return "watch" if query.get("watch") in ("1", "true", "True") else "list"
    if verb == "delete" and not route.name:
        return "deletecollection"
    return verb
