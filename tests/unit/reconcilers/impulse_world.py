"""An API server in memory for the reconciler of Impulses: it stores objects, and answers as far as it is asked.

It fills in UIDs and versions. Deleting with propagation Foreground leaves an object in deletion until ``ended``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import orjson

from core.api.objects import Object
from core.api.resource import DEPLOYMENT, IMPULSE, IMPULSE_POD, IMPULSE_TEMPLATE, SERVICE, STATEFUL_SET, Resource
from core.engine.clock import WallClock
from core.kube.client import KubeClient
from core.policy.settings import OperatorSettings
from kubewire import JSONPatchTestError, apply_json_patch, apply_merge_patch, copy_value, status_failure
from reconcilers.adapters.secret_check import SecretCheck
from reconcilers.adapters.world import World
from reconcilers.impulse import ImpulseReconciler
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import Outcome
from tests.unit.reconcilers.reconciler_samples import NOW, RecordedEvents, open_world, stored

NAMESPACE = "team"
KEY = Key(NAMESPACE, "hook")
WORKLOAD = "hook-webhook-impulse"
RUNNER = "hook-impulse-runner"
PORTS = {"service": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}


class StoringServer(httpx.AsyncBaseTransport):
    """Objects by plural and name, of one namespace."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.requests: list[str] = []
        self.refusals: dict[str, Object] = {}
        """``POST deployments`` → the Status to answer."""
        self._version = 5_000_000
        self._created_before: Counter[tuple[str, str]] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        parts = request.url.path.strip("/").split("/")
        parts = parts[parts.index("namespaces") + 2 :] if "namespaces" in parts else parts[-2:]
        plural, name = parts[0], "/".join(parts[1:2])
        call = f"{request.method} {'/'.join([plural, *parts[2:]])}"
        self.requests.append(call)
        if call in self.refusals:
            status = self.refusals[call]
            return httpx.Response(status["code"], content=orjson.dumps(status))
        body = orjson.loads(request.content) if request.content else {}
        match request.method:
            case "GET":
                return self._answer(plural, name)
            case "POST":
                return self._created(plural, body)
            case "PATCH":
                return self._patched(plural, name, body)
            case _:
                return self._deleted(plural, name, body)

    def put(self, plural: str, obj: Object) -> Object:
        self._version += 1
        metadata = {"uid": f"uid-{plural}-{obj['metadata']['name']}", **obj["metadata"]}
        metadata["resourceVersion"] = str(self._version)
        self.objects[plural, metadata["name"]] = {**obj, "metadata": metadata}
        return self.objects[plural, metadata["name"]]

    def ended(self, plural: str, name: str) -> Object:
        """An object in deletion is gone at last; returns it."""
        return self.objects.pop((plural, name))

    @property
    def writes(self) -> list[str]:
        return [request for request in self.requests if not request.startswith("GET")]

    def _answer(self, plural: str, name: str) -> httpx.Response:
        found = self.objects.get((plural, name))
        return self._missing(plural, name) if found is None else httpx.Response(200, content=orjson.dumps(found))

    def _created(self, plural: str, body: Object) -> httpx.Response:
        name = body["metadata"]["name"]
        if (plural, name) in self.objects:
            status = status_failure("AlreadyExists", f"{plural} {name} exists", code=409)
            return httpx.Response(409, content=orjson.dumps(status))
        number = self._created_before[plural, name]
        self._created_before[plural, name] += 1
        metadata = {**body["metadata"], "uid": f"uid-{plural}-{name}{f'-{number}' if number else ''}"}
        return httpx.Response(201, content=orjson.dumps(self.put(plural, {**body, "metadata": metadata})))

    def _patched(self, plural: str, name: str, body: Any) -> httpx.Response:
        if (plural, name) not in self.objects:
            return self._missing(plural, name)
        have: Object = copy_value(self.objects[plural, name])
        try:
            changed = apply_json_patch(have, body) if isinstance(body, list) else apply_merge_patch(have, body)
        except JSONPatchTestError as error:
            return self._refused("Invalid", str(error), 422)
        if changed["metadata"]["resourceVersion"] != have["metadata"]["resourceVersion"]:
            return self._refused("Conflict", f"{plural} {name} has been modified", 409)
        return httpx.Response(200, content=orjson.dumps(self.put(plural, changed)))

    def _deleted(self, plural: str, name: str, body: Object) -> httpx.Response:
        if (plural, name) not in self.objects:
            return self._missing(plural, name)
        found = self.objects[plural, name]
        if body.get("propagationPolicy") == "Foreground":
            metadata = {**found["metadata"], "deletionTimestamp": "2025-01-02T03:04:05Z"}
            self.put(plural, {**found, "metadata": metadata})
        else:
            del self.objects[plural, name]
        return httpx.Response(200, content=orjson.dumps({"kind": "Status", "status": "Success"}))

    @staticmethod
    def _refused(reason: str, message: str, code: int) -> httpx.Response:
        return httpx.Response(code, content=orjson.dumps(status_failure(reason, message, code=code)))

    def _missing(self, plural: str, name: str) -> httpx.Response:
        status = status_failure("NotFound", f"{plural} {name} not found", code=404, details={"name": name})
        return httpx.Response(404, content=orjson.dumps(status))


