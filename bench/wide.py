"""Measures large Stories: a long chain of primitives, many branches at once, a thousand steps.

A list of steps in a Story has at most 100 steps, so the thousand steps are branches of ``parallel`` steps.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import trio

from bench.progress import Progress, open_progress
from bench.report import Row, Unit, Value
from bench.stand import NAMESPACE, Stand, install_chain, open_stand, start_run
from core.api.objects import Object
from core.api.resource import STORY

CHAIN = 100
BRANCHES = 200
STEPS = 1000
ROUNDS = 50
DEADLINE_SECONDS = 600.0
SETTLED_SECONDS = 12.0
"""After this time, the counters of Stories and Engrams, and the counts of series of Events, are written, too."""


async def large_stories() -> list[Row]:
    async with open_stand() as stand, open_progress(stand.client) as progress:
        engram = await install_chain(stand.client, length=1)
        rows = []
        for name, what, steps, count in (
            ("conditions", f"chain of {CHAIN} conditions", _chain([_condition(n) for n in range(CHAIN)]), CHAIN),
            ("fan", f"parallel of {BRANCHES} engram branches", [_parallel("fan", engram, BRANCHES)], BRANCHES),
            ("flat", f"parallel of {STEPS:,} engram branches", [_parallel("fan", engram, STEPS)], STEPS),
            ("rounds", f"{STEPS:,} engram steps, {ROUNDS} × {STEPS // ROUNDS}", _rounds(engram), STEPS),
        ):
            rows += await _measure(stand, progress, name, what, steps, count)
    return rows


async def _measure(
    stand: Stand, progress: Progress, name: str, what: str, steps: Sequence[Object], count: int
) -> list[Row]:
    """Measures one run of a Story of ``steps``: the second run, because the first one warms everything up."""
    metadata = {"name": name, "namespace": NAMESPACE}
    story = {"apiVersion": STORY.api_version, "kind": STORY.kind, "metadata": metadata, "spec": {"steps": steps}}
    await stand.client.create(STORY, story, namespace=NAMESPACE)
    seconds = cpu = writes = 0.0
    load = os.getloadavg()[0]
    for attempt in (1, 2):
        await trio.sleep(SETTLED_SECONDS)
        run, writes, (cpu, cluster_cpu) = f"{name}-{attempt}", await stand.writes(), stand.cpu_seconds()
        started = trio.current_time()
        await start_run(stand.client, name, run)
        with trio.fail_after(DEADLINE_SECONDS):
            await progress.wait_for_ends({run})
        seconds = progress.ended[run] - started
        cpu, cluster_cpu = stand.cpu_seconds()[0] - cpu, stand.cpu_seconds()[1] - cluster_cpu
        await trio.sleep(SETTLED_SECONDS)
        writes = await stand.writes() - writes
    is_chain = name == "conditions"
    phase, size = progress.phase[run], progress.largest_status[run]
    return [
        Row(f"{what}: {phase} in", Value(seconds, Unit(" s", digits=2), at_most=1 if is_chain else None)),
        Row("… status writes of the run", Value(progress.status_writes[run], at_most=10 if is_chain else None)),
        Row("… API writes for a step", f"{writes / count:.2f}"),
        Row("… CPU of the operator for a step", f"{cpu / count * 1000:.1f} ms"),
        Row("… CPU of the cluster's own processes for a step", f"{cluster_cpu / count * 1000:.1f} ms"),
        Row("… largest status", f"{size / 1024:.0f} KiB"),
        Row("… load average of the machine before", f"{load:.1f}"),
    ]


def _condition(number: int) -> Object:
    return {"name": f"c{number}", "type": "condition"}


def _parallel(name: str, engram: str, branches: int) -> Object:
    steps = [{"name": f"b{number}", "ref": {"name": engram}} for number in range(branches)]
    return {"name": name, "type": "parallel", "with": {"steps": steps}}


def _rounds(engram: str) -> list[Object]:
    return _chain([_parallel(f"r{number}", engram, STEPS // ROUNDS) for number in range(ROUNDS)])


def _chain(steps: Sequence[Object]) -> list[Object]:
    return [step | ({"needs": [steps[number - 1]["name"]]} if number else {}) for number, step in enumerate(steps)]
