"""An in-memory API server with one Secret and two targets. A test may interleave, kill or look at every request."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import trio
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from certs.authority import Lifetimes
from certs.inject import MUTATING, VALIDATING, Target
from certs.policy import CertRules
from certs.rotation import CertificateKeeper, RotationPace
from certs.serving import ServingContext
from core.engine.clock import WallClock
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from core.kube.retry import ONCE
from kubewire import Object, status_failure

START = datetime(2026, 1, 1, tzinfo=UTC)
HOST = "gate.system.svc"
LIFETIMES = Lifetimes()
RULES = CertRules((HOST,), LIFETIMES)
TARGETS = (Target(MUTATING, "m"), Target(VALIDATING, "v"))
EAGER = RotationPace(reactions_per_minute=1000)


class ApiModel(httpx.AsyncBaseTransport):
    """``before`` and ``after`` are awaited around each request. They get its method and its last path segment."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.version = 0
        self.requests: list[str] = []
        self.before: Callable[[str], Awaitable[None]] = _pass_by
        self.after: Callable[[str], Awaitable[None]] = _pass_by
        for name, hooks in (("m", 1), ("v", 2)):
            self.put(name, {"metadata": {"name": name}, "webhooks": [{"clientConfig": {"url": "x"}}] * hooks})

    def put(self, name: str, obj: Object) -> Object:
        self.version += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self.version)}
        self.objects[name] = orjson.loads(orjson.dumps({**obj, "metadata": metadata}))
        return self.objects[name]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rsplit("/", 1)[-1]
        label = f"{request.method} {name}"
        self.requests.append(label)
        await self.before(label)
        answer = self._answer(request, name)
        await self.after(label)
        return answer

    def _answer(self, request: httpx.Request, name: str) -> httpx.Response:
        if name == "version":
            return _ok({})
        sent: Any = orjson.loads(request.content) if request.content else None
        if request.method == "POST":
            name = sent["metadata"]["name"]
            return _refusal("AlreadyExists", name) if name in self.objects else _ok(self.put(name, sent))
        found = self.objects.get(name)
        if found is None:
            return _refusal("NotFound", name)
        if request.method == "PUT":
            if sent["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
                return _refusal("Conflict", name)
            return _ok(self.put(name, sent))
        if request.method == "PATCH":
            test, *changes = sent
            if test["value"] != found["metadata"]["resourceVersion"]:
                return _refusal("Invalid")
            changed = orjson.loads(orjson.dumps(found))
            for change in changes:
                index = int(change["path"].split("/")[2])
                changed["webhooks"][index]["clientConfig"]["caBundle"] = change["value"]
            return _ok(self.put(name, changed))
        return _ok(found)

    def bundles(self) -> list[bytes]:
        """The CA bundle of every hook."""
        hooks = [hook for target in TARGETS for hook in self.objects[target.name]["webhooks"]]
        return [base64.b64decode(hook["clientConfig"].get("caBundle", "")) for hook in hooks]


class Process:
    """One replica without sockets. ``shown`` is the certificate that it would present in a handshake."""

    def __init__(self, client: KubeClient, now: Callable[[], datetime], rules: CertRules = RULES) -> None:
        self.told: list[str] = []
        self.serving = ServingContext()
        self.keeper = CertificateKeeper(
            client,
            self.serving,
            namespace="system",
            rules=rules,
            clock=WallClock(now),
            events=self,
            secret="pair",
            targets=TARGETS,
            pace=EAGER,
        )

    def record(self, regarding: Object, type_: str, reason: str, message: str) -> None:
        self.told.append(f"{type_} {reason} {message}")

    @property
    def shown(self) -> x509.Certificate | None:
        served = self.keeper._served
        return None if served is None else served.leaf.certificate


class ModelWorld:
    def __init__(self, api: ApiModel, client: KubeClient) -> None:
        self.api = api
        self.client = client
        self.now = START

    def process(self, rules: CertRules = RULES) -> Process:
        return Process(self.client, lambda: self.now, rules)

    def turn(self, **by: float) -> None:
        self.now += timedelta(**by)

    def assert_trusted(self, *processes: Process) -> None:
        """Check that every client that got a CA bundle accepts every certificate that is shown now."""
        for process in processes:
            if process.keeper.readiness.ready:
                assert process.shown is not None
                for bundle in self.api.bundles():
                    verify(process.shown, bundle, self.now)


def verify(leaf: x509.Certificate, bundle: bytes, now: datetime, host: str = HOST) -> None:
    """Raises ``VerificationError`` unless a client that trusts ``bundle`` accepts ``leaf`` for ``host``."""
    store = Store(x509.load_pem_x509_certificates(bundle))
    PolicyBuilder().store(store).time(now).build_server_verifier(x509.DNSName(host)).verify(leaf, [])


@asynccontextmanager
async def open_model_world() -> AsyncIterator[ModelWorld]:
    api = ApiModel()
    async with open_client(ClusterConfig("http://model"), transport=api, retry=ONCE) as client:
        yield ModelWorld(api, client)


async def _pass_by(_: str) -> None:
    await trio.lowlevel.checkpoint()


def _ok(value: Any) -> httpx.Response:
    return httpx.Response(200, content=orjson.dumps(value))


def _refusal(reason: str, name: str = "") -> httpx.Response:
    status = status_failure(reason, "no", code=None, details={"name": name} if name else None)
    return httpx.Response(status["code"], content=orjson.dumps(status))
