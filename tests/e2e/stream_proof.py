"""What realtime runs must show on either kind of API server."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Final, NamedTuple

import trio

from core.api.resource import CONFIG_MAP
from tests.e2e.stream_rig import STEPS, Kept, StreamRig, until
from tests.e2e.stream_times import (
    CONNECTED_SECONDS,
    STREAMING_AGAIN_SECONDS,
    assert_in_time,
    kill_the_hub,
    longest_gap,
    start_of_hub,
    starts_of_workloads,
    time_to_connect,
)
from tests.e2e.stream_writes import HUB_LEASE, Writes, processor_seconds, recording
from tests.integration.operator_cluster import NAMESPACE_NAME, step_phases

IDLE_SECONDS: Final = 60.0
IDLE_PROCESSOR_SECONDS: Final = 6.0
"""Of operator, hub and three containers in that time: a tenth of a core. On a quiet machine it is less than one."""
LONGEST_GAP_SECONDS: Final = 3.0
"""Between two messages at the sink; about 0.02 without load."""
DEATHS: Final = 3


class Flow(NamedTuple):
    """What arrived at the sink, each message once, while the operator was killed. Gaps in seconds."""

    messages: int
    deaths: int
    longest_gap_before: float
    longest_gap: float


async def connect_in_time(rig: StreamRig, directory: Path) -> None:
    """Apply the Story and a run of it; returns when all of its streams are connected."""
    starts = [await starts_of_workloads(rig, directory / "before")]
    connected = await time_to_connect(rig)
    starts.append(await starts_of_workloads(rig, directory / "after"))
    print(f"the StoryRun showed all streams {connected.run - connected.steps:.2f} s after the StepRuns")
    what = "from the apply to all streams connected"
    assert_in_time(what, connected.steps, max(starts), CONNECTED_SECONDS)


async def rest_for_a_minute(rig: StreamRig) -> dict[str, float]:
    """A run whose streams are connected, and through which nothing flows, writes nothing.

    Returns the processor seconds of operator, hub and containers, some seconds before that minute included.
    """
    async with recording(rig) as writes:
        await _write_once(rig, writes)
        before = processor_seconds(rig)
        renewed = await writes.until_only_leases(IDLE_SECONDS)
        used = {name: seconds - before[name] for name, seconds in processor_seconds(rig).items()}
    print(f"in {IDLE_SECONDS:.0f} s nothing was written but {dict(renewed)}; processor seconds: {used}")
    assert HUB_LEASE in renewed, "the hub is alive, and the renewals of Leases are seen"
    assert sum(used.values()) < IDLE_PROCESSOR_SECONDS
    return used


async def _write_once(rig: StreamRig, writes: Writes) -> None:
    """Any object, to see that the write of a program is noticed."""
    earlier = time.monotonic()
    metadata = {"name": "written", "namespace": NAMESPACE_NAME}
    await rig.cluster.client.create(CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    await until(lambda: any(at > earlier for at in writes.objects.values()))


async def kill_the_hub_and_stream_again(rig: StreamRig, directory: Path) -> None:
    """The steps are not started again: their SDKs connect to the next hub. What a hub held may be lost or repeated."""
    rig.let_flow()
    await rig.until_kept(50)
    pods = await rig.pods()
    starts = [await start_of_hub(directory / "hub-before")]
    took = await kill_the_hub(rig)
    starts.append(await start_of_hub(directory / "hub-after"))
    await rig.until_connected()
    await rig.until_kept(50)
    assert await rig.pods() == pods
    assert [each.messages for each in rig.kept()].count(1) == 1, "the transform has kept its state"
    rig.let_end()
    assert (await rig.ended())["phase"] == "Succeeded"
    assert_in_time(
        "from the death of the hub to the next message", took, max(starts), STREAMING_AGAIN_SECONDS - min(starts)
    )


async def kill_the_operator_while_packets_flow(rig: StreamRig) -> Flow:
    """At random instants. Then the source ends while there is no operator, and the next one records that."""
    chance = random.Random(5)
    rig.let_flow()
    await rig.until_kept(150)
    undisturbed, pods = rig.kept(), await rig.pods()
    for _ in range(DEATHS):
        await trio.sleep(chance.uniform(0.1, 2.0))
        async with rig.operator.away():
            await rig.until_kept(30)
    await rig.until_kept(50)
    assert await rig.pods() == pods
    async with rig.operator.away():
        rig.let_end()
        await until(lambda: rig.source_ended() and len(rig.kept()) == rig.sent())
    status = await rig.ended()
    assert status["phase"] == "Succeeded", status
    assert step_phases({"status": status}) == dict.fromkeys(STEPS, "Succeeded")
    kept = rig.kept()
    assert_whole(kept)
    assert len(kept) == rig.sent()
    flow = Flow(len(kept), DEATHS + 1, longest_gap(undisturbed), longest_gap(kept))
    print(flow)
    await rig.nothing_runs()
    assert flow.longest_gap < LONGEST_GAP_SECONDS
    return flow


def assert_whole(kept: list[Kept]) -> None:
    """Every number in order and once, and the transform has counted and added them all."""
    numbers = range(len(kept))
    assert [each.n for each in kept] == list(numbers)
    assert [each.messages for each in kept] == [n + 1 for n in numbers]
    assert [each.total for each in kept] == [n * (n + 1) // 2 for n in numbers]
