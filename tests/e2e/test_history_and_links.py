"""What etcd reports of every write, and a connection to it that can be held up, on a real control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trio

from tests.integration.operator_cluster import eventually
from tools.control_plane.access import load_access
from tools.control_plane.history import open_history
from tools.control_plane.link import open_link
from tools.control_plane.session import SessionCluster

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def client(steerable: SessionCluster) -> AsyncIterator[httpx.AsyncClient]:
    assert steerable.ready is not None
    access = load_access(steerable.kubeconfig.parent)
    headers = {"authorization": f"Bearer {steerable.ready.admin_token}"}
    async with httpx.AsyncClient(base_url=steerable.ready.url, verify=access.tls_context(), headers=headers) as client:
        await client.delete(MAPS, params={"labelSelector": "!tests.example/none"})
        yield client


async def test_every_write_is_told_once(steerable: SessionCluster, client: httpx.AsyncClient) -> None:
    assert steerable.ready is not None
    key = "configmaps/default/told"
    async with open_history(steerable.ready.etcd_url) as history:
        for _ in range(2):
            await client.post(MAPS, json={"metadata": {"name": "told"}})
            await client.put(f"{MAPS}/told", json={"metadata": {"name": "told"}, "data": {"a": "b"}})
            await client.delete(f"{MAPS}/told")

        async def complete() -> bool:
            return history.deletions()[key] == 2

        await eventually(complete)
    assert history.creations()[key] == 2
    assert [(write.created, write.deleted) for write in history.of(key)] == 2 * [
        (True, False),
        (False, False),
        (False, True),
    ]


async def test_a_frozen_link_holds_back_and_a_thawed_one_carries_on(steerable: SessionCluster, tmp_path: Path) -> None:
    assert steerable.ready is not None
    async with (
        open_link(steerable.ready.etcd_url) as link,
        httpx.AsyncClient(base_url=link.url, trust_env=False, timeout=20) as http,
    ):
        assert (await http.get("/health")).status_code == httpx.codes.OK
        link.freeze()
        answered = trio.Event()

        async def ask() -> None:
            assert (await http.get("/health")).status_code == httpx.codes.OK
            answered.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            with trio.move_on_after(0.3) as waiting:
                await answered.wait()
            assert waiting.cancelled_caught
            link.thaw()
            with trio.fail_after(30):
                await answered.wait()
