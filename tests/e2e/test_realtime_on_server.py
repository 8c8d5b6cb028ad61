"""Realtime runs on a real kube-apiserver, with everything that is a program of its own in an installation.

Real are etcd, kube-apiserver, and kube-controller-manager, whose controllers make Pods of Deployments and StatefulSets.
Operator and hub are processes with the rights of an installation, and the steps are programs on the Python SDK. Ours
is the node, instead of kubelet and scheduler (``stream_rig``).
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
import trio

from core.api.resource import DEPLOYMENT, POD, STATEFUL_SET
from core.engine.clock import system_now
from tests.e2e.control_plane.history import Write, following
from tests.e2e.control_plane.session import SessionCluster
from tests.e2e.stream_rig import STEPS, Kept, StreamRig, open_stream_rig, until
from tests.integration.operator_cluster import step_phases

IDLE_SECONDS: Final = 12.0
"""Longer than counts of the hub and of repeated Events may wait before they are written, which is 10 s."""
LEASES: Final = (
    "leases/bobrapet-system/bobrapet-hub",
    "leases/bobrapet-system/d3a8b358.bubustack.io",
    "leases/kube-node-lease/local",
    "leases/kube-system/apiserver-",
    "peerserverleases/apiserver-",
)
"""Of the hub, the operator, the node, and kube-apiserver."""
SETTLE_SECONDS: Final = 0.3
"""For what the sink has got from a hub that was killed."""
HUB_BACK_SECONDS: Final = 20.0
LONGEST_GAP_SECONDS: Final = 3.0
"""Between two messages at the sink; about 0.01 without load."""
DEATHS: Final = 3


def assert_whole(kept: list[Kept]) -> None:
    """Every number in order and once, and the transform has counted and added them all."""
    numbers = range(len(kept))
    assert [each.n for each in kept] == list(numbers)
    assert [each.messages for each in kept] == [n + 1 for n in numbers]
    assert [each.total for each in kept] == [n * (n + 1) // 2 for n in numbers]


def longest_gap(kept: list[Kept]) -> float:
    return max(later.at - earlier.at for earlier, later in itertools.pairwise(kept))


async def nothing_runs(rig: StreamRig) -> None:
    for kind in (DEPLOYMENT, STATEFUL_SET, POD):
        await rig.cluster.none_left(kind)


@dataclass
class Writes:
    """Instants of the last write to each object, and of all renewals of Leases."""

    objects: dict[str, float] = field(default_factory=dict)
    leases: list[tuple[str, float]] = field(default_factory=list)

    def note(self, write: Write) -> None:
        if write.key.startswith(LEASES):
            self.leases.append((write.key, time.monotonic()))
        else:
            self.objects[write.key] = time.monotonic()

    async def until_only_leases(self, seconds: float) -> None:
        """Return once nothing else was written for so long; prints how often Leases were meanwhile."""
        try:
            await until(lambda: max(self.objects.values()) < time.monotonic() - seconds)
        except trio.TooSlowError:
            newest = sorted(self.objects, key=lambda key: -self.objects[key])
            pytest.fail(f"these are written again and again: {newest[:20]}")
        renewed = Counter(key for key, at in self.leases if at > time.monotonic() - seconds)
        assert renewed.keys() >= set(LEASES[:2]), "both of ours are alive"
        print(f"in {seconds:.0f} s nothing was written but {dict(renewed)}")


@asynccontextmanager
async def recording(rig: StreamRig) -> AsyncIterator[Writes]:
    """What etcd reports: the writes of every program of the cluster. Events count."""
    writes = Writes()
    async with following(rig.etcd_url, writes.note, without=()):
        yield writes


async def begin(rig: StreamRig) -> None:
    """A run whose streams are all connected."""
    submitted_at = system_now().timestamp()
    await rig.submit()
    await rig.until_connected()
    shown_at, began_at = system_now().timestamp(), max(rig.began().values())
    print(
        f"{began_at - submitted_at:.2f} s from the submission to the start of the last container, "
        f"{shown_at - began_at:.2f} s until the run shows all streams as connected"
    )


async def test_an_idle_run_writes_nothing_and_streams_after_its_hub_was_killed(
    tmp_path: Path, steerable: SessionCluster
) -> None:
    """The steps are not started again: their SDKs connect to the next hub. What a hub held may be lost or repeated."""
    async with open_stream_rig(tmp_path, steerable, elect=True) as rig:
        async with recording(rig) as writes:
            await begin(rig)
            await writes.until_only_leases(IDLE_SECONDS)
        rig.let_flow()
        await rig.until_kept(50)
        pods = await rig.pods()
        await rig.hub.kill()
        await trio.sleep(SETTLE_SECONDS)
        before = rig.kept()[-1]
        began_at = time.monotonic()
        rig.hub.start()
        await rig.until_hub_listens()
        listened_at = time.monotonic()
        await until(lambda: rig.kept()[-1].n > before.n, seconds=HUB_BACK_SECONDS)
        print(
            f"the next hub listened {listened_at - began_at:.2f} s after its process was started, and the sink got a "
            f"new message {rig.kept()[-1].at - listened_at:.2f} s later"
        )
        await rig.until_connected()
        await rig.until_kept(50)
        assert await rig.pods() == pods
        assert [each.messages for each in rig.kept()].count(1) == 1, "the transform has kept its state"
        rig.let_end()
        assert (await rig.ended())["phase"] == "Succeeded"


async def test_no_packet_stops_while_the_operator_is_killed(tmp_path: Path, steerable: SessionCluster) -> None:
    """At random instants. Then the source ends while there is no operator, and the next one records that."""
    chance = random.Random(5)
    async with open_stream_rig(tmp_path, steerable) as rig:
        await begin(rig)
        rig.let_flow()
        await rig.until_kept(150)
        undisturbed, pods = rig.kept(), await rig.pods()
        for _ in range(DEATHS):
            await trio.sleep(chance.uniform(0.1, 2.0))
            await rig.operator.kill()
            await rig.until_kept(30)
            rig.operator.start()
        await rig.until_kept(50)
        assert await rig.pods() == pods
        await rig.operator.kill()
        rig.let_end()
        await until(lambda: len(rig.kept()) == rig.sent())
        rig.operator.start()
        status = await rig.ended()
        assert status["phase"] == "Succeeded", status
        assert step_phases({"status": status}) == dict.fromkeys(STEPS, "Succeeded")
        kept = rig.kept()
        assert_whole(kept)
        assert len(kept) == rig.sent()
        print(
            f"{len(kept)} messages, {DEATHS + 1} deaths; longest gap at the sink: {longest_gap(undisturbed):.3f} s "
            f"before the first death, {longest_gap(kept):.3f} s in all"
        )
        await nothing_runs(rig)
        assert longest_gap(kept) < LONGEST_GAP_SECONDS


async def test_a_cancel_of_a_run_by_tls_loses_nothing_that_was_sent(tmp_path: Path, steerable: SessionCluster) -> None:
    """The hub has its certificate from the operator, and the containers its authority from a ConfigMap."""
    async with open_stream_rig(tmp_path, steerable, tls=True) as rig:
        await begin(rig)
        rig.let_flow()
        await rig.until_kept(100)
        await rig.cancel()
        status = await rig.ended()
        assert status["phase"] == "Finished", status
        assert step_phases({"status": status}) == dict.fromkeys(STEPS, "Canceled")
        assert_whole(rig.kept())
        assert len(rig.kept()) >= rig.sent(), "the last one may have been sent without a note"
        await nothing_runs(rig)
