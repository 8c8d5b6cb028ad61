"""A realtime run on a real API server, with a process for each program that an installation has.

The operator (``bobrapet manager``) and the hub (``bobrapet hub``) run under their own ServiceAccounts, and meet only in
TransportBindings. The Deployments and StatefulSets of the steps become Pods through the controllers of
kube-controller-manager, and Pods become processes on our node, because there is no kubelet: ``engrams/sums.py``, on the
Python SDK. No Service can be reached here: the operator is told where the hub listens.
"""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from core.api.conditions import is_true
from core.api.objects import Object
from core.api.resource import POD, STEP_RUN, STORY, STORY_RUN, TRANSPORT
from deployment.permissions.hub import hub_objects
from deployment.permissions.install import request_token
from deployment.permissions.names import HUB_ACCOUNT, OPERATOR_ACCOUNT
from deployment.permissions.roles import operator_objects
from localcluster.kubeconfig import Connection, render_kubeconfig, write_private
from tests.e2e.control_plane.forked import open_manager
from tests.e2e.control_plane.ports import unshared_port
from tests.e2e.control_plane.processes import ServerProcess, open_process
from tests.e2e.control_plane.session import SessionCluster
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    OPERATOR,
    OperatorCluster,
    eventually,
    open_on_real,
    status_of,
    step,
)
from tests.integration.operator_rights import ensure_rights

ROOT: Final = Path(__file__).parents[2]
PROGRAM: Final = Path(__file__).parent / "engrams" / "sums.py"
RUN: Final = "one"
STEPS: Final = ("count", "add", "keep")
"""A source, a transform with a state, and a sink. The second is a StatefulSet, the others are Deployments."""
TLS_HOST: Final = "hub.test"
"""The hub's name with TLS. The containers take it for this machine; a loopback address would not use TLS."""
PATIENCE_SECONDS: Final = 90.0


class Kept(NamedTuple):
    """What the sink notes of one message."""

    n: int
    messages: int
    """How many the transform had got."""
    total: int
    at: float
    """By ``time.monotonic()``."""


@dataclass
class StreamRig:
    """Operator and hub work, the Story ``sums`` is known to them, and there is no run yet."""

    cluster: OperatorCluster
    etcd_url: str
    folder: Path
    """Files by which the source is told what to do, and those that the programs write."""
    port: int
    """Of the hub."""
    operator: ServerProcess
    hub: ServerProcess

    async def until_hub_listens(self) -> None:
        def listens() -> bool:
            with socket.socket() as trial:
                return trial.connect_ex(("127.0.0.1", self.port)) == 0

        await until(listens)

    # The run.

    async def submit(self) -> None:
        await self.cluster.run(RUN, "sums")

    async def until_connected(self) -> None:
        """Return once the run shows all of its streams as connected."""

        async def are_connected() -> bool:
            states = status_of(await self.run()).get("stepStates") or {}
            return [states.get(name, {}).get("phase") for name in STEPS] == ["Running"] * 3 and all(
                [
                    is_connected(await self.cluster.client.get(STEP_RUN, f"{RUN}-{name}", NAMESPACE_NAME))
                    for name in STEPS
                ]
            )

        await eventually(are_connected, seconds=PATIENCE_SECONDS)

    async def cancel(self) -> None:
        await self.cluster.client.patch(STORY_RUN, RUN, {"spec": {"cancelRequested": True}}, namespace=NAMESPACE_NAME)

    async def run(self) -> Object:
        return await self.cluster.client.get(STORY_RUN, RUN, NAMESPACE_NAME)

    async def ended(self) -> Object:
        """The status of the run, once it has ended."""
        run = await self.cluster.until(
            STORY_RUN, RUN, lambda obj: bool(status_of(obj).get("finishedAt")), seconds=PATIENCE_SECONDS
        )
        return status_of(run)

    async def pods(self) -> dict[str, int]:
        """The UIDs of all Pods, each with the number of times that its container was started again."""
        pods = (await self.cluster.client.list(POD, NAMESPACE_NAME)).items
        return {
            pod["metadata"]["uid"]: sum(each["restartCount"] for each in status_of(pod).get("containerStatuses") or ())
            for pod in pods
        }

    # The stream.

    def let_flow(self) -> None:
        """The source sends about 90 numbers a second from now on."""
        (self.folder / "flow").touch()

    def let_end(self) -> None:
        """The source returns, so its container exits with 0."""
        (self.folder / "end").touch()

    def sent(self) -> int:
        """How many numbers the source has given to its SDK."""
        return len(_lines(self.folder / "sent"))

    def kept(self) -> list[Kept]:
        """What the sink has got, in its order."""
        rows = [line.split() for line in _lines(self.folder / "kept")]
        return [Kept(int(n), int(messages), int(total), float(at)) for n, messages, total, at in rows]

    def began(self) -> dict[str, float]:
        """When the container of each step was started for the last time, in seconds of the wall clock."""
        return {name: float(at) for name, at in (line.split() for line in _lines(self.folder / "began"))}

    async def until_kept(self, more: int) -> None:
        """Return once the sink has got so many messages more than now."""
        wanted = len(self.kept()) + more
        await until(lambda: len(self.kept()) >= wanted)


