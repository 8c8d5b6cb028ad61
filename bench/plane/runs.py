"""Measures runs of three and ten steps: runs per minute, the time between steps, and the operator's writes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import trio

from bench.latency import latencies, run_at_once
from bench.observer import open_observer
from bench.plane import audit
from bench.plane.figure import Figure
from bench.plane.stand import PlaneStand
from bench.report import percentile
from bench.stand import install_chain, start_run

SETTLED_SECONDS = 15.0
"""After this time, counters and series of Events (every ten seconds) are written, too."""


@dataclass(frozen=True, slots=True)
class Chains:
    """``runs`` chains of ``steps`` steps with image ``bench/<image>``; ``concurrent`` chains are alive at any time."""

    steps: int
    concurrent: int
    runs: int
    image: str = "noop"
    words: str = "no-op"


CHAINS = (
    Chains(3, 10, 100),
    Chains(3, 50, 200),
    Chains(10, 10, 40),
    Chains(10, 50, 100),
    Chains(3, 10, 40, "second", "one-second"),
    Chains(3, 50, 100, "three", "three-second"),
)
PROMISED = {10: (20, 100), 50: (60, None)}
"""Runs alive at a time → milliseconds that p50 and p99 may take."""


async def chains(stand: PlaneStand) -> list[Figure]:
    stories: dict[tuple[int, str], str] = {}
    figures = []
    for kind in CHAINS:
        key = (kind.steps, kind.image)
        if key not in stories:
            stories[key] = await install_chain(stand.client, length=kind.steps, image=f"bench/{kind.image}:1")
        figures += await _chains(stand, kind, stories[key])
    return figures


async def _chains(stand: PlaneStand, kind: Chains, story: str) -> list[Figure]:
    prefix = f"{kind.image}-{kind.steps}x{kind.concurrent}"
    async with open_observer(stand.client) as observer:
        seconds = await run_at_once(stand.client, observer, story, prefix, runs=kind.runs, concurrent=kind.concurrent)
        await trio.sleep(2)
        seen = latencies(observer, prefix, runs=kind.runs, steps=kind.steps)
    name = f"chains of {kind.steps} {kind.words} steps, {kind.concurrent} at a time"
    figures = [Figure(f"{prefix}.rate", f"{name}: runs", kind.runs / seconds * 60, "/min")]
    for percent, bound in zip((50, 99), PROMISED[kind.concurrent], strict=True):
        status, pod = percentile(seen.of_status, percent) * 1000, percentile(seen.of_pod, percent) * 1000
        figures += [
            Figure(f"{prefix}.status.p{percent}", f"… terminal status → Job, p{percent}", status, "ms", at_most=bound),
            Figure(f"{prefix}.pod.p{percent}", f"… Pod ended → Job, p{percent}", pod, "ms"),
        ]
    return figures


async def writes(stand: PlaneStand) -> list[Figure]:
    """Writes by kind, from the audit log: for one more step, for a run without its steps, and while nothing changes."""
    spent = {length: await _writes_of_a_run(stand, length) for length in (5, 15)}
    kinds = sorted(set(spent[5]) | set(spent[15]))
    per_step = {kind: (spent[15][kind] - spent[5][kind]) / 10 for kind in kinds}
    per_run = {kind: spent[5][kind] - 5 * per_step[kind] for kind in kinds}
    before = audit.size(stand.audit_log)
    await trio.sleep(20)
    idle = audit.writes_by_kind(stand.audit_log, stand.operator_user, since=before)
    return [
        Figure("writes.step", "API writes for one more engram step", sum(per_step.values()), ratio=True, at_most=3.2),
        *(Figure(f"writes.step.{kind}", f"… {kind}", many, ratio=True) for kind, many in per_step.items() if many),
        Figure("writes.run", "API writes for a run as such", sum(per_run.values()), ratio=True),
        *(Figure(f"writes.run.{kind}", f"… {kind}", many, ratio=True) for kind, many in per_run.items() if many),
        Figure("writes.idle", "API writes in 20 s while nothing changes", idle.total(), ratio=True, at_most=0),
        *(Figure(f"writes.idle.{kind}", f"… {kind}", many, ratio=True) for kind, many in idle.items()),
    ]


async def _writes_of_a_run(stand: PlaneStand, length: int) -> Counter[str]:
    story = await install_chain(stand.client, length=length)
    await trio.sleep(SETTLED_SECONDS)
    before = audit.size(stand.audit_log)
    async with open_observer(stand.client) as observer:
        await start_run(stand.client, story, f"length-{length}")
        with trio.fail_after(60):
            await observer.wait_for_runs(len(observer.run_ended) + 1)
    await trio.sleep(SETTLED_SECONDS)
    return audit.writes_by_kind(stand.audit_log, stand.operator_user, since=before)
