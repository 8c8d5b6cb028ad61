"""A cluster on which ``helm`` installs the operator: its Pods run as processes, and API servers reach their admission.

Each Pod has a loopback address of its own. There is no kube-proxy, so a forwarder stands in for the Service of
admission: it leads each new connection to one of the Pods that are ready.
"""

from __future__ import annotations

import itertools
import json
import shlex
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from core.api.objects import Object
from core.api.resource import NAMESPACE, POD
from core.kube.client import KubeClient, open_client
from core.kube.config import load_config
from core.kube.errors import KubeError
from deployment.metadata import METRICS_PORT, POD_LABELS
from tests.e2e.operator_rig import FLOWS, ROOT, OperatorRig, eventually
from tools.control_plane.binaries import ensure_binaries
from tools.control_plane.node import open_node
from tools.control_plane.ports import unshared_port
from tools.control_plane.running import open_control_plane

SYSTEM: Final = "bobrapet-system"
DEADLINE_SECONDS: Final = 240.0
_LOOK_SECONDS: Final = 0.1
_POD_IP: Final = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
_MANY_BYTES: Final = 1 << 16


@dataclass
class Forwarder:
    """A TCP port that leads to the Pods that are ready."""

    port: int
    addresses: list[str] = field(default_factory=list)
    refused: int = 0
    """Connections for which no Pod was ready."""

    async def run(self, client: KubeClient, namespace: str) -> None:
        turns = itertools.count()

        async def forward(inside: trio.SocketStream) -> None:
            async with inside:
                if not self.addresses:
                    self.refused += 1
                    return
                address = self.addresses[next(turns) % len(self.addresses)]
                try:
                    outside = await trio.open_tcp_stream(address, 9443)
                except OSError:
                    self.refused += 1
                    return
                async with outside, trio.open_nursery() as nursery:
                    nursery.start_soon(_pass_on, inside, outside, nursery.cancel_scope)
                    nursery.start_soon(_pass_on, outside, inside, nursery.cancel_scope)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow, client, namespace)
            await trio.serve_tcp(forward, self.port, host="127.0.0.1")

    async def _follow(self, client: KubeClient, namespace: str) -> None:
        selector = ",".join(f"{key}={value}" for key, value in POD_LABELS.items())
        while True:
            try:
                pods = (await client.list(POD, namespace, label_selector=selector)).items
            except KubeError:
                pods = []  # the API server is starting
            else:
                self.addresses = [pod["status"]["podIP"] for pod in pods if _is_ready(pod)]
            await trio.sleep(_LOOK_SECONDS)


async def _pass_on(source: trio.SocketStream, target: trio.SocketStream, scope: trio.CancelScope) -> None:
    try:
        async for data in source:
            await target.send_all(data)
    except trio.BrokenResourceError:
        pass
    scope.cancel()


def _is_ready(pod: Object) -> bool:
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@dataclass
class ReleaseRig:
    """``rig`` has the cluster, without an operator."""

    rig: OperatorRig
    service: Forwarder
    helm: Path
    transcript: list[str] = field(default_factory=list)
    """Commands and what they printed."""

    @property
    def values(self) -> dict[str, Any]:
        """What this cluster needs: Pods listen on their own address, and API servers call the forwarder."""
        return {
            "controllerManager": {
                "manager": {
                    "args": [
                        f"--metrics-bind-address=$(POD_IP):{METRICS_PORT}",
                        "--health-probe-bind-address=$(POD_IP):8081",
                        "--config-namespace=bobrapet-system",
                        "--config-name=bobrapet-operator-config",
                    ],
                    "extraArgs": ["--webhook-bind-address=$(POD_IP):9443"],
                    "env": [_POD_IP],
                },
            },
            "hub": {
                "env": [_POD_IP],
                "extraArgs": [
                    f"--{flag}-bind-address=$(POD_IP):{port}"
                    for flag, port in (("metrics", 8080), ("health-probe", 8081), ("console", 9001))
                ]
                + ["--bind-address=$(POD_IP):9000"],
            },
            "webhooks": {"url": f"https://127.0.0.1:{self.service.port}"},
        }

    async def shell(self, command: str, *, values: Mapping[str, Any] | None = None) -> str:
        """Run a command of a user in the repository; returns what it printed.

        ``values``: further values for ``helm``; this cluster's own are always among them.

        Raises:
            AssertionError: it failed.
        """
        done = await self.attempt(command, values=values)
        assert done.returncode == 0, f"$ {command}\n{done.stdout.decode()}{done.stderr.decode()}"
        return str(done.stdout.decode())

    async def attempt(self, command: str, *, values: Mapping[str, Any] | None = None) -> Any:
        """The ended process of the command."""
        words = shlex.split(command)
        if words[:1] == ["helm"] and words[1] in ("install", "upgrade", "template"):
            path = self.rig.directory / "values.json"
            path.write_text(json.dumps(self.values))
            words += [f"--values={path}"]
            if values is not None:
                more = self.rig.directory / "more.json"
                more.write_text(json.dumps(values))
                words += [f"--values={more}"]
        programs = {"helm": self.helm, "kubectl": self.rig.plane.binaries.kubectl}
        words[0] = str(programs.get(words[0], words[0]))
        environment = {
            "HOME": str(self.rig.directory),
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "KUBECONFIG": str(self.rig.plane.kubeconfig),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}",
        }
        with trio.fail_after(DEADLINE_SECONDS):
            done = await trio.run_process(
                words, capture_stdout=True, capture_stderr=True, check=False, cwd=ROOT, env=environment
            )
        self.transcript.append(f"$ {command}\n{done.stdout.decode()}{done.stderr.decode()}")
        return done

    async def ready_pods(self, count: int) -> None:
        """Wait until so many managers are ready."""

        async def reached() -> bool:
            return len(self.service.addresses) == count

        await eventually(reached, lambda: f"{self.service.addresses} are ready", seconds=DEADLINE_SECONDS)


@asynccontextmanager
async def open_release_rig(directory: Path, helm: Path, *, namespace: str = SYSTEM) -> AsyncIterator[ReleaseRig]:
    """A control plane and a node, on which nothing of ours is installed. ``namespace``: that of the release."""
    assert not ROOT.is_relative_to("/tmp"), "the operator's Pods mount a volume there: move the repository elsewhere"
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(open_control_plane(ensure_binaries(), directory / "plane"))
        client = await stack.enter_async_context(open_client(await load_config(plane.kubeconfig)))
        rig = OperatorRig(plane, client, directory, stack)
        python_path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}"}
        operator = {"command": [sys.executable, "-m", "cli", "manager"], "workdir": str(ROOT), "env": python_path}
        rig.add_images({"bobrapet-py:*": operator})
        await stack.enter_async_context(
            open_node(plane, directory / "images.yaml", directory / "node", pod_addresses=True)
        )
        await client.create(NAMESPACE, {"metadata": {"name": FLOWS}})
        release = ReleaseRig(rig, Forwarder(unshared_port()), helm)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(release.service.run, client, namespace)
            yield release
            nursery.cancel_scope.cancel()
