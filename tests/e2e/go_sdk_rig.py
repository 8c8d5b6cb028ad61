"""Containers on the real Go SDK in the rig of realtime runs: the program of ``control_plane/toolchain/go-engram-*``.

With TLS they trust the hub by the authority that the operator gives them. Their own file of hosts takes the name of
the hub for this machine.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from core.api.objects import Object
from core.api.resource import TRANSPORT, TRANSPORT_BINDING
from tests.e2e.stream_rig import ROOT, TLS_HOST, StreamRig, until
from tests.integration.operator_cluster import NAMESPACE_NAME, status_of, step
from tools.control_plane.binaries import ensure_tool

VERSIONS: Final = ("0.1.4", "0.1.5")
OLD, NEW = VERSIONS
PYTHON: Final = "python"
"""In place of a version: the step is on the Python SDK."""
LINE: Final = ("source", "transform", "sink")
"""The steps of a stream."""
FLOW_SECONDS: Final = 300.0
"""Until messages have come: a limit for hanging."""
AT_LEAST_ONCE: Final[Object] = {"delivery": {"semantics": "at_least_once"}}


def go_engram(version: str) -> Path:
    """The program on this version of the SDK.

    Raises:
        MissingBinariesError: there is no Go to build it with.
    """
    return ensure_tool(f"go-engram-{version}")


async def streaming_engram(
    rig: StreamRig, name: str, command: Sequence[str], *, address: str = "127.0.0.1", **template: Any
) -> None:
    """A streaming Engram and its template. Its container finds the hub at ``address``."""
    hosts = rig.folder / f"hosts-{name}"
    hosts.write_text(f"127.0.0.1 localhost\n{address} {TLS_HOST}\n")
    script = f"mount --bind {hosts} /etc/hosts && PYTHONPATH={ROOT}/sdk exec {shlex.join(command)}"
    spec: Object = {"supportedModes": ["deployment"], **template}
    await rig.cluster.engram(name, script, engram={"mode": "deployment"}, **spec)


@dataclass(frozen=True)
class GoStream:
    """A finite stream: a source of ``count`` numbers, a transform that doubles them, and a sink.

    Its Story, its Transport, its run and its folder have the same name.
    """

    rig: StreamRig
    name: str
    count: int
    pause: str = "1ms"
    """Of the source, after each number, in milliseconds."""
    versions: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(LINE, NEW))
    """Of the SDK, for each step."""
    waits: bool = False
    """Whether the source waits for ``let_flow``."""
    address: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(LINE, "127.0.0.1"))
    """Where each step finds the hub."""

    @property
    def folder(self) -> Path:
        return self.rig.folder / self.name

    async def apply(self, **streaming: Object) -> None:
        """All objects of the Story, and a run of it. ``streaming``: of its transport."""
        cluster = self.rig.cluster
        self.folder.mkdir()
        spec = {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]}
        await cluster.create(TRANSPORT, self.name, spec, namespaced=False)
        for each in LINE:
            await self._container(each)
        transport = {"name": "wire", "transportRef": self.name, "streaming": {**AT_LEAST_ONCE, **streaming}}
        steps = [step(each, self._engram(each), needs=list(before)) for each, before in NEEDS.items()]
        await cluster.story(self.name, *steps, pattern="realtime", transports=[transport])
        await cluster.run(self.name, self.name)

    def let_flow(self) -> None:
        (self.folder / "flow").touch()

    def returned(self) -> bool:
        """Whether the source has come to its end."""
        return (self.folder / "returned").exists()

    def kept(self) -> Counter[str]:
        """How often the sink has got each message: its number and its id."""
        file = self.folder / "kept"
        return Counter(file.read_text().rpartition("\n")[0].splitlines() if file.exists() else [])

    async def until_kept(self, share: float) -> None:
        """Return once the sink has got this share of the messages."""
        await until(lambda: len(self.kept()) >= share * self.count, seconds=FLOW_SECONDS)

    def faults(self) -> tuple[int, int]:
        """How many messages are missing at the sink, and how many have come there more than once."""
        kept = self.kept()
        assert set(kept) <= self.wanted, "no other messages"
        return len(self.wanted) - len(kept), kept.total() - len(kept)

    @property
    def wanted(self) -> set[str]:
        return {f"{2 * number} message-{number}" for number in range(self.count)}

    async def lost(self, name: str) -> int:
        """What the binding of the step counts as lost."""
        binding = await self.rig.cluster.client.get(TRANSPORT_BINDING, f"{self.name}-{name}-transport", NAMESPACE_NAME)
        return int((status_of(binding).get("stream") or {}).get("lost", 0))

    def kill(self, name: str) -> None:
        """Kill the process of the step; its node starts another one.

        Raises:
            LookupError: none runs now.
        """
        variables = {f"BUBU_STORYRUN_ID={self.name}".encode(), f"BUBU_STEP_NAME={name}".encode()}
        command = [os.fsencode(word) for word in self._command(name)]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                found, words = ((process / file).read_bytes().split(b"\0") for file in ("environ", "cmdline"))
            except OSError:  # it is not ours, or has ended
                continue
            if variables <= {*found} and words[: len(command)] == command:
                os.kill(int(process.name), signal.SIGKILL)
                return
        raise LookupError(f"{name} of {self.name} is not running")

    async def restarts(self) -> int:
        """How often the containers of all Pods of the namespace were started again."""
        return sum((await self.rig.pods()).values())

    async def _container(self, name: str) -> None:
        await streaming_engram(self.rig, self._engram(name), self._command(name), address=self.address[name])

    def _engram(self, name: str) -> str:
        return f"{self.name}-{name}"

    def _command(self, name: str) -> list[str]:
        version = self.versions[name]
        program = [sys.executable, str(NUMBERS)] if version == PYTHON else [str(go_engram(version))]
        return {
            "source": [*program, "source", str(self.count), self.pause, *([str(self.folder)] if self.waits else [])],
            "transform": [*program, "transform"],
            "sink": [*program, "sink", str(self.folder / "kept")],
        }[name]


NUMBERS: Final = Path(__file__).parent / "engrams" / "number_stream.py"
NEEDS: Final[Mapping[str, tuple[str, ...]]] = {"source": (), "transform": ("source",), "sink": ("transform",)}
