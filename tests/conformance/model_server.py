"""The fuzz suite's model of an API server behind HTTP, in this process, so that the rules of real servers apply to it.

It serves only what the model has: three kinds, merge patches, preconditions, finalizers, owners, lists, watches. This
module makes the messages and codes of HTTP. ``fuzz.engine.cluster`` decides what is written, when a write is refused,
and what a watch reports.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio

from core.api.objects import Object
from fuzz.engine.cluster import Cluster, Place, RefusedError, Write
from localcluster.clock import utc_now
from tests.conformance.conformance_api import MERGE_PATCH, ServerUnderTest
from tests.conformance.conformance_kinds import GROUP

ADMINISTRATOR = "administrator"

_KINDS = {
    "configmaps": ("ConfigMap", "v1", ""),
    "secrets": ("Secret", "v1", ""),
    "widgets": ("Widget", f"{GROUP}/v1", GROUP),
}
"""For each plural: kind, apiVersion, group."""
_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"

Params = httpx.QueryParams


class ModelUnderTest(ServerUnderTest):
    """Reached without a network."""

    model: ModelServer

    @classmethod
    def serving(cls, gaps: frozenset[str]) -> ModelUnderTest:
        model = ModelServer(Cluster(utc_now))
        found = cls("http://model", "", "token", gaps, model.cluster.forget_history, None)  # type: ignore[arg-type]  # no TLS, as there is no network
        object.__setattr__(found, "model", model)
        return found

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, transport=AsyncTransport(self.model), timeout=30)

    def blocking_client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, transport=BlockingTransport(self.model))


class NotModelledError(Exception):
    """The model does not support this. ``model_gaps`` must name a test that needs it."""


@dataclass(frozen=True)
class _Target:
    """The resource and object of a URL."""

    plural: str
    namespace: str
    name: str
    subresource: str

    @property
    def kind(self) -> str:
        return _KINDS[self.plural][0]

    @property
    def place(self) -> Place:
        return self.kind, self.namespace, self.name

    @property
    def words(self) -> str:
        """The resource, as error messages name it."""
        group = _KINDS[self.plural][2]
        return f"{self.plural}.{group}" if group else self.plural

    def details(self) -> Object:
        group = _KINDS[self.plural][2]
        return {"name": self.name, **({"group": group} if group else {}), "kind": self.plural}


@dataclass
class ModelServer:
    cluster: Cluster
    _names: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def answer(self, request: httpx.Request) -> httpx.Response | Watch:
        """Answer a request, without waiting for the events of a watch."""
        target = _target(request.url.path)
        if target is None:  # a namespace is only a name
            return _json(201 if request.method == "POST" else 200, json.loads(request.content or b"{}"))
        try:
            found = self._do(request, target, request.url.params)
        except RefusedError as refused:
            return _refusal(refused, target)
        finally:
            self.cluster.collect_garbage()
        return found

    def _do(self, request: httpx.Request, target: _Target, params: Params) -> httpx.Response | Watch:
        body: Any = json.loads(request.content) if request.content else None
        match request.method:
            case "POST":
                return self._create(target, body)
            case "GET" if target.name:
                return _json(200, self._stored(target))
            case "GET" if params.get("watch") == "true":
                return self._watch(target, params)
            case "GET":
                return self._list(target, params)
            case "PUT":
                return _json(200, self._update(target, body))
            case "PATCH":
                if request.headers["content-type"] != MERGE_PATCH:
                    raise NotModelledError(request.headers["content-type"])
                return _json(200, self._patch(target, body))
            case "DELETE" if target.name:
                return self._delete(target, body or {}, params)
            case "DELETE":
                for place in [*self._selected(target, params, self.cluster.objects)]:
                    self.cluster.delete(ADMINISTRATOR, place)
                return _json(200, {"kind": "Status", "status": "Success"})
        raise NotModelledError(request.method)

    def _create(self, target: _Target, body: Object) -> httpx.Response:
        metadata = body["metadata"]
        if metadata.get("resourceVersion"):
            raise RefusedError(500, "", "resourceVersion should not be set on objects to be created")
        kind, api_version, _ = _KINDS[target.plural]
        named = {"namespace": target.namespace, **metadata}
        created = self.cluster.create(
            ADMINISTRATOR, {"apiVersion": api_version, "kind": kind, **body, "metadata": named}
        )
        if created is not None:
            return _json(201, created)
        target = _Target(target.plural, target.namespace, metadata["name"], "")
        text = f'{target.words} "{target.name}" already exists'
        if self.cluster.objects[target.place]["metadata"].get("deletionTimestamp"):
            text = f"object is being deleted: {text}"
        return _refusal(RefusedError(409, "AlreadyExists", text), target)

    def _stored(self, target: _Target) -> Object:
        found = self.cluster.get(*target.place)
        if found is None:
            raise RefusedError(404, "NotFound", f'{target.words} "{target.name}" not found')
        return found

    def _update(self, target: _Target, body: Object) -> Object:
        stored = self._stored(target)
        metadata = body["metadata"]
        if metadata.get("name") != target.name:
            words = (
                f"the name of the object ({metadata.get('name')}) does not match the name on the URL ({target.name})"
            )
            raise RefusedError(400, "BadRequest", words)
        version, uid = metadata.get("resourceVersion"), metadata.get("uid")
        if not version and _KINDS[target.plural][2]:
            text = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
            raise RefusedError(422, "Invalid", text, ("FieldValueInvalid", "metadata.resourceVersion"))
        if uid and uid != stored["metadata"]["uid"]:
            text = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {stored['metadata']['uid']}"
            raise RefusedError(409, "Conflict", text)
        self._check_version(target, stored, version)
        return self.cluster.update(ADMINISTRATOR, target.place, body, target.subresource)

    def _patch(self, target: _Target, body: Any) -> Object:
        if not isinstance(body, dict):
            raise RefusedError(400, "BadRequest", "a merge patch must be an object")
        stored = self._stored(target)
        self._check_name(target, body.get("metadata", {}).get("name", target.name))
        self._check_version(target, stored, body.get("metadata", {}).get("resourceVersion"))
        return self.cluster.merge(ADMINISTRATOR, target.place, body, target.subresource)

    @staticmethod
    def _check_name(target: _Target, name: str) -> None:
        if name != target.name:
            words = f"the name of the object ({name}) does not match the name on the URL ({target.name})"
            raise RefusedError(400, "BadRequest", words)

    @staticmethod
    def _check_version(target: _Target, stored: Object, version: str | None) -> None:
        if version and version != stored["metadata"]["resourceVersion"]:
            text = f'Operation cannot be fulfilled on {target.words} "{target.name}": {_MODIFIED}'
            raise RefusedError(409, "Conflict", text)

    def _delete(self, target: _Target, options: Object, params: Params) -> httpx.Response:
        policy = options.get("propagationPolicy") or params.get("propagationPolicy") or "Background"
        if policy != "Background":
            raise NotModelledError(policy)
        stored = self._stored(target)
        metadata = stored["metadata"]
        wanted = options.get("preconditions") or {}
        for field_, word in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            if wanted.get(field_) not in (None, metadata[field_]):
                text = (
                    f"Precondition failed: the {word} in the precondition ({wanted[field_]}) does not match the {word} "
                    f"in record ({metadata[field_]}). The object might have been deleted and then recreated"
                )
                raise RefusedError(409, "Conflict", text)
        left = self.cluster.delete(ADMINISTRATOR, target.place)
        if left is not None:
            return _json(200, left)
        details = {**target.details(), "uid": metadata["uid"]}
        return _json(200, _status("Success", details=details))

    def _list(self, target: _Target, params: Params) -> httpx.Response:
        token = _read_token(params.get("continue"))
        exact = params.get("resourceVersion") if params.get("resourceVersionMatch") == "Exact" else None
        number = int(token["rv"] if token else exact or self.cluster.newest)
        objects = self.cluster.state_at(target.kind, number)
        chosen = {place: objects[place] for place in self._selected(target, params, objects)}
        names = [place for place in sorted(chosen) if not token or place[2] > token["after"]]
        limit = int(params.get("limit") or len(names))
        metadata: Object = {"resourceVersion": str(number)}
        if len(names) > limit:
            metadata["continue"] = _token({"rv": number, "after": names[limit - 1][2]})
            if not params.get("labelSelector"):
                metadata["remainingItemCount"] = len(names) - limit
        kind, api_version, _ = _KINDS[target.plural]
        items = [chosen[place] for place in names[:limit]]
        return _json(200, {"kind": f"{kind}List", "apiVersion": api_version, "metadata": metadata, "items": items})

    def _selected(self, target: _Target, params: Params, objects: dict[Place, Object]) -> Iterator[Place]:
        for place, obj in list(objects.items()):
            if place[0] == target.kind and target.namespace in ("", place[1]) and _matches(obj, params):
                yield place

    def _watch(self, target: _Target, params: Params) -> Watch:
        since = params.get("resourceVersion") or ""
        if since in ("", "0"):
            since = str(self.cluster.newest)
            first = [self.cluster.objects[place] for place in self._selected(target, params, self.cluster.objects)]
        else:
            first = []
        watch = Watch(self.cluster, target, params, [_event("ADDED", obj) for obj in first])
        for write in self.cluster.writes_since(target.kind, int(since)):
            watch.see(write)
        return watch


@dataclass
class Watch:
    """An open watch: the events that it has sent, and those to come."""

    cluster: Cluster
    target: _Target
    params: Params
    told: list[bytes]
    wake: Callable[[], None] = lambda: None

    def see(self, write: Write) -> None:
        if write.place[0] != self.target.kind or self.target.namespace not in ("", write.place[1]):
            return
        was = write.old is not None and _matches(write.old, self.params)
        now = write.new is not None and _matches(write.new, self.params)
        if now:
            assert write.new is not None
            self.told.append(_event("MODIFIED" if was else "ADDED", write.new))
        elif was:
            assert write.old is not None
            last = write.old | {"metadata": write.old["metadata"] | {"resourceVersion": str(write.number)}}
            self.told.append(_event("DELETED", last))
        self.wake()


@dataclass
class AsyncTransport(httpx.AsyncBaseTransport):
    server: ModelServer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        found = self.server.answer(request)
        if isinstance(found, httpx.Response):
            return found
        self.server.cluster.listeners.append(found.see)
        return httpx.Response(200, headers={"content-type": "application/json"}, stream=_Following(found))


@dataclass
class BlockingTransport(httpx.BaseTransport):
    """A transport in which a watch sends the present events and ends."""

    server: ModelServer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        found = self.server.answer(request)
        if isinstance(found, httpx.Response):
            return found
        return httpx.Response(200, content=b"".join(found.told))


@dataclass
class _Following(httpx.AsyncByteStream):
    watch: Watch

    async def __aiter__(self) -> AsyncIterator[bytes]:
        send, receive = trio.open_memory_channel[None](1)
        self.watch.wake = lambda: _ring(send)
        seconds = float(self.watch.params.get("timeoutSeconds") or "inf")
        deadline = trio.current_time() + seconds
        while True:
            while self.watch.told:
                yield self.watch.told.pop(0)
            with trio.move_on_at(deadline) as scope:
                await receive.receive()
            if scope.cancelled_caught:
                return

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.watch.cluster.listeners.remove(self.watch.see)


def _ring(send: trio.MemorySendChannel[None]) -> None:
    with contextlib.suppress(trio.WouldBlock):
        send.send_nowait(None)


def _target(path: str) -> _Target | None:
    """The target of a path. None for namespaces themselves."""
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["apis"] and parts[1:3] != [GROUP, "v1"]:
        raise NotModelledError(path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    elif rest[0] == "namespaces":
        return None
    plural, name, subresource = (*rest, "", "")[:3]
    if plural not in _KINDS or subresource not in ("", "status"):
        raise NotModelledError(path)
    return _Target(plural, namespace, name, subresource)


def _matches(obj: Object, params: Params) -> bool:
    labels = obj["metadata"].get("labels") or {}
    for term in filter(None, (params.get("labelSelector") or "").split(",")):
        key, equals, value = term.partition("=")
        if (key.startswith("!") and key[1:] in labels) or (equals and labels.get(key) != value):
            return False
        if not equals and not key.startswith("!") and key not in labels:
            return False
    for term in filter(None, (params.get("fieldSelector") or "").split(",")):
        path, _, value = term.partition("=")
        found: Any = obj
        for part in path.split("."):
            found = (found or {}).get(part)
        if found != value:
            return False
    return True


def _event(type_: str, obj: Object) -> bytes:
    return json.dumps({"type": type_, "object": obj}).encode() + b"\n"


def _token(content: Object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _read_token(token: str | None) -> Object | None:
    if not token:
        return None
    try:
        found: Object = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return {"rv": found["rv"], "after": found["after"]}
    except (ValueError, KeyError):
        raise RefusedError(400, "BadRequest", "continue key is not valid") from None


def _json(code: int, body: Object) -> httpx.Response:
    return httpx.Response(code, json=body)


def _refusal(refused: RefusedError, target: _Target) -> httpx.Response:
    details = target.details()
    if refused.cause:
        reason, field_ = refused.cause
        details["causes"] = [{"reason": reason, "field": field_}]
    return _json(refused.code, _status("Failure", str(refused), refused.reason, details, refused.code))


def _status(
    status: str, message: str = "", reason: str = "", details: Object | None = None, code: int | None = None
) -> Object:
    body: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": status, "message": message}
    body |= {"reason": reason, "details": details, "code": code}
    return {key: value for key, value in body.items() if value not in ("", None)}
