"""Measures an idle manager: 1,000 finished runs, no live run."""

from __future__ import annotations

import trio

from bench.observer import open_observer
from bench.process import cpu_seconds, resident_bytes
from bench.report import MIB, Row, Unit, Value, exactly
from bench.stand import NAMESPACE, Stand, open_stand, start_run
from core.api.resource import STORY

RUNS = 1000
LIVE = 200
WATCH_SECONDS = 30.0
DEADLINE_SECONDS = 600.0
SETTLED_SECONDS = 12.0
"""After this time the last series of Events is written, too."""


def measure() -> list[Row]:
    return trio.run(_measure)


async def _measure() -> list[Row]:
    async with open_stand() as stand:
        for name, steps in (
            ("finished", [{"name": "only", "type": "condition"}]),
            ("asleep", [{"name": "only", "type": "sleep", "with": {"duration": "1h"}}]),
        ):
            story = {
                "apiVersion": STORY.api_version,
                "kind": STORY.kind,
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"steps": steps},
            }
            await stand.client.create(STORY, story, namespace=NAMESPACE)
        async with open_observer(stand.client) as observer:
            with trio.fail_after(DEADLINE_SECONDS):
                await _start_many(stand, "finished", RUNS)
                await observer.wait_for_runs(RUNS)
        await trio.sleep(SETTLED_SECONDS)
        cpu, writes, memory = await _watch(stand)
        await _start_many(stand, "asleep", LIVE)
        await trio.sleep(15)
        live_memory = resident_bytes(stand.operator_pid())
    return [
        Row(
            f"CPU of the operator, {RUNS} finished runs, share of a core", Value(cpu, Unit(" %", 100, 2), at_most=0.01)
        ),
        Row(f"API writes in {WATCH_SECONDS:.0f} s", exactly(writes, 0)),
        Row("resident memory", Value(memory, MIB, at_most=80 << 20)),
        Row(f"more memory per live run ({LIVE} sleeping)", f"{(live_memory - memory) / LIVE / 1024:.0f} KiB"),
    ]


async def _start_many(stand: Stand, story: str, count: int) -> None:
    limiter = trio.CapacityLimiter(20)

    async def one(index: int) -> None:
        async with limiter:
            await start_run(stand.client, story, f"{story}-{index}")

    async with trio.open_nursery() as nursery:
        for index in range(count):
            nursery.start_soon(one, index)


async def _watch(stand: Stand) -> tuple[float, float, int]:
    pid = stand.operator_pid()
    writes, cpu = await stand.writes(), cpu_seconds([pid])
    await trio.sleep(WATCH_SECONDS)
    used = cpu_seconds([pid]) - cpu
    return used / WATCH_SECONDS, await stand.writes() - writes, resident_bytes(pid)
