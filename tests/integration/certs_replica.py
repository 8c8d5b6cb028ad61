"""Admission servers with certificates: real TLS on loopback, an embedded API server, clocks that the test controls."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import trio

from certs.authority import Lifetimes
from certs.inject import DEFAULT_TARGETS, MUTATING, VALIDATING
from certs.policy import CertRules
from certs.rotation import CertificateKeeper, RotationPace
from certs.serving import ServingContext
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, SECRET
from core.engine.clock import WallClock, system_now
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from core.kube.credentials import bearer_token
from core.kube.errors import NotFoundError
from core.kube.retry import ONCE
from kubewire import Object
from localcluster.transport import ASGIStreamingTransport

NAMESPACE = "bobrapet-system"
SECRET_NAME = "bobrapet-webhook-server-cert"
HOST = f"bobrapet-webhook-service.{NAMESPACE}.svc"
STORIES = DEFAULT_TARGETS[2].name

LIFETIMES = Lifetimes(
    authority=timedelta(hours=6),
    leaf=timedelta(hours=1),
    overlap=timedelta(hours=2),
    settle=timedelta(minutes=45),
    hurry=timedelta(minutes=5),
    backdated=timedelta(days=1),
)
"""Backdated by more than a test's clock runs ahead, so that verifiers with the real clock accept the certificates."""
RULES = CertRules((HOST,), LIFETIMES)
UNBOUNDED = RotationPace(reactions_per_minute=1000)


class Hand:
    """A clock that the test sets and the policy reads."""

    def __init__(self) -> None:
        self.at = system_now()

    def __call__(self) -> datetime:
        return self.at

    def turn(self, **by: float) -> None:
        self.at += timedelta(**by)


class Line(httpx.AsyncBaseTransport):
    """The connection to the API server. A test can cut it and set the time that the server reports."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.cut = False
        self.server_time: Callable[[], datetime] | None = None
        self.writes: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.cut:
            raise httpx.ConnectError("the line is cut")
        if request.method != "GET":
            self.writes.append(f"{request.method} {request.url.path.rsplit('/', 1)[-1]}")
        response = await self._inner.handle_async_request(request)
        if self.server_time is not None:
            response.headers["date"] = format_datetime(self.server_time().astimezone(UTC), usegmt=True)
        return response


class Told:
    """Records Events."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def record(self, regarding: Object, type_: str, reason: str, message: str) -> None:
        self.notes.append(f"{type_} {reason} {message}")


class Replica:
    """One process of the admission server. Clients that trust it get ``ok`` from ``port``."""

    def __init__(self, client: KubeClient, line: Line, hand: Hand, rules: CertRules, pace: RotationPace) -> None:
        self.line = line
        self.hand = hand
        self.told = Told()
        self.serving = ServingContext()
        self.keeper = CertificateKeeper(
            client,
            self.serving,
            namespace=NAMESPACE,
            rules=rules,
            clock=WallClock(hand),
            events=self.told,
            pace=pace,
        )
        self.port = 0

    async def look(self) -> datetime | None:
        return await self.keeper.look()

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
            try:
                await stream.receive_some(16)
                await stream.send_all(b"ok")
                await stream.aclose()
            except trio.BrokenResourceError:
                await trio.aclose_forcefully(stream)

        listeners = await trio.open_ssl_over_tcp_listeners(0, self.serving.context, host="127.0.0.1")
        bound = listeners[0].transport_listener
        assert isinstance(bound, trio.SocketListener)
        self.port = bound.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(answer, listeners)


