"""Fixtures for every integration test: an API server in this process and clients for it.

``cluster`` is new for each test, in memory and without sockets; ``cluster.client`` is an administrator. ``world`` and
``there`` are whole clusters with the parts of an operator, embedded or real.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from core.api.objects import Object
from localcluster.server.cluster import ApiServer, open_api_server
from localcluster.transport import ASGIStreamingTransport
from tests.integration.adapter_world import AdapterWorld, open_adapter_world
from tests.integration.commandline import CommandLine
from tests.integration.operator_cluster import OperatorCluster, install_on, open_operator_cluster
from tools.control_plane.session import SessionCluster


@dataclass(frozen=True)
class Cluster:
    """A running API server. ``client`` speaks HTTP to it as an administrator, and ``nursery`` ends with the test."""

    server: ApiServer
    client: httpx.AsyncClient
    nursery: trio.Nursery

    @property
    def registry(self) -> Any:
        return self.server.registry

    def client_as(self, token: str) -> httpx.AsyncClient:
        """A client with another bearer token. An empty token is anonymous."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        transport = ASGIStreamingTransport(self.server.app, self.nursery)
        return httpx.AsyncClient(transport=transport, base_url="http://cluster", headers=headers, timeout=30)

    async def create(self, path: str, obj: Object, **query: str) -> Object:
        """POST an object that the server must accept; returns it as stored."""
        answer = await self.client.post(path, json=obj, params=query)
        assert answer.status_code == 201, answer.text
        created: Object = answer.json()
        return created


@asynccontextmanager
async def open_cluster(path: Path | None = None) -> AsyncIterator[Cluster]:
    """A cluster on the given database file, or in memory."""
    async with trio.open_nursery() as nursery, open_api_server(path) as server:
        transport = ASGIStreamingTransport(server.app, nursery)
        headers = {"authorization": f"Bearer {server.admin_token}", "user-agent": "tests/1"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://cluster", headers=headers, timeout=30
        ) as client:
            yield Cluster(server, client, nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with open_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def real(control_plane: SessionCluster | None) -> SessionCluster | None:
    """The real control plane with our definitions. None: each test uses its own embedded cluster."""
    if control_plane is not None:
        trio.run(install_on, control_plane)
    return control_plane


@pytest.fixture(scope="session")
def example_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data folder of an embedded cluster that several tests use one after the other: a start takes 4 s of CPU."""
    line = CommandLine(tmp_path_factory.mktemp("examples"))
    assert line.bobrapet("up", "--quiet").code == 0
    yield line.data
    line.quick("down")
    line.wait_until_nothing_runs()


@pytest.fixture
def example_line(tmp_path: Path, example_cluster: Path) -> CommandLine:
    """Commands in a folder of their own, on the cluster of all examples; ``--local`` finds it."""
    return CommandLine(tmp_path, shared=example_cluster)


@pytest.fixture
async def world(tmp_path: Path, real: SessionCluster | None) -> AsyncIterator[OperatorCluster]:
    """A cluster, real or embedded, for an operator and real programs."""
    async with open_operator_cluster(tmp_path, real) as running:
        yield running


@pytest.fixture
async def there(real: SessionCluster | None) -> AsyncIterator[AdapterWorld]:
    """The engine's ports on an API server, real or embedded."""
    async with open_adapter_world(real) as opened:
        yield opened
