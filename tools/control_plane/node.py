"""Our node on a real API server: Pods' containers run as local processes, named by an image map.

The code is the same as on the embedded cluster. There is no scheduler: the node takes Pods that have no node.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trio

from localcluster import certificates
from localcluster.certificates import KeyPair
from localcluster.clock import utc_now
from localcluster.node.running import NodeAccess, run_node
from localcluster.node.settings import NodeSettings
from tools.control_plane.access import NODE, Access
from tools.control_plane.running import ControlPlane


@dataclass(frozen=True, slots=True)
class NodeCredentials:
    """What a node needs to join a cluster."""

    api_url: str
    token: str
    authority: KeyPair
    """Signs the certificate of the node's log endpoint.

    The API server trusts it, and has a client certificate signed by it.
    """

    def tls_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.certificate_pem)


def credentials_of(api_url: str, access: Access) -> NodeCredentials:
    """The credentials for the node of a control plane."""
    return NodeCredentials(api_url, access.tokens[NODE], access.authority)


@asynccontextmanager
async def open_node(
    control_plane: ControlPlane | NodeCredentials,
    image_map: Path,
    data_dir: Path,
    *,
    name: str = "local",
    **settings: Any,
) -> AsyncIterator[NodeSettings]:
    """A node for the block, registered when the block begins. Afterwards no container of it is left.

    Args:
        image_map: file that maps image names to programs (``localcluster.node.images``); may be written later.
        data_dir: a folder for the node alone.
        settings: further fields of ``NodeSettings``.
    """
    if isinstance(control_plane, NodeCredentials):
        credentials = control_plane
    else:
        credentials = credentials_of(control_plane.url, control_plane.access)
    serving = certificates.issue_server(credentials.authority, name, ("127.0.0.1", "localhost"), utc_now())
    access = NodeAccess(
        token=credentials.token,
        serving=serving,
        client_ca_pem=credentials.authority.certificate_pem,
        tls=credentials.tls_context(),
    )
    node = NodeSettings(name=name, data_dir=data_dir, image_map=image_map, api_url=credentials.api_url)
    node = replace(node, **settings)
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            await run_node(node, access, utc_now, task_status=task_status)

        await nursery.start(run)
        yield node
        nursery.cancel_scope.cancel()
