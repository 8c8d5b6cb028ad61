"""A hub and the containers of one run, each a process: a source, a transform and a sink of numbers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import trio
import trustme

from tests.integration.operator_cluster import eventually

ROOT: Final = Path(__file__).parents[2]
DEADLINE_SECONDS: Final = 90.0
HOST: Final = "hub.test"
"""The hub's name with TLS. Each container must take it for this machine: a loopback address would not use TLS."""
TOPOLOGY: Final = """
runs:
  - namespace: team
    name: run-1
    story: numbers
    steps:
      - name: count
        binding: {name: count, uid: a}
      - name: double
        needs: [count]
        binding: {name: double, uid: b}
        streaming: {delivery: {semantics: at_least_once}}
      - name: keep
        needs: [double]
        binding: {name: keep, uid: c}
        streaming: {delivery: {semantics: at_least_once}}
"""
"""The steps ``count``, ``double`` and ``keep``."""


@dataclass
class StreamLine:
    """A hub and the containers of one run. ``commands``: what runs for each step."""

    folder: Path
    commands: Mapping[str, Sequence[str]]
    tls: bool = False
    port: int = 0
    tokens: dict[str, str] = field(default_factory=dict)
    running: dict[str, trio.Process] = field(default_factory=dict)
    """The newest process of each step."""
    _processes: list[trio.Process] = field(default_factory=list)

    @property
    def kept(self) -> Path:
        """The file of the sink, which it finds in ``KEPT``."""
        return self.folder / "kept"

    def log_of(self, step: str) -> str:
        """What the processes of the step have written, all of them."""
        file = self.folder / f"{step}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    async def begin(self, step: str, **environment: str) -> trio.Process:
        """Start the container of a step."""
        namespace, _, token = self.tokens[step].partition("/")
        host = HOST if self.tls else "127.0.0.1"
        binding = {"endpoint": f"{host}:{self.port}", "protocolVersion": "1.0.0"}
        environ = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONPATH": str(ROOT / "sdk"),
            "KUBECONFIG": "/nowhere",
            "BUBU_EXECUTION_MODE": "realtime",
            "BUBU_STEP_NAME": step,
            "BUBU_STORYRUN_ID": "run-1",
            "BUBU_STEPRUN_NAME": f"run-1-{step}",
            "BUBU_STEPRUN_NAMESPACE": namespace,
            "BUBU_GRPC_RECONNECT_BASE_BACKOFF": "10ms",
            "BUBU_TRANSPORT_BINDING": json.dumps({"name": token, "namespace": namespace, "binding": binding}),
            "SSL_CERT_FILE": str(self.folder / "ca.crt"),
            "KEPT": str(self.kept),
            **environment,
        }
        self.running[step] = await self._started(step, self.commands[step], environ)
        return self.running[step]

    async def kill(self, step: str) -> None:
        self.running[step].kill()
        await self.running[step].wait()

    async def open(self) -> None:
        """Print the tokens, and start the hub."""
        if self.tls:
            self._certify()
        said = await trio.run_process([*self._hub, "--print-tokens"], capture_stdout=True, cwd=ROOT)
        for place, _, token in (row.partition("\t") for row in said.stdout.decode().splitlines()):
            self.tokens[place.rpartition("/")[2]] = token
        await self.begin_hub()

    async def begin_hub(self) -> None:
        """Start the hub, at its former port if it had one."""
        skipped = len(self.log_of("hub"))
        command = [*self._hub, f"--bind-address=127.0.0.1:{self.port}"]
        self.running["hub"] = await self._started("hub", command, dict(os.environ))
        await until(lambda: "\n" in self.log_of("hub")[skipped:])
        self.port = json.loads(self.log_of("hub")[skipped:].partition("\n")[0])["port"]

    async def end(self) -> None:
        """Kill everything that still runs."""
        with trio.CancelScope(shield=True):
            for process in self._processes:
                if process.poll() is None:
                    process.kill()
                await process.wait()

    @property
    def _hub(self) -> list[str]:
        given = [f"--topology={self.folder / 'topology.yaml'}", f"--key-file={self.folder / 'keys'}"]
        if self.tls:
            given += [f"--tls-cert={self.folder / 'tls.crt'}", f"--tls-key={self.folder / 'tls.key'}"]
        return [sys.executable, "-m", "cli", "hub", *given]

    def _certify(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.folder / "ca.crt")
        issued = authority.issue_cert(HOST)
        issued.private_key_pem.write_to_path(self.folder / "tls.key")
        issued.cert_chain_pems[0].write_to_path(self.folder / "tls.crt")

    async def _started(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> trio.Process:
        log: IO[bytes]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await trio.lowlevel.open_process(list(command), env=environ, cwd=ROOT, stdout=log, stderr=log)
        self._processes.append(process)
        return process


@asynccontextmanager
async def open_line(
    folder: Path, commands: Mapping[str, Sequence[str]], *, tls: bool = False, topology: str = TOPOLOGY
) -> AsyncIterator[StreamLine]:
    """A hub on a free port; at the end everything that still runs is killed."""
    (folder / "topology.yaml").write_text(topology)
    (folder / "keys").write_text("k" * 64 + "\n")
    line = StreamLine(folder, commands, tls)
    try:
        await line.open()
        yield line
    finally:
        await line.end()


async def until(holds: Callable[[], bool], *, seconds: float = DEADLINE_SECONDS) -> None:
    """Return when ``holds`` is true.

    Raises:
        trio.TooSlowError: it was not, for so long.
    """

    async def asked() -> bool:
        return holds()

    await eventually(asked, seconds=seconds)
