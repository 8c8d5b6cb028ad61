"""The store that the embedded cluster has without configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from cli.embedded import identity, store_claims
from cli.embedded.store_claims import CLAIM, STORE_CLAIM, STORE_SETTINGS, keep_store_claims, uses_store
from core.api.objects import Object
from core.api.resource import CONFIG_MAP, NAMESPACE
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from core.kube.credentials import bearer_token
from core.policy.config import parse_config
from core.policy.settings import StorageProvider
from deployment.permissions.names import CONFIG_NAME, OPERATOR_NAMESPACE
from localcluster.server.cluster import open_api_server
from localcluster.transport import ASGIStreamingTransport
from tests.integration.operator_cluster import eventually

CONFIG: Object = {"metadata": {"name": CONFIG_NAME, "namespace": OPERATOR_NAMESPACE}}


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubeClient]:
    """An administrator; ``keep_store_claims`` connects to the same server."""
    async with trio.open_nursery() as nursery, open_api_server() as server:
        transport = ASGIStreamingTransport(server.app, nursery)
        config = ClusterConfig("http://cluster", bearer_token(server.admin_token))

        async def this_one(_: Path) -> ClusterConfig:
            await trio.lowlevel.checkpoint()
            return config

        monkeypatch.setattr(store_claims, "load_config", this_one)
        monkeypatch.setattr(store_claims, "open_client", lambda _: open_client(config, transport=transport))
        async with open_client(config, transport=transport) as client:
            await client.create(NAMESPACE, {"metadata": {"name": OPERATOR_NAMESPACE}})
            yield client
        nursery.cancel_scope.cancel()


async def claims(client: KubeClient) -> list[str]:
    found = (await client.list(CLAIM)).items
    return [f"{claim['metadata']['namespace']}/{claim['metadata']['name']}" for claim in found]


async def test_every_namespace_of_runs_has_the_claim_also_a_new_one_and_one_that_lost_it(
    client: KubeClient, nursery: trio.Nursery
) -> None:
    await client.create(CONFIG_MAP, {**CONFIG, "data": STORE_SETTINGS})
    nursery.start_soon(keep_store_claims, Path("kubeconfig"))
    await eventually(lambda: _has(client, "default"))
    await client.create(NAMESPACE, {"metadata": {"name": "team"}})
    await eventually(lambda: _has(client, "team"))
    await client.delete(CLAIM, STORE_CLAIM, "default")
    await eventually(lambda: _has(client, "default"))

    assert await claims(client) == [f"default/{STORE_CLAIM}", f"team/{STORE_CLAIM}"]
    nursery.cancel_scope.cancel()


async def test_there_is_none_while_another_store_is_configured(client: KubeClient, nursery: trio.Nursery) -> None:
    await client.create(CONFIG_MAP, {**CONFIG, "data": {"controller.storage.provider": "s3"}})
    nursery.start_soon(keep_store_claims, Path("kubeconfig"))
    await client.create(NAMESPACE, {"metadata": {"name": "team"}})
    await trio.testing.wait_all_tasks_blocked()
    before = await claims(client)
    config_map = await client.get(CONFIG_MAP, CONFIG_NAME, OPERATOR_NAMESPACE)
    await client.replace(CONFIG_MAP, {**config_map, "data": STORE_SETTINGS})
    await eventually(lambda: _has(client, "team"))

    assert before == []
    nursery.cancel_scope.cancel()


async def _has(client: KubeClient, namespace: str) -> bool:
    return f"{namespace}/{STORE_CLAIM}" in await claims(client)


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (None, False),
        (identity.SCRIPTS, False),
        ({**identity.SCRIPTS, "controller.storage.provider": ""}, True),
        ({"controller.storage.provider": "file", "controller.storage.file.volume-claim-name": "mine"}, True),
        ({}, True),
    ],
)
async def test_what_the_user_configured_is_kept(client: KubeClient, found: dict[str, str] | None, kept: bool) -> None:
    if found is not None:
        await client.create(CONFIG_MAP, {**CONFIG, "data": found})

    await identity.configure(client)
    now = await client.get(CONFIG_MAP, CONFIG_NAME, OPERATOR_NAMESPACE)

    assert (now.get("data") or {}) == (found if kept else identity.SETTINGS)
    assert uses_store(now) is not kept
    assert await claims(client) == ([] if kept else [f"default/{STORE_CLAIM}"])


def test_the_settings_are_valid() -> None:
    parsed = parse_config(identity.SETTINGS)

    assert parsed.settings is not None, parsed.errors
    assert parsed.settings.storage.provider is StorageProvider.FILE
    assert parsed.warnings == ()
