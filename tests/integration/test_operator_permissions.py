"""The operator under its own ServiceAccount, with the rights of the table and no others, on the embedded cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import trio
from operator_cluster import OPERATOR_NAMESPACE, OperatorCluster, status_of, step

from core.api.conditions import find_condition
from core.api.keys import LABEL_RUNNER_GRANTS
from core.api.resource import CLUSTER_ROLE, EVENT, ROLE, SERVICE_ACCOUNT, STORY_RUN
from core.engine.clock import WallClock, system_now
from core.kube.client import KubeClient, open_client
from core.kube.credentials import bearer_token
from core.kube.events import EventRecorder
from core.policy.settings import OperatorSettings
from manager.assembly import Operator
from manager.permissions.install import install_permissions, request_token
from manager.permissions.roles import Installation
from reconcilers.adapters.world import World

Object = dict[str, Any]

HERE = Installation(namespace=OPERATOR_NAMESPACE)
SERVICES = {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]}


class Refusals(httpx.AsyncBaseTransport):
    """Hands requests on and keeps what was refused for want of a right."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.seen: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if response.status_code == 403:
            self.seen.append(f"{request.method} {request.url.path}")
        return response


@asynccontextmanager
async def privileged_by_the_table(world: OperatorCluster) -> AsyncIterator[Refusals]:
    """An operator as it is deployed, for the block."""
    await install_permissions(world.client, HERE)
    config = replace(world.access.config, credentials=bearer_token(await request_token(world.client, HERE)))
    refusals = Refusals(world.access.open_wire())
    async with open_client(config, transport=refusals) as client, trio.open_nursery() as nursery:
        await nursery.start(_operate, client)
        yield refusals
        nursery.cancel_scope.cancel()


async def _operate(client: KubeClient, *, task_status: trio.TaskStatus[None]) -> None:
    recorder = EventRecorder(client, now=system_now)
    informers = World.watching(client)
    settings = OperatorSettings()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        await nursery.start(informers.run)
        operator = Operator(client, informers, lambda: settings, recorder, WallClock(), OPERATOR_NAMESPACE)
        nursery.start_soon(operator.run)
        task_status.started()


async def test_a_run_asks_for_nothing_that_the_table_lacks(world: OperatorCluster) -> None:
    await world.engram("greet")
    await world.story("greet", step("greet"), step("again", "greet"))
    async with privileged_by_the_table(world) as refusals:
        await world.run("one", "greet")
        run = await world.finished("one")
        await world.client.delete(STORY_RUN, "one", "team")
        await world.gone(STORY_RUN, "one")
    assert status_of(run)["phase"] == "Succeeded"
    assert refusals.seen == []
    assert await told(world, "PermissionDenied") == []


async def told(world: OperatorCluster, reason: str) -> list[str]:
    return [event["note"] for event in (await world.client.list(EVENT, "team")).items if event["reason"] == reason]


async def test_a_template_that_asks_for_more_keeps_the_run_until_it_is_granted(world: OperatorCluster) -> None:
    await world.engram("curious", execution={"rbac": {"rules": [SERVICES]}})
    await world.story("curious", step("curious"))
    async with privileged_by_the_table(world):
        await world.run("one", "curious")
        run = await world.until(STORY_RUN, "one", _is_denied)
        assert status_of(run)["phase"] == "Pending"
        assert 'Resources:["services"]' in status_of(run)["message"]
        metadata = {"name": "services", "labels": {LABEL_RUNNER_GRANTS: "true"}}
        await world.client.create(CLUSTER_ROLE, {"metadata": metadata, "rules": [SERVICES]})
        try:
            run = await world.finished("one", seconds=40)
        finally:
            await world.client.delete(CLUSTER_ROLE, "services")
    assert status_of(run)["phase"] == "Succeeded"
    assert not _is_denied(run)


def _is_denied(run: Object) -> bool:
    ready = find_condition(status_of(run).get("conditions") or (), "Ready")
    return ready is not None and ready["reason"] == "PermissionDenied"


async def test_what_leads_to_further_rights_is_left_out_and_told(world: OperatorCluster) -> None:
    greedy = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]}
    await world.engram("greedy", execution={"rbac": {"rules": [greedy]}})
    await world.story("greedy", step("greedy"))
    async with privileged_by_the_table(world) as refusals:
        await world.run("one", "greedy")
        assert status_of(await world.finished("one"))["phase"] == "Succeeded"
    assert greedy not in (await world.client.get(ROLE, "one-engram-runner", "team"))["rules"]
    assert await told(world, "RuleRefused") == [
        "EngramTemplate greedy spec.execution.rbac.rules[0]: rights to grant rights are never handed on"
    ]
    assert refusals.seen == []


async def test_installing_again_changes_nothing_and_restores_what_was_taken(world: OperatorCluster) -> None:
    name = f"{HERE.prefix}manager-role"
    await install_permissions(world.client, HERE)
    before = await world.client.get(CLUSTER_ROLE, name)
    await install_permissions(world.client, HERE)
    assert await world.client.get(CLUSTER_ROLE, name) == before
    await world.client.patch(CLUSTER_ROLE, name, {"rules": []})
    await install_permissions(world.client, HERE)
    assert (await world.client.get(CLUSTER_ROLE, name))["rules"] == before["rules"]
    account = await world.client.get(SERVICE_ACCOUNT, HERE.service_account, HERE.namespace)
    assert account["metadata"]["name"] == "bobrapet-controller-manager"
