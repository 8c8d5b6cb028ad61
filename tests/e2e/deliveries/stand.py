"""A control plane, an operator as a process, a node of programs, and a webhook Impulse that the operator runs there."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import trio

from bench.process import command_line, descendants
from core.api.objects import Object
from core.api.resource import NAMESPACE
from core.kube.client import KubeClient, open_client
from core.kube.config import load_config
from deployment.permissions.install import install_permissions, request_token
from tests.e2e.deliveries.ledger import Ledger, open_ledger
from tests.e2e.deliveries.webhook import IMAGES, WebhookImpulse, install_webhook
from tests.integration.operator_cluster import NAMESPACE_NAME, OPERATOR, OPERATOR_NAMESPACE, install_on
from tools.control_plane.binaries import ensure_binaries
from tools.control_plane.node import open_node
from tools.control_plane.processes import ServerProcess, open_process
from tools.control_plane.running import ControlPlane, open_control_plane
from tools.control_plane.session import SessionCluster, ready_of

AT_ONCE: Final[Object] = {"name": "nothing", "type": "condition"}
"""A step without a container."""
_KILL_AGAIN_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class OperatedPlane:
    """``client`` is an administrator. Operator and node reach the API server directly."""

    plane: ControlPlane
    client: KubeClient
    operator: ServerProcess


@dataclass(frozen=True, slots=True)
class DeliveryStand:
    """A plane with a webhook Impulse, and the ledger of what it starts."""

    plane: ControlPlane
    client: KubeClient
    operator: ServerProcess
    ledger: Ledger
    impulse: WebhookImpulse

    def webhook_pid(self) -> int:
        """The id of the Impulse's process.

        Raises:
            LookupError: it does not run at this moment.
        """
        for pid in descendants(os.getpid()):
            if b"\0bubu_impulses.webhook\0" in command_line(pid):
                return pid
        raise LookupError("the webhook Impulse does not run")

    async def kill_operator(self) -> None:
        """``kill -9``; it is started again at once, as a kubelet does after a first crash."""
        await self.operator.kill()
        self.operator.start()

    async def kill_webhook(self) -> None:
        """``kill -9``; the node starts it again. Waits for a process that can be killed."""
        while True:
            try:
                os.kill(self.webhook_pid(), signal.SIGKILL)
                return
            except (LookupError, ProcessLookupError):
                await trio.sleep(_KILL_AGAIN_SECONDS)

    async def kill_api_server(self) -> None:
        """``kill -9``; returns when it serves again."""
        await self.plane.api_server.kill()
        await self.plane.api_server.restart()


@asynccontextmanager
async def open_operated_plane(
    directory: Path, image_map: Path, environment: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[OperatedPlane]:
    """Everything on this machine, for the block, and nothing in the cluster yet.

    ``environment``: further variables of the operator.
    """
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(open_control_plane(ensure_binaries(), directory / "plane"))
        await install_on(SessionCluster(plane.kubeconfig, plane.binaries.kubectl, ready_of(plane)))
        client = await stack.enter_async_context(open_client(await load_config(plane.kubeconfig)))
        for name in (NAMESPACE_NAME, OPERATOR_NAMESPACE):
            await client.create(NAMESPACE, {"metadata": {"name": name}})
        await install_permissions(client, OPERATOR)
        node: dict[str, Any] = {"isolate": False, "restart_delay_seconds": 0.2, "container_niceness": 0}
        await stack.enter_async_context(open_node(plane, image_map, directory / "node", **node))
        token = await request_token(client, OPERATOR)
        command = [
            *(sys.executable, "-m", "cli", "manager"),
            f"--kubeconfig={plane.access.write_kubeconfig('operator', plane.url, token)}",
            "--health-probe-bind-address=0",
            "--webhook-bind-address=0",
            "--leader-elect=false",
        ]
        operator = await stack.enter_async_context(
            open_process("operator", command, directory, {**os.environ, **environment})
        )
        yield OperatedPlane(plane, client, operator)


@asynccontextmanager
async def open_delivery_stand(directory: Path) -> AsyncIterator[DeliveryStand]:
    """The Impulse is up when the block begins. Its Story has one step, without a container."""
    async with open_operated_plane(directory, IMAGES) as there, open_ledger(there.plane.etcd_url) as ledger:
        impulse = await install_webhook(there.client, "deliver", NAMESPACE_NAME, [AT_ONCE])
        yield DeliveryStand(there.plane, there.client, there.operator, ledger, impulse)
