"""How clients of a test reach its API server: through the server in this process, or over the network.

Requests of an operator under test go through a transport of the test, which counts or loses them. Only what lies
behind this transport differs between the two.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import trio

from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig, load_config
from core.kube.connections import LaneTransport
from core.kube.credentials import bearer_token
from core.kube.http1 import Http1Lane, Peer
from core.kube.transport import CONNECT_DEADLINE_SECONDS, KEEP_ALIVE_SECONDS, ssl_context
from localcluster.server.cluster import ApiServer
from localcluster.transport import ASGIStreamingTransport


@dataclass(frozen=True)
class ApiAccess:
    """Access to an API server as an administrator."""

    config: ClusterConfig
    open_wire: Callable[[], httpx.AsyncBaseTransport]
    """Opens a new transport to the server."""
    shared: bool = False
    """Whether other tests use the server, too, before and after."""
    patience: float = 3.0
    """The factor by which everything may take longer than on the embedded cluster of a quiet machine."""

    def connected(self, transport: httpx.AsyncBaseTransport | None = None) -> AbstractAsyncContextManager[KubeClient]:
        """A client for the block, through ``transport`` if it is given."""
        return open_client(self.config, transport=transport or self.open_wire())


def embedded(server: ApiServer, nursery: trio.Nursery) -> ApiAccess:
    """Access to a server in this process. Its requests run in ``nursery``."""
    config = ClusterConfig("http://cluster", bearer_token(server.admin_token))
    return ApiAccess(config, lambda: ASGIStreamingTransport(server.app, nursery))


@asynccontextmanager
async def over_network(kubeconfig: Path, *, patience: float) -> AsyncIterator[ApiAccess]:
    """Access to the server that ``kubeconfig`` names."""
    config = await load_config(kubeconfig)
    yield ApiAccess(config, partial(_network, config), shared=True, patience=patience)


def _network(config: ClusterConfig) -> httpx.AsyncBaseTransport:
    """The transport that a client uses by default."""
    server = httpx.URL(config.server)
    context, port = ssl_context(config), server.port or 443
    peer = Peer(server.host, port, context, server.host, CONNECT_DEADLINE_SECONDS, KEEP_ALIVE_SECONDS)
    return LaneTransport(partial(Http1Lane, peer))
