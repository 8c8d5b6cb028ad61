"""A session on an API server in this process, with our kinds installed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from core.kube.credentials import bearer_token
from localcluster.server.cluster import open_api_server
from localcluster.transport import ASGIStreamingTransport
from manager.cli.console import Console
from manager.cli.options import CommonOptions
from manager.cli.session import Session
from manager.crds import install_crds

Object = dict[str, Any]


@pytest.fixture
async def client() -> AsyncIterator[KubeClient]:
    async with trio.open_nursery() as nursery, open_api_server() as server:
        transport = ASGIStreamingTransport(server.app, nursery)
        config = ClusterConfig("http://cluster", bearer_token(server.admin_token))
        async with open_client(config, transport=transport) as client:
            await install_crds(client)
            yield client
        nursery.cancel_scope.cancel()


@pytest.fixture
async def session(client: KubeClient) -> Session:
    return session_of(client, CommonOptions())


def session_of(client: KubeClient, options: CommonOptions) -> Session:
    return Session(client, client.config, options, Console(options))


@pytest.fixture
def with_options() -> Callable[[Session, CommonOptions], Session]:
    """The same connection under other flags."""
    return lambda session, options: session_of(session.client, options)
