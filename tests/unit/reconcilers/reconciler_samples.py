"""Stored objects, informers without a server, and a supervisor that records which runs were woken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson

from core.api.objects import NamespacedName, Object
from core.engine.clock import WallClock
from core.engine.engine_context import EngineContext
from core.engine.ports import EventType
from core.engine.run.supervisor import Supervisor
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from kubewire import apply_merge_patch, status_failure
from reconcilers.adapters.world import World
from reconcilers.controllers import watched_kinds

NOW = datetime(2025, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)
_version = iter(range(1, 1_000_000))


def stored(kind: str, name: str, *, namespace: str = "team", owner: Object | None = None, **fields: Any) -> Object:
    """An object as the API server gives it; ``meta`` adds to its metadata."""
    metadata: Object = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{kind}-{name}",
        "resourceVersion": str(next(_version)),
        "creationTimestamp": "2025-01-02T03:00:00Z",
        "generation": 1,
        **fields.pop("meta", {}),
    }
    if not namespace:
        del metadata["namespace"]
    if owner is not None:
        metadata["ownerReferences"] = [controlled(owner)]
    return {"apiVersion": "tests/v1", "kind": kind, "metadata": metadata, **fields}


def controlled(owner: Object) -> Object:
    metadata = owner["metadata"]
    return {"kind": owner["kind"], "name": metadata["name"], "uid": metadata["uid"], "controller": True}


def story(name: str = "report", *steps: Object, **spec: Any) -> Object:
    return stored("Story", name, spec={"steps": list(steps), **spec})


def run(name: str = "one", story_name: str = "report", **fields: Any) -> Object:
    return stored("StoryRun", name, spec={"storyRef": {"name": story_name}}, **fields)


def step_run(owner: Object, step: str = "fetch", **fields: Any) -> Object:
    name = f"{owner['metadata']['name']}-{step}"
    spec = {"stepId": step, "storyRunRef": {"name": owner["metadata"]["name"]}, "engramRef": {"name": "http"}}
    return stored("StepRun", name, owner=owner, spec=spec, **fields)


def job(owner: Object, **fields: Any) -> Object:
    labels = {"app.kubernetes.io/name": "bobrapet", "app.kubernetes.io/component": "engram"}
    return stored("Job", owner["metadata"]["name"], owner=owner, meta={"labels": labels}, **fields)


def pod(owner: Object, name: str = "pod-1", **fields: Any) -> Object:
    return stored("Pod", name, owner=owner, **fields)


class NoServer(httpx.AsyncBaseTransport):
    """A transport that refuses every request: a test that sends one is wrong."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"nothing may be sent: {request.method} {request.url}")


@asynccontextmanager
async def open_world(transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[tuple[KubeClient, World]]:
    """Informers that do not run. Fill them with ``remember``."""
    async with open_client(ClusterConfig("http://nowhere"), transport=transport or NoServer()) as client:
        yield client, World.watching(client, watched_kinds())


class RecordedEvents:
    """The ``EventSink`` port in memory."""

    def __init__(self) -> None:
        self.emitted: list[tuple[str, str, str]] = []

    def emit(self, regarding: Object, type_: EventType, reason: str, message: str) -> None:
        self.emitted.append((regarding["metadata"]["name"], str(type_), reason))


class RecordingSupervisor(Supervisor):
    """Records the calls and does nothing else."""

    def __init__(self, engine: EngineContext | None = None) -> None:
        self.adopted: list[NamespacedName] = []
        self.woken: list[tuple[str, str | None]] = []

    def adopt(self, key: NamespacedName) -> None:
        self.adopted.append(key)

    def wake(self, key: NamespacedName, step: str | None = None) -> None:
        self.woken.append((str(key), step))


def clock(now: datetime = NOW) -> WallClock:
    return WallClock(lambda: now)


class Answering(httpx.AsyncBaseTransport):
    """A server that holds one object and applies merge patches to it. Others, by name, can be read, and no more."""

    def __init__(self, obj: Object, **others: Object) -> None:
        self.obj = obj
        self.others = others
        self.patches: list[Object] = []
        self.reads: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        if request.method == "GET":
            return self._read(request.url.path)
        assert request.method == "PATCH", f"nothing but patches is expected: {request.method} {request.url}"
        patch = orjson.loads(request.content)
        precondition = patch["metadata"]
        metadata = self.obj["metadata"]
        assert (precondition["uid"], precondition["resourceVersion"]) == (metadata["uid"], metadata["resourceVersion"])
        self.patches.append(patch)
        merged = apply_merge_patch(self.obj, patch)
        merged["metadata"]["resourceVersion"] = str(next(_version) + 1_000_000)
        self.obj = merged
        return httpx.Response(200, content=orjson.dumps(merged))

    def _read(self, path: str) -> httpx.Response:
        self.reads.append(path)
        name = path.rpartition("/")[2]
        if name in self.others:
            return httpx.Response(200, content=orjson.dumps(self.others[name]))
        missing = status_failure("NotFound", f"{name} not found", code=404, details={"name": name})
        return httpx.Response(404, content=orjson.dumps(missing))