_INFORMED = {
    "impulses": IMPULSE,
    "impulsetemplates": IMPULSE_TEMPLATE,
    "deployments": DEPLOYMENT,
    "statefulsets": STATEFUL_SET,
    "services": SERVICE,
    "pods": IMPULSE_POD,
}


@dataclass
class ImpulseStage:
    """One Impulse ``hook`` with its surroundings; the reconciler is that of one process."""

    server: StoringServer
    client: KubeClient
    world: World
    events: RecordedEvents = field(default_factory=RecordedEvents)
    settings: OperatorSettings = field(default_factory=OperatorSettings)
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Go on in another process, which remembers nothing."""
        secrets = SecretCheck(self.client, "operator", lambda: self.settings)
        self.reconciler = ImpulseReconciler(
            self.client, self.world, self.events, WallClock(lambda: self.now), lambda: self.settings, secrets
        )

    async def reconcile(self) -> Outcome:
        return await self.reconciler.reconcile(KEY)

    # What there is.

    def definitions(self, *, template: Object | None = None, **spec: Any) -> None:
        """Template, Story and Impulse."""
        given = {"image": "img", "version": "1", "supportedModes": ["deployment"], **(template or {})}
        self.know("impulsetemplates", stored("ImpulseTemplate", "webhook", namespace="", spec=given))
        self.world.stories.remember(stored("Story", "report", spec={"steps": []}))
        self.impulse(**spec)

    def impulse(self, **spec: Any) -> Object:
        given = {"templateRef": {"name": "webhook"}, "storyRef": {"name": "report"}, **spec}
        return self.know("impulses", stored("Impulse", "hook", spec=given))

    def know(self, plural: str, obj: Object) -> Object:
        """Store an object, and let this process know it."""
        kept = self.server.put(plural, obj)
        self.world.informer(_INFORMED[plural]).remember(kept)
        return kept

    def change(self, plural: str, name: str, **fields: Any) -> Object:
        """Change what is stored, as somebody else, and let this process know it; ``spec`` is merged."""
        have = self.server.objects[plural, name]
        return self.know(plural, apply_merge_patch(have, fields))

    def hear_everything(self) -> None:
        """The watches deliver all events that are still on their way."""
        for plural, resource in _INFORMED.items():
            informer = self.world.informer(resource)
            for known in list(informer.each()):
                metadata = known["metadata"]
                if (plural, metadata["name"]) not in self.server.objects:
                    informer.forget(metadata.get("namespace"), metadata["name"], metadata["uid"])
            for (stored_plural, _), obj in self.server.objects.items():
                if stored_plural == plural:
                    informer.remember(obj)

    def hear_end(self, plural: str, name: str) -> None:
        """The object is gone, with its Pods, and this process knows it."""
        gone = self.server.ended(plural, name)
        self.world.informer(_INFORMED[plural]).forget(NAMESPACE, name, gone["metadata"]["uid"])

    def running(self, *, replicas: int = 1, ready: int = 1, plural: str = "deployments") -> None:
        """The workload reports these Pods."""
        self.change(plural, WORKLOAD, status={"replicas": replicas, "readyReplicas": ready})

    # What is reported.

    @property
    def status(self) -> Object:
        known = self.world.informer(IMPULSE).get(NAMESPACE, "hook") or {}
        status: Object = known.get("status") or {}
        return status

    @property
    def ready(self) -> Object:
        [condition] = self.status["conditions"]
        found: Object = condition
        return found

    def stored_object(self, resource: Resource, name: str) -> Object | None:
        return self.server.objects.get((resource.plural, name))


@asynccontextmanager
async def open_stage(given: StoringServer | None = None) -> AsyncIterator[ImpulseStage]:
    server = given or StoringServer()
    async with open_world(server) as (client, world):
        yield ImpulseStage(server, client, world)
