"""What is written to the API server of a realtime run, other than Leases.

A real API server: etcd reports each write. The embedded one: each write makes a new version of the whole cluster, so
the versions of Leases are compared with that of the cluster.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from bench.process import command_line, cpu_seconds
from core.api.resource import LEASE
from tests.e2e.stream_rig import PROGRAM, StreamRig, until
from tools.control_plane.history import Write, following

HUB_LEASE: Final = "leases/bobrapet-system/bobrapet-hub"
OPERATOR_LEASE: Final = "leases/bobrapet-system/d3a8b358.bubustack.io"
LEASES: Final = (
    HUB_LEASE,
    OPERATOR_LEASE,
    "leases/kube-node-lease/local",
    "leases/kube-system/apiserver-",
    "peerserverleases/apiserver-",
)
"""Of the hub, the operator if it takes one, the node, and kube-apiserver."""
_LOOK_SECONDS: Final = 0.5
"""Shorter than the time between two renewals of one Lease."""
_SETTLING_SECONDS: Final = 60.0
"""At most for what follows the start of a run: counts of the hub and repeated Events wait for 10 s."""


@dataclass
class Writes:
    """Instants of the last write to each object, and of all renewals of Leases."""

    objects: dict[str, float] = field(default_factory=dict)
    leases: list[tuple[str, float]] = field(default_factory=list)

    def note(self, write: Write) -> None:
        self.note_key(write.key)

    def note_key(self, key: str) -> None:
        if key.startswith(LEASES):
            self.leases.append((key, time.monotonic()))
        else:
            self.objects[key] = time.monotonic()

    async def until_only_leases(self, seconds: float) -> Counter[str]:
        """Return once nothing else was written for so long: how often each Lease was meanwhile.

        Raises:
            AssertionError: other objects are written again and again; names them.
        """
        began = time.monotonic()
        try:
            await until(
                lambda: max((began, *self.objects.values())) < time.monotonic() - seconds,
                seconds=seconds + _SETTLING_SECONDS,
            )
        except trio.TooSlowError:
            newest = sorted(self.objects, key=lambda key: -self.objects[key])
            raise AssertionError(f"these are written again and again: {newest[:20]}") from None
        return Counter(key for key, at in self.leases if at > time.monotonic() - seconds)


@asynccontextmanager
async def recording(rig: StreamRig) -> AsyncIterator[Writes]:
    """The writes of every program of the cluster, during the block. Events count."""
    writes = Writes()
    if rig.etcd_url:
        async with following(rig.etcd_url, writes.note, without=()):
            yield writes
        return
    async with trio.open_nursery() as nursery:
        await nursery.start(_look_at_versions, rig, writes)
        yield writes
        nursery.cancel_scope.cancel()


async def _look_at_versions(
    rig: StreamRig, writes: Writes, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    version, leases = await _versions(rig)
    task_status.started()
    while True:
        await trio.sleep(_LOOK_SECONDS)
        last, before = version, leases
        version, leases = await _versions(rig)
        renewed = [name for name, of_lease in leases.items() if of_lease != before.get(name)]
        for name in renewed:
            writes.note_key(f"leases/{name}")
        if version - last != len(renewed):
            writes.note_key(f"{version - last - len(renewed)} writes before version {version}")


async def _versions(rig: StreamRig) -> tuple[int, dict[str, str]]:
    """Of the cluster, and of each Lease at that moment."""
    found = await rig.cluster.client.list(LEASE)
    versions = {
        f"{lease['metadata']['namespace']}/{lease['metadata']['name']}": lease["metadata"]["resourceVersion"]
        for lease in found.items
    }
    return int(found.resource_version), versions


def processor_seconds(rig: StreamRig) -> dict[str, float]:
    """Of the operator, the hub, and the containers together, since they began."""
    programs = {"operator": [rig.operator.pid], "hub": [rig.hub.pid], "containers": _containers(rig)}
    return {name: cpu_seconds(pids) for name, pids in programs.items()}


def _containers(rig: StreamRig) -> list[int]:
    words = (PROGRAM.name.encode(), str(rig.folder).encode())
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if all(word in command_line(pid) for word in words)]
