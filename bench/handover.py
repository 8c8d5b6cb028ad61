"""Measures how soon an operator that waits for the Lease works after it has got it: it has read everything before.

Two operators with leader election run, and no other one. Each time the one that leads is ended, and a run is started
that the other one finds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import trio

from bench.process import cpu_seconds, resident_bytes, until_idle
from bench.stand import start_run
from core.api import keys
from core.api.objects import Object
from core.api.resource import JOB, LEASE
from core.kube.client import KubeClient
from core.kube.watch import open_watch
from core.kube.watch_line import WatchEvent
from tools.control_plane.processes import ServerProcess, open_process

LEASE_NAME = "d3a8b358.bubustack.io"
HANDOVERS = 15
DEADLINE_SECONDS = 60.0


class Handover(NamedTuple):
    """Medians of ``HANDOVERS``."""

    start: float
    """CPU seconds of an operator until it is idle and waits for the Lease."""
    memory: float
    """Its bytes then."""
    seconds: float
    """From the Lease to the first Job of a run that waited for it."""


async def measure_handover(client: KubeClient, kubeconfig: Path, story: str, prefix: str, directory: Path) -> Handover:
    """
    Args:
        client: of an administrator; ``kubeconfig`` is that of the operators.
        prefix: of the names of runs.
    """
    found: list[Handover] = []
    async with AsyncExitStack() as stack:
        leading = await stack.enter_async_context(_operator(kubeconfig, directory, f"{prefix}-0"))
        await _until_it_leads(client)
        for number in range(1, HANDOVERS + 1):
            waiting = await stack.enter_async_context(_operator(kubeconfig, directory, f"{prefix}-{number}"))
            await until_idle(waiting.pid)
            start, memory = cpu_seconds([waiting.pid]), resident_bytes(waiting.pid)
            seconds = await _handed_over(client, leading, story, f"{prefix}-handover-{number}")
            found.append(Handover(start, memory, seconds))
            leading = waiting
    return Handover(*map(median, zip(*found, strict=True)))


async def _handed_over(client: KubeClient, leading: ServerProcess, story: str, run: str) -> float:
    before, version = await _holder(client), (await client.list(JOB)).resource_version
    at: dict[str, float] = {}

    async def note(what: str, events: trio.MemoryReceiveChannel[WatchEvent], is_it: Callable[[Object], bool]) -> None:
        async for event in events:
            if is_it(event.object):
                at[what] = trio.current_time()
                return

    def has_another_holder(lease: Object) -> bool:
        return lease["metadata"]["name"] == LEASE_NAME and _holder_of(lease) not in ("", before)

    def is_of_run(job: Object) -> bool:
        return bool((job["metadata"].get("labels") or {}).get(keys.LABEL_STORY_RUN) == run)

    with trio.fail_after(DEADLINE_SECONDS):
        async with (
            open_watch(client, LEASE, resource_version=version) as leases,
            open_watch(client, JOB, resource_version=version) as jobs,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(note, "lease", leases, has_another_holder)
            nursery.start_soon(note, "job", jobs, is_of_run)
            await leading.stop()
            await start_run(client, story, run)
            at["run"] = trio.current_time()
    return at["job"] - max(at["lease"], at["run"])


async def _until_it_leads(client: KubeClient) -> None:
    with trio.fail_after(DEADLINE_SECONDS):
        while not await _holder(client):  # noqa: ASYNC110 - only before the measurement
            await trio.sleep(0.1)


async def _holder(client: KubeClient) -> str:
    leases = (await client.list(LEASE)).items
    return next((_holder_of(lease) for lease in leases if lease["metadata"]["name"] == LEASE_NAME), "")


def _holder_of(lease: Object) -> str:
    return str(lease["spec"].get("holderIdentity") or "")


def _operator(kubeconfig: Path, directory: Path, name: str) -> AbstractAsyncContextManager[ServerProcess]:
    command = [
        *(sys.executable, "-m", "cli", "manager", f"--kubeconfig={kubeconfig}"),
        "--health-probe-bind-address=0",
        "--webhook-bind-address=0",
        "--metrics-bind-address=0",
    ]
    return open_process(name, command, directory)
