"""What streams of containers lose and repeat: undisturbed, under kills, and when connections break.

On a real control plane, with TLS: a source of numbers, a transform and a sink, on the real Go SDK or on ours. What is
missing at the sink is compared with what ``status.stream.lost`` counts. docs/hub.md says what may be lost.
"""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import trio

from bench.report import Row, Value, exactly
from tests.e2e.go_sdk_rig import LINE, NEW, OLD, PYTHON, GoStream
from tests.e2e.stream_rig import StreamRig, open_real_rig
from tests.integration.operator_cluster import install_on
from tools.control_plane.link import Link, open_link
from tools.control_plane.ports import unshared_port
from tools.control_plane.session import SessionCluster, running_cluster

SIZES: Final = (200, 2_000, 20_000)
STREAMS: Final = 20
"""Undisturbed ones of each size."""
AT_ONCE: Final = 5
"""Undisturbed ones that share a rig."""
MESSAGES: Final = 3_000
"""Of a stream with faults."""
FAULTS: Final = 3
"""In each of them, all of one kind."""
DISTURBED: Final = 17
"""Streams with kills, and as many with broken connections."""
KILLED: Final = ("operator", "hub", "source", "transform", "sink")
BROKEN: Final = LINE
ADDRESSES: Final = {"source": "127.0.0.1", "transform": "127.0.0.2", "sink": "127.0.0.3"}
"""Each step comes another way to the hub."""


@dataclass
class Found:
    """What was found in some streams, summed."""

    streams: int = 0
    succeeded: int = 0
    faults: int = 0
    missing: int = 0
    counted: int = 0
    """As lost, by ``status.stream.lost`` of the three bindings."""
    doubled: int = 0
    uncounted: int = 0
    """How many more are missing than are counted: the sum over the streams."""

    async def add(self, stream: GoStream, faults: int) -> None:
        status = await stream.rig.ended(stream.name)
        missing, doubled = stream.faults()
        counted = sum([await stream.lost(name) for name in LINE])
        self.streams += 1
        self.succeeded += status["phase"] == "Succeeded"
        self.faults += faults
        self.missing += missing
        self.counted += counted
        self.doubled += doubled
        self.uncounted += max(0, missing - counted)

    def row(self, what: str, *, exact: bool) -> Row:
        """``exact``: nothing may be missing."""
        missing = exactly(self.missing, 0) if exact else Value(self.missing)
        return Row(
            f"{what}: runs that succeeded of {self.streams}; missing; of these not counted; repeated",
            (exactly(self.succeeded, self.streams), missing, Value(self.uncounted), Value(self.doubled)),
        )


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-") as folder, running_cluster(Path(folder)) as real:
        trio.run(install_on, real)
        rows = [row for size in SIZES for row in trio.run(_undisturbed, real, size)]
        for sdk in ("Go", PYTHON):
            rows += trio.run(_disturbed, real, sdk)
    return rows


async def _undisturbed(real: SessionCluster, size: int) -> list[Row]:
    found = Found()
    numbers = iter(range(STREAMS))
    while batch := list(islice(numbers, AT_ONCE)):
        async with _opened(real) as (rig, _):
            streams = [
                GoStream(rig, f"s{number}", size, versions=dict.fromkeys(LINE, (OLD, NEW)[number % 2]))
                for number in batch
            ]
            for stream in streams:
                await stream.apply()
            for stream in streams:
                await found.add(stream, 0)
    what = f"{found.streams} undisturbed streams of {size:,} messages: runs that succeeded"
    faults = (exactly(each, 0) for each in (found.missing, found.counted, found.doubled))
    return [Row(f"{what}; missing; counted as lost; repeated", (exactly(found.succeeded, STREAMS), *faults))]


async def _disturbed(real: SessionCluster, sdk: str) -> list[Row]:
    """Streams one after the other, each with faults of one kind."""
    chance = random.Random(39)
    found: dict[str, Found] = defaultdict(Found)
    versions = dict.fromkeys(LINE, PYTHON) if sdk == PYTHON else {"source": NEW, "transform": OLD, "sink": NEW}
    async with _opened(real) as (rig, links):
        for number, kind in enumerate([*islice(cycle(KILLED), DISTURBED), *islice(cycle(BROKEN), DISTURBED)]):
            stream = GoStream(rig, f"s{number}", MESSAGES, versions=versions, address=ADDRESSES)
            await stream.apply()
            for part in range(FAULTS):
                await stream.until_kept((part + chance.uniform(0.1, 0.7)) / FAULTS)
                if number >= DISTURBED:
                    links[kind].cut()
                elif kind in LINE:
                    stream.kill(kind)
                else:
                    await {"operator": rig.operator, "hub": rig.hub}[kind].kill()
            what = "connections cut" if number >= DISTURBED else "`kill -9`"
            await found[f"{kind}, {what}"].add(stream, FAULTS)
    return list(_rows(found, sdk))


def _rows(found: Mapping[str, Found], sdk: str) -> Iterator[Row]:
    """What a hub holds of producers on the Go SDK is lost with it. So is what their SDK had not sent: with the
    connection. Nobody can count either.
    """
    for fault, each in found.items():
        exact = sdk == PYTHON or fault.partition(",")[0] not in ("hub", "source")
        times = f"{each.faults} times in {each.streams * MESSAGES:,} messages"
        yield each.row(f"{sdk.title()} SDK, {fault} {times}", exact=exact)


@asynccontextmanager
async def _opened(real: SessionCluster) -> AsyncIterator[tuple[StreamRig, Mapping[str, Link]]]:
    """A rig, and the way of each step to its hub."""
    way = unshared_port()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bobrapet-bench-"))
        rig = await stack.enter_async_context(open_real_rig(Path(folder), real, tls=True, way=way))
        links = {
            name: await stack.enter_async_context(open_link(f"tcp://127.0.0.1:{rig.port}", host=address, port=way))
            for name, address in ADDRESSES.items()
        }
        yield rig, links
