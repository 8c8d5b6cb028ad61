"""A realtime run with a process for each program that an installation has, on either kind of API server.

``open_real_rig``: etcd, kube-apiserver, kube-controller-manager. The operator (``bobrapet manager``) and the hub
(``bobrapet hub``) run under their own ServiceAccounts, and meet only in TransportBindings. The Deployments and
StatefulSets of the steps become Pods through the controllers of kube-controller-manager, and Pods become processes on
our node, because there is no kubelet. No Service can be reached here: the operator is told where the hub listens.

``open_embedded_rig``: the cluster of ``bobrapet up``, which starts operator and hub itself, and again when they end.

The steps are ``engrams/sums.py``, on the Python SDK.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import orjson
import trio

from bench.process import command_line, descendants
from cli.embedded.hub_port import PORT_FILE
from cli.embedded.usage import open_cluster
from core.api.conditions import is_true
from core.api.objects import Object
from core.api.resource import (
    CONFIG_MAP,
    DEPLOYMENT,
    ENGRAM,
    ENGRAM_TEMPLATE,
    NAMESPACE,
    POD,
    STATEFUL_SET,
    STEP_RUN,
    STORY,
    STORY_RUN,
    TRANSPORT,
    Resource,
)
from deployment.permissions.hub import hub_objects
from deployment.permissions.install import request_token
from deployment.permissions.names import HUB_ACCOUNT, OPERATOR_ACCOUNT
from deployment.permissions.roles import operator_objects
from localcluster.kubeconfig import Connection, render_kubeconfig, write_private
from tests.integration.api_access import over_network
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
from tools.control_plane.forked import open_manager
from tools.control_plane.ports import unshared_port
from tools.control_plane.processes import ServerProcess, open_process
from tools.control_plane.session import SessionCluster

ROOT: Final = Path(__file__).parents[2]
PROGRAM: Final = Path(__file__).parent / "engrams" / "sums.py"
RUN: Final = "one"
STEPS: Final = ("count", "add", "keep")
"""A source, a transform with a state, and a sink. The second is a StatefulSet, the others are Deployments."""
TLS_HOST: Final = "hub.test"
"""The hub's name with TLS. The containers take it for this machine; a loopback address would not use TLS."""
PATIENCE_SECONDS: Final = 90.0
EMBEDDED_PATIENCE: Final = 3.0
_LOOK_SECONDS: Final = 0.05


class Kept(NamedTuple):
    """What the sink notes of one message."""

    n: int
    messages: int
    """How many the transform had got."""
    total: int
    at: float
    """By ``time.monotonic()``."""


class Program(Protocol):
    """The operator or the hub."""

    @property
    def pid(self) -> int: ...

    async def kill(self) -> None:
        """SIGKILL; returns when the process is gone. Another one starts at once."""

    def away(self) -> AbstractAsyncContextManager[None]:
        """Until the end of the block, it is killed, and no other one gets ready."""


