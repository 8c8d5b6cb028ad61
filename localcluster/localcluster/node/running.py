"""Runs a whole node: its log endpoint, its registration and its Pods, in one nursery."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from localcluster.clock import Now
from localcluster.keypair import KeyPair
from localcluster.node.client import open_client
from localcluster.node.kubelet import Kubelet
from localcluster.node.logbook import LogBook
from localcluster.node.node import open_services, run_pods
from localcluster.node.registration import keep_alive, register
from localcluster.node.settings import HOST_IP, NodeSettings

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True, slots=True)
class NodeAccess:
    """How a node reaches its API server, and how the API server reaches the node."""

    token: str
    serving: KeyPair
    """The certificate of the log endpoint."""
    client_ca_pem: str
    """Clients with a certificate of this authority may read logs; the API server has one."""
    tls: ssl.SSLContext | None = None
    transport: httpx.AsyncBaseTransport | None = None
    """Replaces sockets, for a server in the same process."""


async def run_node(
    settings: NodeSettings,
    access: NodeAccess,
    now: Now,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a node until cancelled; started once it is registered and takes Pods.

    Raises:
        ApiError, UnreachableError: it could not register.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    logbook = LogBook(settings.data_dir / "logs", now)
    listener = socket.create_server((HOST_IP, 0))
    port = listener.getsockname()[1]
    async with (
        open_client(settings.api_url, access.token, access.tls, access.transport) as client,
        open_services(settings, client, logbook, now) as services,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_serve_logs, Kubelet(logbook, now), listener, access, settings.data_dir)
        await register(services, port)
        nursery.start_soon(keep_alive, services, port)
        nursery.start_soon(run_pods, services)
        task_status.started()


async def _serve_logs(kubelet: Kubelet, listener: socket.socket, access: NodeAccess, scratch: Path) -> None:
    """Serve logs from the first request on: loading the web server takes longer than the rest of a node's start."""
    with listener:
        await trio.lowlevel.wait_readable(listener)
        from localcluster.serving import TlsIdentity, serve_asgi

        await serve_asgi(kubelet, listener, TlsIdentity(access.serving, access.client_ca_pem), scratch)
