"""An API server, a hub that follows it, and bindings as the operator creates them: each server is a process."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import trio

from cli.embedded.identity import hub_kubeconfig
from core.api.objects import Object
from core.api.resource import CONTROLLER_REVISION, NAMESPACE, SECRET, STORY_RUN, TRANSPORT_BINDING
from core.kube.client import KubeClient, open_client
from core.kube.config import load_config
from core.kube.errors import AlreadyExistsError
from core.workloads.binding_token import issue_token
from core.workloads.hub_key import hub_key_secret
from deployment.crds import install_crds
from deployment.permissions.names import OPERATOR_NAMESPACE
from tests.integration.operator_cluster import eventually
from tests.unit.hub.cluster_samples import (
    engram_step,
    pinned_revision,
    realtime_run,
    realtime_story,
    transport_binding,
)
from tests.unit.hub.modelled_client import ModelledEngram, Program

ROOT: Final = Path(__file__).parents[2]
NAMESPACE_NAME: Final = "default"
KEY: Final = "k" * 64
STORY: Final = realtime_story(engram_step("emit"), engram_step("sink", "emit"), namespace=NAMESPACE_NAME)
ALO: Final = {"delivery": {"semantics": "at_least_once"}}
PATIENCE_SECONDS: Final = 30.0


@dataclass
class HubCluster:
    folder: Path
    nursery: trio.Nursery
    api_port: int = 0
    hub_port: int = 0
    client: KubeClient = field(init=False)
    uids: dict[str, str] = field(default_factory=dict)
    running: dict[str, trio.Process] = field(default_factory=dict)

    # Processes.

    async def start_server(self) -> None:
        """The API server, on the port of its last life if it has had one."""
        (self.folder / "images.yaml").write_text("images: {}")
        given = ["--image-map", str(self.folder / "images.yaml"), "--data-dir", str(self.folder / "data")]
        command = [sys.executable, "-m", "localcluster", "--port", str(self.api_port), *given]
        with (self.folder / "server.log").open("ab") as log:
            self.running["server"] = process = await trio.lowlevel.open_process(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log
            )
        assert process.stdout is not None
        said = b""
        with trio.fail_after(PATIENCE_SECONDS):
            while b"\n" not in said:
                chunk = bytes(await process.stdout.receive_some())
                assert chunk, (self.folder / "server.log").read_text()
                said += chunk

    async def start_hub(self, *options: str) -> None:
        """Returns when it listens."""
        given = [f"--kubeconfig={self.folder / 'hub.kubeconfig'}", f"--bind-address=127.0.0.1:{self.hub_port}"]
        with (self.folder / "hub.log").open("ab") as log:
            self.running["hub"] = await trio.lowlevel.open_process(
                [sys.executable, "-m", "cli", "hub", *given, "--lease-identity=hub", *options],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    async def until_hub_listens(self) -> None:
        async def listens() -> bool:
            with suppress(OSError):
                await (await trio.open_tcp_stream("127.0.0.1", self.hub_port)).aclose()
                return True
            return False

        await eventually(listens, seconds=PATIENCE_SECONDS)

    async def end(self, name: str, *, kill: bool = True) -> int:
        """The exit code."""
        process = self.running[name]
        process.kill() if kill else process.terminate()
        with trio.fail_after(PATIENCE_SECONDS):
            return await process.wait()

    @property
    def hub_log(self) -> str:
        return (self.folder / "hub.log").read_text()

    # Objects.

    async def prepare(self) -> None:
        """Definitions, the hub's rights, its key, and a run with its Story."""
        with suppress(AlreadyExistsError):
            await self.client.create(NAMESPACE, {"metadata": {"name": OPERATOR_NAMESPACE}})
        await install_crds(self.client)
        await hub_kubeconfig(self.client, self.folder / "data" / "kubeconfig", self.folder)
        await self.client.create(SECRET, hub_key_secret(OPERATOR_NAMESPACE, KEY))
        await self.client.create(CONTROLLER_REVISION, pinned_revision(STORY))

    async def begin(self, *steps: str, run: str = "run-1", **fields: Any) -> None:
        """A StoryRun, and the bindings of these steps."""
        stored = await self.client.create(STORY_RUN, realtime_run(run, namespace=NAMESPACE_NAME))
        self.uids[run] = stored["metadata"]["uid"]
        for step in steps or ("emit", "sink"):
            await self.bind(step, run=run, **fields)

    async def bind(self, step: str, *, run: str = "run-1", **fields: Any) -> None:
        binding = transport_binding(
            step,
            run=run,
            run_uid=self.uids[run],
            namespace=NAMESPACE_NAME,
            revision=pinned_revision(STORY)["metadata"]["name"],
            **{"settings": ALO, **fields},
        )
        stored = await self.client.create(TRANSPORT_BINDING, binding)
        self.uids[f"{run}/{step}"] = stored["metadata"]["uid"]

    async def finish(self, step: str, *, run: str = "run-1") -> None:
        patch = {"metadata": {"annotations": {"transport.bubustack.io/finished": "true"}}}
        await self.client.patch(TRANSPORT_BINDING, f"{run}-{step}-transport", patch, namespace=NAMESPACE_NAME)

    async def status(self, step: str, *, run: str = "run-1") -> Object:
        found = await self.client.get(TRANSPORT_BINDING, f"{run}-{step}-transport", NAMESPACE_NAME)
        return {"conditions": [{}], "stream": {}, **(found.get("status") or {})}

    async def until_status(
        self, step: str, holds: Callable[[Object], bool], *, run: str = "run-1", seconds: float = PATIENCE_SECONDS
    ) -> Object:
        found: Object = {}

        async def asked() -> bool:
            nonlocal found
            found = await self.status(step, run=run)
            return holds(found)

        await eventually(asked, seconds=seconds)
        return found

    def engram(
        self, step: str, program: Program, *, run: str = "run-1", key: str = KEY, trust: bytes | None = None
    ) -> ModelledEngram:
        """A client that serves the step; it connects again as often as it has to. With ``trust``: by TLS."""
        uid, name = self.uids[f"{run}/{step}"], f"{run}-{step}-transport"
        token = issue_token(key.encode(), NAMESPACE_NAME, name, uid, 1)
        context = trusting(trust) if trust is not None else None
        binding, process = f"{NAMESPACE_NAME}/{token}", token_hex(4)  # no operator would let a source return
        engram = ModelledEngram(self.hub_port, binding, program, process, context=context, max_retries=-1)
        self.nursery.start_soon(engram.run)
        return engram


@asynccontextmanager
async def open_hub_cluster(folder: Path) -> AsyncIterator[HubCluster]:
    """API server and hub. At the end everything that still runs is killed."""
    async with trio.open_nursery() as nursery:
        cluster = HubCluster(folder, nursery, free_port(), free_port())
        try:
            await cluster.start_server()
            async with open_client(await load_config(folder / "data" / "kubeconfig")) as client:
                cluster.client = client
                await cluster.prepare()
                yield cluster
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                for process in cluster.running.values():
                    if process.poll() is None:
                        process.kill()
                    await process.wait()


def trusting(bundle: bytes | None) -> ssl.SSLContext:
    """A client's context that trusts these authorities (PEM) alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=(bundle or b"").decode())
    context.set_alpn_protocols(["h2"])
    return context


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
