"""Measures the memory of a whole operator: with 1,000 live steps that report as much as they may, and with huge
objects.

The operator is a process of the embedded cluster. The cluster ends an operator that is not ready within 30 seconds
after a restart; this happens here if the machine does other work. The cluster has no admission, so it accepts huge
objects.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import httpx
import orjson
import trio

from bench.live_steps import MIB, STEPS, STEPS_OF_A_RUN, largest_status, operator_memory
from bench.process import cpu_seconds, peak_resident_bytes
from bench.report import Row
from bench.stand import NAMESPACE, Stand, open_stand, start_run
from core.api.objects import Object
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, STEP_RUN, STORY, STORY_RUN, Resource
from core.kube.client import KubeClient

ABSENT_IMAGE: Final = "absent/image:1"
"""No Pod with this image ever starts, so its steps stay live and need no processes."""
STORY_NAME: Final = "wide"
HUGE_OBJECTS: Final = 28
HUGE_VALUES: Final = 149_000
"""Elements ``{"a":{}}`` in one object: 1.35 MB, the kind of data that takes most memory for its length."""
DEADLINE_SECONDS: Final = 300.0
AT_ONCE: Final = 16
"""The number of concurrent requests of the load."""
IDLE_SECONDS: Final = 2.0


def rows() -> list[Row]:
    return trio.run(_rows)


async def _rows() -> list[Row]:
    arrived, restarted = await _peaks(_live_steps, STEPS, restarts=True)
    what = f"{STEPS:,} live StepRuns of {STEPS // STEPS_OF_A_RUN} live runs that report as much as they may"
    values = (operator_memory(arrived), operator_memory(restarted))
    found = [Row(f"an operator process at most, {what}: as they report; started again beside them", values)]
    for kind in HUGE_SPECS:
        (arrived,) = await _peaks(partial(_huge_objects, kind=kind), 0)
        what = f"{HUGE_OBJECTS} objects of 1.35 MB of kind {kind.kind}"
        found.append(Row(f"an operator process at most, {what}: as they are created", operator_memory(arrived)))
    return found


async def _peaks(load: Callable[[Stand], Awaitable[None]], steps: int, *, restarts: bool = False) -> list[float]:
    """Returns the peak MiB of an operator that sees all objects arrive, and of one that lists them when it starts.

    Each call uses a new cluster.

    Args:
        load: creates all objects in the cluster.
        steps: the number of steps that the operator supervises afterwards.
    """
    with trio.fail_after(DEADLINE_SECONDS):
        async with open_stand() as stand:
            await load(stand)
            peaks = [await _peak(stand, steps)]
            if restarts:
                os.kill(stand.operator_pid(), signal.SIGKILL)
                peaks.append(await _peak(stand, steps))
            return peaks


async def _peak(stand: Stand, steps: int) -> float:
    """Returns the peak MiB when the operator supervises ``steps`` steps and is idle."""
    while await _steps_at_work(stand) != steps:  # noqa: ASYNC110 - metrics tell nobody that they change
        await trio.sleep(0.2)
    while True:
        pid = stand.operator_pid()
        before = cpu_seconds([pid])
        await trio.sleep(IDLE_SECONDS)
        if cpu_seconds([pid]) - before < IDLE_SECONDS / 10:
            return peak_resident_bytes(pid) / MIB


async def _steps_at_work(stand: Stand) -> float | None:
    """The number of steps; None while the operator does not answer."""
    try:
        return await stand.steps_at_work()
    except (LookupError, httpx.TransportError):
        return None


async def _live_steps(stand: Stand) -> None:
    """Starts runs of parallel steps; each step reports as a container would."""
    client = stand.client
    await _install(client)
    await _together([partial(start_run, client, STORY_NAME, f"run-{n}") for n in range(STEPS // STEPS_OF_A_RUN)])
    while len(await _step_runs(client)) < STEPS:  # noqa: ASYNC110 - asking is cheaper than a watch
        await trio.sleep(1)
    report = {key: value for key, value in orjson.loads(largest_status()).items() if key == "output"}
    await _together(
        [
            partial(client.patch, STEP_RUN, name, {"status": report}, namespace=NAMESPACE, subresource="status")
            for name in await _step_runs(client)
        ]
    )


async def _step_runs(client: KubeClient) -> list[str]:
    """The names of all StepRuns."""
    found = await client.list(STEP_RUN, NAMESPACE, keep=lambda step_run: {"metadata": step_run["metadata"]})
    return [step_run["metadata"]["name"] for step_run in found.items]


async def _huge_objects(stand: Stand, kind: Resource) -> None:
    await _install(stand.client)
    values: list[Object] = [{"a": {}}] * HUGE_VALUES
    for number in range(HUGE_OBJECTS):
        spec = HUGE_SPECS[kind](values)
        await stand.client.create(kind, _object(kind, f"huge-{number}", spec), namespace=NAMESPACE)


HUGE_SPECS: Final[dict[Resource, Callable[[list[Object]], Object]]] = {
    STORY_RUN: lambda values: {"storyRef": {"name": STORY_NAME}, "inputs": {"values": values}},
    STORY: lambda values: {"steps": [{"name": "a", "ref": {"name": STORY_NAME}, "with": {"values": values}}]},
    ENGRAM: lambda values: {"templateRef": {"name": STORY_NAME}, "with": {"values": values}},
}
"""Specs by kind, for the kinds that tenants write and the operator watches."""


async def _install(client: KubeClient) -> None:
    template = {"image": ABSENT_IMAGE, "version": "1", "supportedModes": ["job"]}
    manifest = _object(ENGRAM_TEMPLATE, STORY_NAME, template)
    del manifest["metadata"]["namespace"]
    await client.create(ENGRAM_TEMPLATE, manifest)
    engram = _object(ENGRAM, STORY_NAME, {"templateRef": {"name": STORY_NAME}})
    await client.create(ENGRAM, engram, namespace=NAMESPACE)
    steps = [{"name": f"s{number}", "ref": {"name": STORY_NAME}} for number in range(STEPS_OF_A_RUN)]
    await client.create(STORY, _object(STORY, STORY_NAME, {"steps": steps}), namespace=NAMESPACE)


async def _together(calls: list[Callable[[], Awaitable[object]]]) -> None:
    """Makes the calls; ``AT_ONCE`` of them run at the same time."""
    left = iter(calls)

    async def work() -> None:
        for call in left:
            await call()

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(work)


def _object(kind: Resource, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}
