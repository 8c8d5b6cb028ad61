"""Measures runs that only wait: memory and CPU, and the time until a new operator supervises all of them."""

from __future__ import annotations

import trio

from bench.plane import audit
from bench.plane.figure import Figure
from bench.plane.stand import PlaneStand
from bench.process import cpu_seconds, resident_bytes
from bench.stand import NAMESPACE, start_run
from core.api.resource import STORY

COUNTS = (1000, 5000)
AT_A_TIME = 32
WATCH_SECONDS = 20.0
CALM_SECONDS = 15.0
SETTLED_SECONDS = 300.0
STORY_NAME = "asleep"


async def sleepers(stand: PlaneStand) -> list[Figure]:
    steps = [{"name": "only", "type": "sleep", "with": {"duration": "3h"}}]
    metadata = {"name": STORY_NAME, "namespace": NAMESPACE}
    story = {"apiVersion": STORY.api_version, "kind": STORY.kind, "metadata": metadata, "spec": {"steps": steps}}
    await stand.client.create(STORY, story, namespace=NAMESPACE)
    await _restart(stand)
    await trio.sleep(5)
    empty = resident_bytes(stand.operator.pid)
    figures: list[Figure] = []
    begun = 0
    for count in COUNTS:
        await _start(stand, range(begun, count))
        begun = count
        await stand.wait_for_live_steps(count)
        await _until_nothing_is_written(stand)
        figures += await _cost(stand, count, empty)
    return figures


async def _cost(stand: PlaneStand, count: int, empty: int) -> list[Figure]:
    pid, before = stand.operator.pid, audit.size(stand.audit_log)
    memory, cpu = resident_bytes(pid), cpu_seconds([pid])
    await trio.sleep(WATCH_SECONDS)
    cpu = (cpu_seconds([pid]) - cpu) / WATCH_SECONDS
    idle = audit.writes_by_kind(stand.audit_log, stand.operator_user, since=before).total()
    seconds = await _restart(stand, live=count)
    key, name = f"asleep-{count}", f"{count:,} sleeping runs"
    return [
        Figure(f"{key}.memory", f"{name}: operator's memory", memory / 2**20, "MiB"),
        Figure(f"{key}.memory-per-run", "… more for each", (memory - empty) / count / 1024, "KiB"),
        Figure(f"{key}.cpu", "… CPU while they sleep, share of a core", cpu * 100, "%"),
        Figure(f"{key}.writes", f"… API writes in {WATCH_SECONDS:.0f} s", idle, ratio=True, at_most=0),
        Figure(f"{key}.restart", "… a new operator has all of them in hand after", seconds, "s"),
    ]


async def _until_nothing_is_written(stand: PlaneStand) -> None:
    """Events and counts follow the runs in the background."""
    with trio.fail_after(SETTLED_SECONDS):
        while True:
            before = audit.size(stand.audit_log)
            await trio.sleep(CALM_SECONDS)
            if not audit.writes_by_kind(stand.audit_log, stand.operator_user, since=before).total():
                return


async def _restart(stand: PlaneStand, live: int = 0) -> float:
    """Stops the operator and starts it; returns the seconds from its start until it supervises ``live`` steps."""
    await stand.operator.stop()
    started = trio.current_time()
    stand.operator.start()
    await stand.wait_until_it_works()
    await stand.wait_for_live_steps(live)
    return trio.current_time() - started


async def _start(stand: PlaneStand, numbers: range) -> None:
    limiter = trio.CapacityLimiter(AT_A_TIME)

    async def one(number: int) -> None:
        async with limiter:
            await start_run(stand.client, STORY_NAME, f"asleep-{number}")

    async with trio.open_nursery() as nursery:
        for number in numbers:
            nursery.start_soon(one, number)