async def until(holds: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
    async def asked() -> bool:
        return holds()

    await eventually(asked, seconds=seconds)


def is_connected(step_run: Object) -> bool:
    return is_true(status_of(step_run).get("conditions") or [], "TransportReady")


def _lines(file: Path) -> list[str]:
    """Without a line that is being written."""
    return file.read_text().rpartition("\n")[0].splitlines() if file.exists() else []


@asynccontextmanager
async def open_stream_rig(
    directory: Path, real: SessionCluster, *, tls: bool = False, elect: bool = False
) -> AsyncIterator[StreamRig]:
    """During the block, on the emptied cluster.

    Args:
        tls: containers reach the hub by TLS, with the certificate that the operator issues; else on loopback.
        elect: the operator takes a Lease. After ``kill -9`` the next one waits until it expires.
    """
    assert real.ready is not None
    folder = directory / "stream"
    folder.mkdir()
    port = unshared_port()
    bound, endpoint = (f"0.0.0.0:{port}", f"{TLS_HOST}:{port}") if tls else (f"127.0.0.1:{port}",) * 2
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(open_on_real(directory, real, isolate=tls))
        await ensure_rights(cluster.client, [*operator_objects(OPERATOR), *hub_objects()])
        for account in (OPERATOR_ACCOUNT, HUB_ACCOUNT):
            token = await request_token(cluster.client, account=account)
            connection = Connection(real.ready.url, token, real.ready.ca_pem)
            write_private(directory / f"{account}.kubeconfig", render_kubeconfig(connection))
        await _install_story(cluster, folder, [TLS_HOST] if tls else [])
        manager = [
            f"--kubeconfig={directory / OPERATOR_ACCOUNT}.kubeconfig",
            "--health-probe-bind-address=0",
            "--webhook-bind-address=0",
            f"--leader-elect={str(elect).lower()}",
            f"--hub-endpoint={endpoint}",
        ]
        hub = [
            *(sys.executable, "-m", "cli", "hub"),
            f"--kubeconfig={directory / HUB_ACCOUNT}.kubeconfig",
            f"--bind-address={bound}",
            "--lease-identity=hub",
        ]
        operator = await stack.enter_async_context(open_manager("operator", manager, directory))
        process = await stack.enter_async_context(open_process("hub", hub, directory))
        rig = StreamRig(cluster, real.ready.etcd_url, folder, port, operator, process)
        await cluster.until(STORY, "sums", lambda story: bool(status_of(story)), seconds=PATIENCE_SECONDS)
        await rig.until_hub_listens()
        yield rig


async def _install_story(cluster: OperatorCluster, folder: Path, options: list[str]) -> None:
    spec = {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]}
    await cluster.create(TRANSPORT, "hub", spec, namespaced=False)
    for name in STEPS:
        mode = "statefulset" if name == "add" else "deployment"
        program = shlex.join([sys.executable, str(PROGRAM), name, str(folder), *options])
        script = f'echo "{name} $(date +%s.%N)" >> {folder}/began; export PYTHONPATH={ROOT}/sdk; exec {program}'
        await cluster.engram(name, script, engram={"mode": mode}, supportedModes=[mode])
    await cluster.story(
        "sums",
        step("count"),
        step("add", needs=["count"]),
        step("keep", needs=["add"]),
        pattern="realtime",
        transports=[
            {"name": "numbers", "transportRef": "hub", "streaming": {"delivery": {"semantics": "at_least_once"}}}
        ],
    )
