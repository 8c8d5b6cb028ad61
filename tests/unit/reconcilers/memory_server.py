"""An API server in memory: stores what it gets, checks preconditions, and can fail at a chosen request."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson

from core.api.objects import Object
from core.api.resource import Resource
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from core.kube.retry import ONCE
from kubewire import apply_merge_patch, status_failure
from reconcilers.adapters.world import World
from reconcilers.controllers import watched_kinds

Request = tuple[str, str]
"""Method and plural, with the subresource: ``("PATCH", "storytriggers/status")``."""
CREATED = "2025-01-02T03:04:05Z"


class MemoryServer(httpx.AsyncBaseTransport):
    """``before`` and ``after`` are called around each request; an answer of ``before`` replaces that of the server."""

    def __init__(self, resources: Sequence[Resource], *objects: Object) -> None:
        self._resources = {resource.kind: resource for resource in resources}
        self._plurals = {resource.plural: resource for resource in resources}
        self._numbers = itertools.count(1_000)
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.requests: list[Request] = []
        self.before: Callable[[Request], Awaitable[httpx.Response | None]] | None = None
        self.after: Callable[[Request], None] | None = None
        for obj in objects:
            self.put(obj)

    def put(self, obj: Object) -> Object:
        """Store an object, as another client does."""
        metadata = {
            "generation": 1,
            "creationTimestamp": CREATED,
            **obj["metadata"],
            "resourceVersion": str(next(self._numbers)),
        }
        stored = {**obj, "metadata": {**metadata, "uid": metadata.get("uid") or f"uid-{next(self._numbers)}"}}
        self.objects[self._key(stored)] = stored
        return stored

    def change(self, obj: Object, **fields: Any) -> Object:
        """Store another version of an object; ``meta`` adds to its metadata."""
        metadata = {**obj["metadata"], **fields.pop("meta", {}), "resourceVersion": str(next(self._numbers))}
        return self.put({**obj, **fields, "metadata": metadata})

    def remove(self, obj: Object) -> None:
        del self.objects[self._key(obj)]

    def all(self, resource: Resource) -> list[Object]:
        return [obj for (plural, _, _), obj in self.objects.items() if plural == resource.plural]

    @property
    def writes(self) -> list[Request]:
        return [request for request in self.requests if request[0] != "GET"]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        parts = request.url.path.strip("/").split("/")
        namespace, plural, *rest = parts[parts.index("namespaces") + 1 :]
        name, sub = (rest[0] if rest else ""), "/".join(rest[1:])
        what = (request.method, f"{plural}/{sub}" if sub else plural)
        self.requests.append(what)
        if self.before is not None and (answer := await self.before(what)) is not None:
            return answer
        body = orjson.loads(request.content) if request.content else {}
        code, result = self._answer(request.method, (plural, namespace, name), body)
        if self.after is not None:
            self.after(what)
        return httpx.Response(code, content=orjson.dumps(result))

    def _answer(self, method: str, key: tuple[str, str, str], body: Object) -> tuple[int, Object]:
        if method == "POST":
            key = (key[0], key[1], body["metadata"]["name"])
            if key in self.objects:
                return refused("AlreadyExists", f"{key} exists", name=key[2])
            created = {"creationTimestamp": CREATED, **body["metadata"]}
            return 201, self.put({**body, "metadata": created})
        stored = self.objects.get(key)
        if stored is None:
            return refused("NotFound", f"{key} not found", name=key[2])
        if method == "GET":
            return 200, stored
        wanted = body.get("preconditions") or {} if method == "DELETE" else body["metadata"]
        if any(wanted.get(field, value) != value for field, value in _identity(stored).items()):
            return refused("Conflict", f"{key} has changed", name=key[2])
        if method == "DELETE" and not stored["metadata"].get("finalizers"):
            del self.objects[key]
            return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        if method == "DELETE":
            body = {"metadata": {"deletionTimestamp": "2026-03-01T12:00:00Z", "deletionGracePeriodSeconds": 0}}
        merged = apply_merge_patch(stored, body)
        merged["metadata"]["resourceVersion"] = str(next(self._numbers))
        self.objects[key] = merged
        return 200, merged

    def _key(self, obj: Object) -> tuple[str, str, str]:
        metadata = obj["metadata"]
        return self._resources[obj["kind"]].plural, metadata["namespace"], metadata["name"]


def refused(reason: str, message: str, *, name: str = "x", fields: Sequence[str] = ()) -> tuple[int, Object]:
    """Code and body of a refusal; ``fields`` are the causes."""
    details: Object = {"name": name}
    if fields:
        details["causes"] = [{"reason": "FieldValueInvalid", "message": "no", "field": field} for field in fields]
    status = status_failure(reason, message, details=details)
    return int(status["code"]), status


@asynccontextmanager
async def open_process(server: MemoryServer) -> AsyncIterator[tuple[KubeClient, World]]:
    """A client without retries, and informers that have just listed everything and hear nothing more."""
    async with open_client(ClusterConfig("http://nowhere"), transport=server, retry=ONCE) as client:
        world = World.watching(client, watched_kinds())
        for (plural, _, _), obj in server.objects.items():
            next(informer for informer in world if informer.resource.plural == plural).remember(obj)
        yield client, world


def _identity(obj: Object) -> Object:
    return {field: obj["metadata"][field] for field in ("uid", "resourceVersion")}
