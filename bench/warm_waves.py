"""A pool of warm workers whose work comes in waves, on a real control plane, while the operator is killed now and then.

The pool grows and shrinks all the time. No attempt may be lost: a worker that is taken away is idle.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

import orjson
import trio

from bench.plane.stand import ROOT, PlaneStand, open_plane_stand
from bench.progress import open_progress
from bench.report import Row, exactly
from bench.stand import NAMESPACE, start_run
from core.api.objects import Object
from core.api.resource import DEPLOYMENT, ENGRAM, ENGRAM_TEMPLATE, STEP_RUN, STORY, STORY_RUN, Resource
from core.kube.informer import Change, Informer
from tools.control_plane.node import open_node
from tools.control_plane.processes import ServerError

SECONDS: Final = 240.0
KILL_EVERY: Final = (17.0, 28.0)
"""Seconds; the next operator waits for the Lease of the one before."""
WARM: Final = {"replicas": 1, "maxReplicas": 6, "concurrencyPerWorker": 2, "idleTimeout": "1s"}
LENGTHS: Final = (0.05, 0.2, 1.0, 3.0, 8.0, 20.0)
"""Seconds that a step works, chosen at random."""
_WAVE_SECONDS: Final = 28.0
_LEAST_RATE, _MORE_RATE = 0.4, 2.2
"""Runs a second between waves, and how many more at their heights."""
_SEED: Final = 7
_IMAGE: Final = "bench/waves:1"
_PROGRAM: Final = Path(__file__).with_name("warm_waves_engram.py")


@dataclass
class _Sizes:
    """Each size of the pool, in order."""

    seen: list[int] = field(default_factory=list)

    def note(self, change: Change) -> None:
        if change.new is not None and self.seen[-1:] != (size := [change.new["spec"]["replicas"]]):
            self.seen += size

    def changes(self, *, up: bool) -> int:
        return sum((after > before) is up for before, after in pairwise(self.seen))


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-") as folder:
        return trio.run(_measure, Path(folder))


async def _measure(folder: Path) -> list[Row]:
    chance, sizes, killed = random.Random(_SEED), _Sizes(), [0]
    async with _open_stand(folder) as stand:
        await _install(stand)
        async with open_progress(stand.client) as progress, trio.open_nursery() as nursery:
            deployments = Informer(stand.client, DEPLOYMENT, namespace=NAMESPACE)
            deployments.add_handler(sizes.note)
            await nursery.start(deployments.run)
            async with trio.open_nursery() as killing:
                killing.start_soon(_kill_the_operator, stand, chance, killed)
                names = await _start_runs(stand, chance)
                killing.cancel_scope.cancel()
            with trio.fail_after(300):
                await progress.wait_for_ends(set(names))
            nursery.cancel_scope.cancel()
        runs = (await stand.client.list(STORY_RUN, NAMESPACE)).items
        step_runs = (await stand.client.list(STEP_RUN, NAMESPACE)).items
    return [
        Row("runs of one warm step that succeeded", exactly(_count(runs, phase="Succeeded"), len(names))),
        Row("kills of the operator", str(killed[0])),
        Row("times that the pool grew", str(sizes.changes(up=True))),
        Row("times that it shrank", str(sizes.changes(up=False))),
        Row("attempts that were lost", exactly(sum(each["status"].get("retries") or 0 for each in step_runs), 0)),
    ]


def _count(runs: list[Object], phase: str) -> int:
    return sum(each["status"]["phase"] == phase for each in runs)


@asynccontextmanager
async def _open_stand(folder: Path) -> AsyncIterator[PlaneStand]:
    python = ["/usr/bin/env", f"PYTHONPATH={ROOT / 'sdk'}", sys.executable]
    images = folder / "images.json"
    images.write_bytes(orjson.dumps({"images": {_IMAGE: {"command": [*python, str(_PROGRAM)]}}}))
    async with AsyncExitStack() as stack:
        stand = await stack.enter_async_context(open_plane_stand(instant_node=False))
        await stack.enter_async_context(open_node(stand.plane, images, folder / "node"))
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(stand.keep_the_operator)
        yield stand
        nursery.cancel_scope.cancel()


async def _install(stand: PlaneStand) -> None:
    retry = {"maxRetries": 3, "delay": "100ms"}
    step = {"name": "a", "ref": {"name": "waves"}, "with": {"seconds": "{{ inputs.seconds }}"}}
    template = {"image": _IMAGE, "version": "1", "supportedModes": ["job", "worker"]}
    await stand.client.create(ENGRAM_TEMPLATE, _manifest(ENGRAM_TEMPLATE, template))
    engram = {"templateRef": {"name": "waves"}, "overrides": {"warm": WARM, "retry": retry}}
    await stand.client.create(ENGRAM, _manifest(ENGRAM, engram), namespace=NAMESPACE)
    await stand.client.create(STORY, _manifest(STORY, {"steps": [step]}), namespace=NAMESPACE)


def _manifest(resource: Resource, spec: Object) -> Object:
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "waves"}, "spec": spec}


async def _start_runs(stand: PlaneStand, chance: random.Random) -> list[str]:
    """At random instants, more and less of them by turns; returns their names."""
    began_at, names = trio.current_time(), list[str]()
    while (passed := trio.current_time() - began_at) < SECONDS:
        names.append(f"run-{len(names)}")
        await start_run(stand.client, "waves", names[-1], {"seconds": chance.choice(LENGTHS)})
        rate = _LEAST_RATE + _MORE_RATE * math.sin(math.pi * passed / _WAVE_SECONDS) ** 2
        await trio.sleep(chance.expovariate(rate))
    return names


async def _kill_the_operator(stand: PlaneStand, chance: random.Random, killed: list[int]) -> None:
    while True:
        await trio.sleep(chance.uniform(*KILL_EVERY))
        with suppress(ServerError):
            os.kill(stand.operator.pid, signal.SIGKILL)
            killed[0] += 1
