"""Containers on the real Go SDK in the rig of realtime runs: the program of ``control_plane/toolchain/go-engram-*``.

With TLS they trust the hub by the authority that the operator gives them. Their own file of hosts takes the name of
the hub for this machine.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from core.api.objects import Object
from core.api.resource import TRANSPORT, TRANSPORT_BINDING
from tests.e2e.control_plane.binaries import ensure_tool
from tests.e2e.stream_rig import TLS_HOST, StreamRig
from tests.integration.operator_cluster import NAMESPACE_NAME, status_of, step

VERSIONS: Final = ("0.1.4", "0.1.5")
OLD, NEW = VERSIONS
LINE: Final = ("source", "transform", "sink")
"""The steps of a stream."""
AT_LEAST_ONCE: Final[Object] = {"delivery": {"semantics": "at_least_once"}}


def go_engram(version: str) -> Path:
    """The program on this version of the SDK.

    Raises:
        MissingBinariesError: there is no Go to build it with.
    """
    return ensure_tool(f"go-engram-{version}")


@dataclass(frozen=True)
class GoStream:
    """A finite stream: a source of ``count`` numbers, a transform that doubles them, and a sink.

    Its Story, its Transport, its run and its folder have the same name.
    """

    rig: StreamRig
    name: str
    count: int
    pause: str = "1ms"
    """Of the source, after each number."""
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

    async def restarts(self) -> int:
        """How often the containers of all Pods of the namespace were started again."""
        return sum((await self.rig.pods()).values())

    async def _container(self, name: str) -> None:
        hosts = self.folder / f"hosts-{name}"
        hosts.write_text(f"127.0.0.1 localhost\n{self.address[name]} {TLS_HOST}\n")
        command = shlex.join([str(go_engram(self.versions[name])), *self._arguments(name)])
        script = f"mount --bind {hosts} /etc/hosts && exec {command}"
        modes: Object = {"supportedModes": ["deployment"]}
        await self.rig.cluster.engram(self._engram(name), script, engram={"mode": "deployment"}, **modes)

    def _engram(self, name: str) -> str:
        return f"{self.name}-{name}"

    def _arguments(self, name: str) -> list[str]:
        return {
            "source": ["source", str(self.count), self.pause, *([str(self.folder)] if self.waits else [])],
            "transform": ["transform"],
            "sink": ["sink", str(self.folder / "kept")],
        }[name]


NEEDS: Final[Mapping[str, tuple[str, ...]]] = {"source": (), "transform": ("source",), "sink": ("transform",)}
