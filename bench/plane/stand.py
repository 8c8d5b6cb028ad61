"""A new control plane with our definitions and rights, a node that runs nothing, and the operator as a process."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import trio

from bench.plane.node import open_instant_node
from bench.stand import writes_in
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, NAMESPACE
from core.kube.client import KubeClient, open_client
from core.kube.config import load_config
from deployment.permissions.roles import DEFAULT_INSTALLATION
from tools.control_plane.binaries import ensure_binaries
from tools.control_plane.processes import ServerProcess, open_process
from tools.control_plane.running import ControlPlane, open_control_plane

ROOT = Path(__file__).parents[2]
SERVERS_MEMORY = "6GiB"
"""With the limit of the tests, 1 GiB, an API server that has thousands of finished runs collects garbage all the time.
"""
READY_SECONDS = 120.0
_STEPS_ACTIVE = re.compile(r"^bobrapet_storyrun_steps_active\{[^}]*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class PlaneStand:
    """``client`` is an administrator. The operator has its own ServiceAccount, with only the rights that we ship."""

    plane: ControlPlane
    client: KubeClient
    operator: ServerProcess
    metrics_url: str

    @property
    def audit_log(self) -> Path:
        assert self.plane.audit_log is not None
        return self.plane.audit_log

    @property
    def operator_user(self) -> str:
        account = DEFAULT_INSTALLATION
        return f"system:serviceaccount:{account.namespace}:{account.service_account}"

    async def keep_the_operator(self) -> None:
        """Start the operator again whenever it has ended, as its Deployment would."""
        while True:
            await self.operator.wait_ended()
            self.operator.start()

    async def wait_until_it_works(self) -> None:
        """Waits until the operator holds its lease and its informers are synced."""
        await self._until(lambda text: 'leader_election_master_status{name="d3a8b358.bubustack.io"} 1.0' in text)

    async def wait_for_live_steps(self, count: int) -> None:
        """Waits until the operator supervises at least ``count`` steps."""
        await self._until(lambda text: sum(map(float, _STEPS_ACTIVE.findall(text))) >= count)

    async def writes(self) -> float:
        """The number of requests of the operator so far that write."""
        async with httpx.AsyncClient(timeout=30) as client:
            return writes_in((await client.get(self.metrics_url)).text)

    async def _until(self, holds: Any) -> None:
        with trio.fail_after(READY_SECONDS):
            async with httpx.AsyncClient() as client:
                while True:
                    try:
                        if holds((await client.get(self.metrics_url)).text):
                            return
                    except httpx.TransportError:
                        assert self.operator.running, self.operator.tail()
                    await trio.sleep(0.02)


@asynccontextmanager
async def open_plane_stand(metrics_port: int = 18_471, *, instant_node: bool = True) -> AsyncIterator[PlaneStand]:
    """Keeps everything in one folder and deletes it at the end. First it builds missing programs (minutes).

    ``instant_node``: every Pod is reported as succeeded at once; otherwise the caller opens a node.
    """
    os.environ.setdefault("GOMEMLIMIT", SERVERS_MEMORY)  # the servers inherit it
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-") as folder:
        directory = Path(folder)
        async with AsyncExitStack() as stack:
            plane = await stack.enter_async_context(
                open_control_plane(ensure_binaries(), directory / "plane", audit=True)
            )
            client = await stack.enter_async_context(open_client(await load_config(plane.kubeconfig)))
            await _install(plane, client)
            if instant_node:
                await stack.enter_async_context(open_instant_node(client))
            account = DEFAULT_INSTALLATION
            kubeconfig = await plane.kubeconfig_of(account.service_account, account.namespace)
            command = [
                *(sys.executable, "-m", "cli", "manager", f"--kubeconfig={kubeconfig}"),
                "--health-probe-bind-address=0",
                "--webhook-bind-address=0",
                f"--metrics-bind-address=127.0.0.1:{metrics_port}",
                "--metrics-secure=false",
            ]
            operator = await stack.enter_async_context(open_process("operator", command, directory))
            stand = PlaneStand(plane, client, operator, f"http://127.0.0.1:{metrics_port}/metrics")
            await stand.wait_until_it_works()
            yield stand


async def _install(plane: ControlPlane, client: KubeClient) -> None:
    await client.create(NAMESPACE, {"metadata": {"name": DEFAULT_INSTALLATION.namespace}})
    files = [f"--filename={ROOT / path}" for path in ("manifests/crds", "manifests/rbac")]
    command = [str(plane.binaries.kubectl), f"--kubeconfig={plane.kubeconfig}", "apply", "--server-side", *files]
    await trio.run_process(command, capture_stdout=True)
    with trio.fail_after(READY_SECONDS):
        while True:
            definitions = (await client.list(CUSTOM_RESOURCE_DEFINITION)).items
            if all(map(_is_established, definitions)):
                return
            await trio.sleep(0.1)


def _is_established(definition: dict[str, Any]) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)
