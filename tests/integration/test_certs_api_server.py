"""An API server, embedded or real, calls a webhook whose certificates we keep, with the operator's own rights."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from certs.authority import Lifetimes
from certs.inject import DEFAULT_TARGETS, VALIDATING
from certs.policy import CertRules
from certs.rotation import DEFAULT_SECRET, CertificateKeeper
from certs.secret import ROTATE
from certs.serving import ServingContext
from core.api.objects import Object
from core.api.resource import CONFIG_MAP, SECRET, SUBJECT_ACCESS_REVIEW
from core.engine.clock import WallClock
from core.kube.client import open_client
from core.kube.credentials import bearer_token
from core.kube.errors import ApiError, KubeError, NotFoundError
from deployment.permissions.install import install_permissions, request_token
from kubewire import PatchType
from tests.integration.certs_replica import Told
from tests.integration.operator_cluster import OPERATOR, OperatorCluster
from tests.integration.webhookserver import WebhookServer

NAME = DEFAULT_TARGETS[1].name
RULES = CertRules(("127.0.0.1",), Lifetimes(hurry=timedelta(seconds=2)))


class SharedContext(Config):
    """Hypercorn with a given TLS context."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._context = context
        self.bind = ["127.0.0.1:0"]
        self.errorlog = None
        self.graceful_timeout = 0.1

    @property
    def ssl_enabled(self) -> bool:
        return True

    def create_ssl_context(self) -> ssl.SSLContext:
        return self._context


class Refusals(httpx.AsyncBaseTransport):
    """Records requests that were refused for missing rights."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.refused: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if response.status_code == httpx.codes.FORBIDDEN:
            self.refused.append(f"{request.method} {request.url.path}")
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class Gate:
    """A webhook for marked ConfigMaps, and the keeper of its certificates."""

    def __init__(
        self, world: OperatorCluster, keeper: CertificateKeeper, hook: WebhookServer, traffic: Refusals
    ) -> None:
        self.client = world.client
        self.world = world
        self.keeper = keeper
        self.hook = hook
        self.traffic = traffic

    async def is_admitted(self) -> bool:
        """Whether a marked ConfigMap is admitted.

        With ``failurePolicy: Fail`` this shows that the webhook was reached.
        """
        made = {"metadata": {"generateName": "gate-", "namespace": "default", "labels": {"gate": "closed"}}}
        try:
            await self.client.create(CONFIG_MAP, made, dry_run=True)
        except ApiError:
            return False
        return True

    async def is_asked(self) -> bool:
        """Whether the API server knows and trusts the webhook."""
        return await self.is_admitted() and bool(self.hook.asked)

    async def ask_for(self, rotation: str) -> None:
        patch = {"metadata": {"annotations": {ROTATE: rotation}}}
        await self.client.patch(SECRET, DEFAULT_SECRET, patch, namespace=OPERATOR.namespace)


@pytest.fixture
async def gate(world: OperatorCluster) -> AsyncIterator[Gate]:
    await install_permissions(world.client, OPERATOR)
    await world.eventually(lambda: _may_make_secrets(world))
    serving = ServingContext()
    hook = WebhookServer(0, "")
    hook.handlers["/validate"] = _allow
    traffic = Refusals(world.access.open_wire())
    config = replace(world.access.config, credentials=bearer_token(await request_token(world.client, OPERATOR)))
    async with open_client(config, transport=traffic) as client, trio.open_nursery() as nursery:
        (bound,) = await nursery.start(serve, hook, SharedContext(serving.context))
        hook.port = int(bound.rpartition(":")[2])
        await world.client.create(VALIDATING, _configuration(hook.port))
        keeper = CertificateKeeper(
            client, serving, namespace=OPERATOR.namespace, rules=RULES, clock=WallClock(), events=Told()
        )
        nursery.start_soon(keeper.run)
        try:
            yield Gate(world, keeper, hook, traffic)
        finally:
            nursery.cancel_scope.cancel()
            with trio.move_on_after(10, shield=True):
                for resource, name, namespace in (
                    (VALIDATING, NAME, None),
                    (SECRET, DEFAULT_SECRET, OPERATOR.namespace),
                ):
                    with suppress(NotFoundError):
                        await world.client.delete(resource, name, namespace)


async def test_reviews_go_on_through_rotations_a_lost_secret_and_a_spoilt_bundle(gate: Gate) -> None:
    await gate.world.eventually(gate.is_asked)
    refusals, reviews = 0, 0
    first = gate.keeper.held
    assert first is not None

    async def review_for_ever() -> None:
        nonlocal refusals, reviews
        while True:
            refusals += not await gate.is_admitted()
            reviews += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(review_for_ever)
        for _ in range(3):
            before = gate.keeper.held
            await gate.ask_for("leaf")
            await gate.world.eventually(partial(_differs, gate, before))
        await gate.ask_for("authority")
        await gate.world.eventually(lambda: _authority_differs(gate, first))
        await gate.client.delete(SECRET, DEFAULT_SECRET, OPERATOR.namespace)
        await gate.world.eventually(lambda: _is_there(gate))
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()

    assert refusals == 0
    assert reviews > 20
    assert len(gate.hook.asked) >= reviews
    spoil = [{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}]
    await gate.client.patch(VALIDATING, NAME, spoil, patch_type=PatchType.JSON)
    await gate.world.eventually(gate.is_admitted)
    assert gate.traffic.refused == [], "the rights of the table suffice"


async def _allow(_: Object) -> Object:
    return {"allowed": True}


async def _differs(gate: Gate, before: object) -> bool:
    return gate.keeper.held is not None and gate.keeper.held != before and gate.keeper.held.requested is None


async def _authority_differs(gate: Gate, first: Any) -> bool:
    return gate.keeper.held is not None and gate.keeper.held.active.certificate != first.active.certificate


async def _is_there(gate: Gate) -> bool:
    try:
        await gate.client.get(SECRET, DEFAULT_SECRET, OPERATOR.namespace)
    except KubeError:
        return False
    return True


async def _may_make_secrets(world: OperatorCluster) -> bool:
    wanted = {"verb": "watch", "resource": "secrets", "namespace": OPERATOR.namespace, "name": DEFAULT_SECRET}
    bundle = {"verb": "watch", "group": VALIDATING.group, "resource": VALIDATING.plural, "name": NAME}
    allowed = []
    for attributes in (wanted, bundle):
        review = {"spec": {"user": OPERATOR.user, "resourceAttributes": attributes}}
        allowed.append(bool((await world.client.create(SUBJECT_ACCESS_REVIEW, review))["status"]["allowed"]))
    return all(allowed)


def _configuration(port: int) -> Object:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    hook = {
        "name": "gate.tests.bubustack.io",
        "clientConfig": {"url": f"https://127.0.0.1:{port}/validate"},
        "rules": [rule],
        "objectSelector": {"matchLabels": {"gate": "closed"}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    return {"metadata": {"name": NAME}, "webhooks": [hook]}