@dataclass
class StreamRig:
    """Operator and hub work, or start when they are needed. Nothing of the Story is applied yet."""

    cluster: OperatorCluster
    folder: Path
    """Files by which the source is told what to do, and those that the programs write."""
    port: int
    """Of the hub."""
    operator: Program
    hub: Program
    etcd_url: str = ""
    """Of the real control plane."""
    hub_runs: bool = True
    """Whether the hub runs before there is a run. Otherwise it starts with the first one."""

    def hub_listens(self) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0

    async def until_hub_listens(self) -> None:
        await until(self.hub_listens)

    # The run.

    async def apply(self, run: str = RUN) -> float:
        """All objects of the Story, and at once a run of it, with nothing awaited between them.

        Returns when the first one was stored, in monotonic time: an API server that has just got our definitions
        sometimes takes two seconds for the first object.
        """
        spec = {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]}
        await self.cluster.create(TRANSPORT, run, spec, namespaced=False)
        began = time.monotonic()
        for name in STEPS:
            mode = _mode(name)
            template = {"version": "1.0.0", "image": f"test/{name}", "supportedModes": [mode]}
            await self.cluster.create(ENGRAM_TEMPLATE, f"{run}-{name}", template, namespaced=False)
            engram = {"version": "1.0.0", "mode": mode, "templateRef": {"name": f"{run}-{name}"}}
            await self.cluster.create(ENGRAM, f"{run}-{name}", engram)
        numbers = {"name": "numbers", "transportRef": run, "streaming": {"delivery": {"semantics": "at_least_once"}}}
        await self.cluster.story(
            run,
            step("count", f"{run}-count"),
            step("add", f"{run}-add", needs=["count"]),
            step("keep", f"{run}-keep", needs=["add"]),
            pattern="realtime",
            transports=[numbers],
        )
        await self.cluster.run(run, run)
        return began

    async def until_connected(self, run: str = RUN, steps: Sequence[str] = STEPS) -> None:
        """Return once the run shows all of its streams as connected."""

        async def are_connected() -> bool:
            states = status_of(await self.run(run)).get("stepStates") or {}
            return [states.get(name, {}).get("phase") for name in steps] == ["Running"] * len(steps) and all(
                [
                    is_connected(await self.cluster.client.get(STEP_RUN, f"{run}-{name}", NAMESPACE_NAME))
                    for name in steps
                ]
            )

        await eventually(are_connected, seconds=PATIENCE_SECONDS)

    async def cancel(self, run: str = RUN) -> None:
        await self.cluster.client.patch(STORY_RUN, run, {"spec": {"cancelRequested": True}}, namespace=NAMESPACE_NAME)

    async def run(self, run: str = RUN) -> Object:
        return await self.cluster.client.get(STORY_RUN, run, NAMESPACE_NAME)

    async def ended(self, run: str = RUN) -> Object:
        """The status of the run, once it has ended."""
        found = await self.cluster.until(
            STORY_RUN, run, lambda obj: bool(status_of(obj).get("finishedAt")), seconds=PATIENCE_SECONDS
        )
        return status_of(found)

    async def pods(self) -> dict[str, int]:
        """The UIDs of all Pods, each with the number of times that its container was started again."""
        pods = (await self.cluster.client.list(POD, NAMESPACE_NAME)).items
        return {
            pod["metadata"]["uid"]: sum(each["restartCount"] for each in status_of(pod).get("containerStatuses") or ())
            for pod in pods
        }

    async def start_alone(self, variables: Mapping[str, Mapping[str, str]]) -> None:
        """The program of each step as a workload of its kind, without a Story, with these variables."""
        for name, given in variables.items():
            labels = {"alone": name}
            env = [{"name": key, "value": value} for key, value in given.items()]
            containers = [{"name": "engram", "image": f"test/{_alone(name)}", "env": env}]
            spec = {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": containers, "terminationGracePeriodSeconds": 1},
                },
                **({"serviceName": _alone(name)} if _workload(name) is STATEFUL_SET else {}),
            }
            await self.cluster.create(_workload(name), _alone(name), spec)

    async def stop_alone(self) -> None:
        """Returns once none of them is left."""
        for name in STEPS:
            await self.cluster.client.delete(_workload(name), _alone(name), NAMESPACE_NAME)
        for name in STEPS:
            await self.cluster.gone(_workload(name), _alone(name), seconds=PATIENCE_SECONDS)

        async def ended() -> bool:
            return not (await self.cluster.client.list(POD, NAMESPACE_NAME, label_selector="alone")).items

        await eventually(ended, seconds=PATIENCE_SECONDS)

    async def nothing_runs(self) -> None:
        """Return once no workload is left."""
        for kind in (DEPLOYMENT, STATEFUL_SET, POD):
            await self.cluster.none_left(kind)

    # The stream.

    def let_flow(self) -> None:
        """The source sends about 90 numbers a second from now on."""
        (self.folder / "flow").touch()

    def let_end(self) -> None:
        """The source returns, so its container exits with 0."""
        (self.folder / "end").touch()

    def source_ended(self) -> bool:
        """Whether the source has returned; its container may still send what it has yielded."""
        return (self.folder / "returned").exists()

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


def program(name: str, folder: Path, *options: str) -> list[str]:
    """The command of a step."""
    return [sys.executable, str(PROGRAM), name, str(folder), *options]


def _lines(file: Path) -> list[str]:
    """Without a line that is being written."""
    return file.read_text().rpartition("\n")[0].splitlines() if file.exists() else []


def _mode(name: str) -> str:
    return "statefulset" if name == "add" else "deployment"


def _workload(name: str) -> Resource:
    return STATEFUL_SET if _mode(name) == "statefulset" else DEPLOYMENT


def _alone(name: str) -> str:
    """The name of a step's program as a workload without a Story, and of its image."""
    return f"alone-{name}"


def _images(folder: Path, *options: str) -> Object:
    """The image map of the steps, and of the same programs without a Story."""
    images = {}
    for name in STEPS:
        command = shlex.join(program(name, folder, *options))
        script = f'echo "{name} $(date +%s.%N)" >> {folder}/began; export PYTHONPATH={ROOT}/sdk; exec {command}'
        images[f"test/{name}"] = {"command": ["/bin/sh", "-c", script]}
        script = f"export PYTHONPATH={ROOT}/sdk; exec {command}"
        images[f"test/{_alone(name)}"] = {"command": ["/bin/sh", "-c", script]}
    return images


# On a real API server.


@dataclass(frozen=True)
class StartedProgram:
    """A program that the rig starts, as a kubelet would."""

    process: ServerProcess

    @property
    def pid(self) -> int:
        return self.process.pid

    async def kill(self) -> None:
        await self.process.kill()
        self.process.start()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        await self.process.kill()
        yield
        self.process.start()


