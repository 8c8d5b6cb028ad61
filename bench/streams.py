"""How soon a realtime run is connected, streams again after its hub was killed, and what it costs at rest.

On the embedded cluster, and on a real control plane with our node (``tests.e2e.stream_rig``). The steps are three
programs on the Python SDK. From each time for connecting, the time is taken that the same programs take to start, all
at once and without a cluster, right before (``tests.e2e.stream_times``).
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import trio

from bench.report import Row, Unit, Value, exactly
from tests.e2e.stream_proof import IDLE_SECONDS, kill_the_operator_while_packets_flow, rest_for_a_minute
from tests.e2e.stream_rig import StreamRig, open_embedded_rig, open_real_rig
from tests.e2e.stream_times import (
    CONNECTED_SECONDS,
    STREAMING_AGAIN_SECONDS,
    kill_the_hub,
    start_of_hub,
    starts_of_steps,
    time_to_connect,
)
from tests.integration.operator_cluster import install_on
from tools.control_plane.session import SessionCluster, running_cluster

ROUNDS: Final = 7
_WARM_MESSAGES: Final = 50

OpenRig: TypeAlias = Callable[[], AbstractAsyncContextManager[tuple[StreamRig, Path]]]
"""A new rig, and a folder for files of the measurement."""


@dataclass
class _Times:
    """Seconds, one of each round."""

    starts: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    run: list[float] = field(default_factory=list)
    hub: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)


def measure() -> list[Row]:
    before = os.getloadavg()[0]
    rows = trio.run(_rows, "embedded", _embedded)
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-") as folder, running_cluster(Path(folder)) as real:
        trio.run(install_on, real)
        rows += trio.run(_rows, "real API server", lambda: _on_server(real))
    return [*rows, Row("load average of the machine", f"{before:.1f} before, {os.getloadavg()[0]:.1f} after")]


async def _rows(platform: str, open_rig: OpenRig) -> list[Row]:
    times = _Times()
    for _ in range(ROUNDS):
        async with open_rig() as (rig, folder):
            await _round(rig, folder, times)
    async with open_rig() as (rig, _):
        await time_to_connect(rig)
        # The next two raise an error if anything is written, lost or repeated: what they return has zero of it.
        used = await rest_for_a_minute(rig)
        flow = await kill_the_operator_while_packets_flow(rig)
    beyond = [steps - starts for steps, starts in zip(times.steps, times.starts, strict=True)]
    processor = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in used.items())
    return [
        Row(f"{platform}: apply → all three streams connected, by their StepRuns", _spread(times.steps)),
        Row("… their programs alone, started at once, until they call a hub", _spread(times.starts)),
        Row("… beyond the starts", _spread(beyond, at_most=CONNECTED_SECONDS)),
        Row("… apply → the StoryRun shows it", _spread(times.run)),
        Row(
            "… `kill -9` of the hub → next message at the sink",
            _spread(times.again, at_most=STREAMING_AGAIN_SECONDS),
        ),
        Row("… start of a hub alone", _spread(times.hub)),
        Row(f"… API writes in {IDLE_SECONDS:.0f} idle seconds, without Leases", exactly(0, 0)),
        Row("… CPU meanwhile", processor),
        Row(
            f"… `kill -9` of the operator at {flow.deaths} instants: of {flow.messages} messages lost or repeated",
            exactly(0, 0),
        ),
        Row(
            "… longest gap at the sink, before and in all",
            f"{flow.longest_gap_before * 1000:.0f} ms, {flow.longest_gap * 1000:.0f} ms",
        ),
    ]


async def _round(rig: StreamRig, folder: Path, times: _Times) -> None:
    times.starts.append(await starts_of_steps(folder / "starts", hub=not rig.hub_runs))
    connected = await time_to_connect(rig)
    times.steps.append(connected.steps)
    times.run.append(connected.run)
    rig.let_flow()
    await rig.until_kept(_WARM_MESSAGES)
    times.hub.append(await start_of_hub(folder / "hub"))
    times.again.append(await kill_the_hub(rig))


@asynccontextmanager
async def _embedded() -> AsyncIterator[tuple[StreamRig, Path]]:
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-") as folder:
        async with open_embedded_rig(Path(folder)) as rig:
            yield rig, Path(folder)


@asynccontextmanager
async def _on_server(real: SessionCluster) -> AsyncIterator[tuple[StreamRig, Path]]:
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-") as folder:
        async with open_real_rig(Path(folder), real, elect=True) as rig:
            yield rig, Path(folder)


def _spread(seconds: list[float], *, at_most: float | None = None) -> Value:
    note = f" ({min(seconds):.2f} to {max(seconds):.2f})"
    return Value(statistics.median(seconds), Unit(" s", digits=2), at_most=at_most, note=note)
