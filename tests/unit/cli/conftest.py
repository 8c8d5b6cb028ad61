"""A session on an API server in this process, with our kinds installed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
import trio

from cli.console import Console
from cli.embedded.admission import local_webhooks
from cli.options import CommonOptions
from cli.session import Session
from core.api.resource import Resource
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig, Impersonation
from core.kube.credentials import bearer_token
from core.kube.retry import ONCE
from deployment.crds import install_crds
from localcluster.server.cluster import open_api_server
from localcluster.transport import ASGIStreamingTransport


@dataclass(frozen=True)
class Server:
    """An API server in this process, and how to reach it as its administrator."""

    config: ClusterConfig
    transport: ASGIStreamingTransport

    @asynccontextmanager
    async def session_as(self, user: str) -> AsyncIterator[Session]:
        """A session of a user with the given rights."""
        config = replace(self.config, impersonation=Impersonation(user=user))
        async with open_client(config, transport=self.transport) as client:
            yield session_of(client, CommonOptions())


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with trio.open_nursery() as nursery, open_api_server() as api:
        transport = ASGIStreamingTransport(api.app, nursery)
        yield Server(ClusterConfig("http://cluster", bearer_token(api.admin_token)), transport)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[KubeClient]:
    async with open_client(server.config, transport=server.transport) as client:
        await install_crds(client)
        yield client


@pytest.fixture
async def session(client: KubeClient) -> Session:
    return session_of(client, CommonOptions())


@pytest.fixture
async def guarded_session() -> AsyncIterator[Session]:
    """A session on an API server with admission, as that of the embedded cluster."""
    async with trio.open_nursery() as nursery, open_api_server(local_webhooks=local_webhooks()) as api:
        transport = ASGIStreamingTransport(api.app, nursery)
        config = ClusterConfig("http://cluster", bearer_token(api.admin_token))
        async with open_client(config, transport=transport) as client:
            await install_crds(client, converted=True)
            yield session_of(client, CommonOptions())
        nursery.cancel_scope.cancel()


def session_of(client: KubeClient, options: CommonOptions) -> Session:
    return Session(client, client.config, options, Console(options))


@pytest.fixture
def with_options() -> Callable[[Session, CommonOptions], Session]:
    """The same connection with other flags."""
    return lambda session, options: session_of(session.client, options)


CODES = (408, 429, 500, 503, 504, 507)


@dataclass
class Moody(httpx.AsyncBaseTransport):
    """Refuses or loses what ``is_meant`` says, ``times`` in a row for each path, then lets it pass."""

    inner: httpx.AsyncBaseTransport
    is_meant: Callable[[httpx.Request], object]
    times: int = 3
    refused: Counter[str] = field(default_factory=Counter)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = f"{request.method} {request.url.path}"
        if not self.is_meant(request) or self.refused[path] >= self.times:
            return await self.inner.handle_async_request(request)
        self.refused[path] += 1
        if self.refused[path] % 3 == 2:
            raise httpx.ReadError("connection lost")
        code = CODES[self.refused.total() % len(CODES)]
        return httpx.Response(code, content=b"not now")


Refusing = Callable[..., Any]


@pytest.fixture
def refusing(server: Server) -> Refusing:
    """A session like that of a command, whose requests are refused if they are meant."""

    @asynccontextmanager
    async def opened(is_meant: Callable[[httpx.Request], object], **options: Any) -> AsyncIterator[Session]:
        transport = Moody(server.transport, is_meant, **options)
        async with open_client(server.config, transport=transport, retry=ONCE) as client:
            yield session_of(client, CommonOptions())
        assert transport.refused

    return opened


def of(resource: Resource, name: str = "") -> Callable[[httpx.Request], bool]:
    path = f"/{resource.plural}" + (f"/{name}" if name else "")
    return lambda request: request.url.path.endswith(path) and "watch" not in request.url.params