class AdmissionWorld:
    """The API server with the objects of the manifests, and the replicas that use it."""

    def __init__(self, cluster: Any, client: KubeClient, nursery: trio.Nursery) -> None:
        self.cluster = cluster
        self.client = client
        self._nursery = nursery

    async def replica(
        self, hand: Hand | None = None, rules: CertRules = RULES, pace: RotationPace = UNBOUNDED
    ) -> Replica:
        server = self.cluster.server
        line = Line(ASGIStreamingTransport(server.app, self.cluster.nursery))
        config = ClusterConfig("http://cluster", bearer_token(server.admin_token))
        client = await self._nursery.start(_hold_client, config, line)
        replica = Replica(client, line, hand or Hand(), rules, pace)
        await self._nursery.start(replica.serve)
        return replica

    def start(self, replica: Replica) -> trio.CancelScope:
        """Run the replica's keeper until the scope is canceled."""
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await replica.keeper.run()

        self._nursery.start_soon(run)
        return scope

    async def secret(self) -> Object | None:
        try:
            return await self.client.get(SECRET, SECRET_NAME, NAMESPACE)
        except NotFoundError:
            return None

    async def until_ready(self, *replicas: Replica) -> None:
        await until(lambda: all(replica.keeper.readiness.ready for replica in replicas))

    async def bundles(self) -> list[bytes]:
        """The bundle of each place: one mutating and two validating webhooks, and the conversion of Stories."""
        mutating = await self.client.get(MUTATING, DEFAULT_TARGETS[0].name)
        validating = await self.client.get(VALIDATING, DEFAULT_TARGETS[1].name)
        stories = await self.client.get(CUSTOM_RESOURCE_DEFINITION, STORIES)
        configs = [hook["clientConfig"] for hook in (*mutating["webhooks"], *validating["webhooks"])]
        configs.append(stories["spec"]["conversion"]["webhook"]["clientConfig"])
        return [base64.b64decode(config.get("caBundle", "")) for config in configs]


async def _hold_client(config: ClusterConfig, line: Line, *, task_status: trio.TaskStatus[KubeClient]) -> None:
    async with open_client(config, transport=line, retry=ONCE) as client:
        task_status.started(client)
        await trio.sleep_forever()


@asynccontextmanager
async def open_admission_world(cluster: Any) -> AsyncIterator[AdmissionWorld]:
    await cluster.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    admission = "/apis/admissionregistration.k8s.io/v1"
    mutating = {"metadata": {"name": DEFAULT_TARGETS[0].name}, "webhooks": [_hook("a")]}
    validating = {"metadata": {"name": DEFAULT_TARGETS[1].name}, "webhooks": [_hook("b"), _hook("c")]}
    await cluster.create(f"{admission}/mutatingwebhookconfigurations", mutating)
    await cluster.create(f"{admission}/validatingwebhookconfigurations", validating)
    await cluster.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", _stories())
    config = ClusterConfig("http://cluster", bearer_token(cluster.server.admin_token))
    transport = ASGIStreamingTransport(cluster.server.app, cluster.nursery)
    async with open_client(config, transport=transport) as client, trio.open_nursery() as nursery:
        yield AdmissionWorld(cluster, client, nursery)
        nursery.cancel_scope.cancel()


async def until(holds: Callable[[], bool]) -> None:
    """Return once ``holds`` gives True, within the ten seconds that any recovery may take."""
    with trio.fail_after(10):
        while True:
            if holds():
                return
            await trio.sleep(0.01)


async def shake(replica: Replica, bundle: bytes) -> bytes:
    """Send one request over a new connection that trusts only ``bundle``; returns the server's certificate, as DER.

    Raises:
        trio.BrokenResourceError: the handshake was refused.
    """
    context = ssl.create_default_context(cadata=bundle.decode())
    with trio.fail_after(10):
        connection = await trio.open_tcp_stream("127.0.0.1", replica.port)
        async with trio.SSLStream(connection, context, server_hostname=HOST) as stream:
            await stream.do_handshake()
            shown = stream.getpeercert(binary_form=True)
            await stream.send_all(b"hello")
            assert await stream.receive_some(16) == b"ok"
    assert isinstance(shown, bytes)
    return shown


async def assert_trusted(world: AdmissionWorld, *replicas: Replica) -> None:
    """Check that each published bundle accepts the certificate of every replica."""
    for bundle in await world.bundles():
        assert bundle
        for replica in replicas:
            await shake(replica, bundle)


def _hook(name: str) -> Object:
    rule = {"operations": ["CREATE"], "apiGroups": ["tests.bubustack.io"], "apiVersions": ["*"], "resources": ["none"]}
    return {
        "name": f"{name}.kb.io",
        "clientConfig": {"service": {"name": "bobrapet-webhook-service", "namespace": NAMESPACE, "path": "/x"}},
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }


def _stories() -> Object:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    service = {"name": "bobrapet-webhook-service", "namespace": NAMESPACE, "path": "/convert"}
    group, plural = STORIES.split(".", 1)[1], STORIES.split(".", 1)[0]
    return {
        "metadata": {"name": STORIES},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": "Story", "singular": "story", "listKind": "StoryList"},
            "versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": schema}],
            "conversion": {
                "strategy": "Webhook",
                "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"service": service}},
            },
        },
    }