@asynccontextmanager
async def open_real_rig(
    directory: Path,
    real: SessionCluster,
    *,
    tls: bool = False,
    elect: bool = False,
    way: int = 0,
    exports: Mapping[str, str] | None = None,
) -> AsyncIterator[StreamRig]:
    """During the block, on the emptied cluster.

    Args:
        tls: containers reach the hub by TLS, with the certificate that the operator issues; else on loopback.
        elect: the operator takes a Lease. After ``kill -9`` the next one waits until it expires.
        way: the port that containers are given for the hub, where the test has put something before it. 0: the hub's.
        exports: variables of OpenTelemetry; operator and hub export traces by them. None: traces are off.
    """
    assert real.ready is not None
    folder = directory / "stream"
    folder.mkdir()
    port = unshared_port()
    bound, host = (f"0.0.0.0:{port}", TLS_HOST) if tls else (f"127.0.0.1:{port}", "127.0.0.1")
    endpoint = f"{host}:{way or port}"
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(open_on_real(directory, real, isolate=tls))
        cluster.image_map.write_bytes(orjson.dumps({"images": _images(folder, *([TLS_HOST] if tls else []))}))
        await ensure_rights(cluster.client, [*operator_objects(OPERATOR), *hub_objects()])
        for account in (OPERATOR_ACCOUNT, HUB_ACCOUNT):
            token = await request_token(cluster.client, account=account)
            connection = Connection(real.ready.url, token, real.ready.ca_pem)
            write_private(directory / f"{account}.kubeconfig", render_kubeconfig(connection))
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
        environment = {**os.environ, **(exports or {})}
        if exports is None:
            started = open_manager("operator", manager, directory)
        else:
            await _turn_traces_on(cluster)
            command = [sys.executable, "-m", "cli", "manager", *manager]
            started = open_process("operator", command, directory, environment)
        operator = await stack.enter_async_context(started)
        process = await stack.enter_async_context(open_process("hub", hub, directory, environment))
        rig = StreamRig(
            cluster, folder, port, StartedProgram(operator), StartedProgram(process), etcd_url=real.ready.etcd_url
        )
        await _until_the_operator_works(cluster)
        await rig.until_hub_listens()
        yield rig


async def _turn_traces_on(cluster: OperatorCluster) -> None:
    data = {"telemetry.enabled": "true", "telemetry.trace-propagation": "true"}
    metadata = {"name": "bobrapet-operator-config", "namespace": OPERATOR.namespace}
    await cluster.client.create(CONFIG_MAP, {"metadata": metadata, "data": data})


async def _until_the_operator_works(cluster: OperatorCluster) -> None:
    """It has looked at a Story."""
    await cluster.story("first", {"name": "only", "type": "condition"})
    await cluster.until(STORY, "first", lambda story: bool(status_of(story)), seconds=PATIENCE_SECONDS)


# On the embedded cluster.


@dataclass(frozen=True)
class KeptProgram:
    """A program that the embedded cluster starts again when it ends: after 0.2 s, then after twice the last pause."""

    verb: str
    cluster_pid: int

    @property
    def pid(self) -> int:
        """
        Raises:
            LookupError: none runs.
        """
        for pid in self._pids():
            return pid
        raise LookupError(f"bobrapet {self.verb} is not running")

    async def kill(self) -> None:
        await until(lambda: any(self._pids()))
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not command_line(pid))

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        await self.kill()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._kill_each)
            yield
            nursery.cancel_scope.cancel()

    async def _kill_each(self) -> None:
        """Each that starts, long before it is ready."""
        while True:
            for pid in self._pids():
                os.kill(pid, signal.SIGKILL)
            await trio.sleep(_LOOK_SECONDS)

    def _pids(self) -> Iterator[int]:
        words = f"\0cli\0{self.verb}\0".encode()
        return (pid for pid in descendants(self.cluster_pid) if words in command_line(pid))


@asynccontextmanager
async def open_embedded_rig(directory: Path) -> AsyncIterator[StreamRig]:
    """During the block, on a cluster of its own, as ``bobrapet up`` starts it."""
    folder = directory / "stream"
    folder.mkdir()
    images = directory / "images.json"
    images.write_bytes(orjson.dumps({"images": _images(folder)}))
    async with (
        open_cluster(directory / "data", image_map=images) as embedded,
        over_network(embedded.kubeconfig, patience=EMBEDDED_PATIENCE) as access,
        access.connected() as client,
    ):
        await client.create(NAMESPACE, {"metadata": {"name": NAMESPACE_NAME}})
        port = int((embedded.data / PORT_FILE).read_text())
        operator, hub = (KeptProgram(verb, embedded.pid) for verb in ("manager", "hub"))
        cluster = OperatorCluster(access, client, images)
        await _until_the_operator_works(cluster)
        yield StreamRig(cluster, folder, port, operator, hub, hub_runs=False)
