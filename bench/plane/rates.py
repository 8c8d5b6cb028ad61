"""Measures how many runs a control plane executes beside bare Jobs: all at once, and at a rate that both can keep.

All processes share two cores. At once, both cores are busy, so the rates are inverse to the CPU that a piece costs all
processes together. At a fixed rate nothing waits for a core for long; then a run must end as a Job does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import trio

from bench.plane.figure import Figure
from bench.plane.stand import PlaneStand
from bench.plane.work import Work, bare_jobs, one_step_runs, requests_alone, watched
from bench.process import cpu_seconds, resident_bytes

AT_ONCE = 400
PER_MINUTE = 900
PACED_SECONDS = 40.0
DEADLINE_SECONDS = 300.0
CALM_SECONDS = 5.0
"""Between two measurements: the controllers finish what is left."""


@dataclass(frozen=True, slots=True)
class Rate:
    per_minute: float
    cpu: dict[str, float]
    """Process → milliseconds of CPU for each piece of work."""

    @property
    def cpu_of_all(self) -> float:
        return sum(self.cpu.values())


async def rates(stand: PlaneStand) -> list[Figure]:
    jobs, runs = await bare_jobs(stand), await one_step_runs(stand)
    bare = await _at_once(stand, jobs)
    ours = await _at_once(stand, runs)
    memory = resident_bytes(stand.operator.pid) / 2**20
    async with requests_alone(stand, "one-step-at-once-0") as requests:
        alone = await _at_once(stand, requests)
    await trio.sleep(CALM_SECONDS)
    paced_bare, paced = await _paced(stand, jobs), await _paced(stand, runs)
    return [
        *_figures(jobs, bare),
        *_figures(runs, ours),
        Figure(
            "one-step.share", "one-step runs / bare Jobs", ours.per_minute / bare.per_minute, ratio=True, at_least=0.6
        ),
        *_figures(requests, alone),
        Figure("requests.share", "… / bare Jobs", alone.per_minute / bare.per_minute, ratio=True),
        Figure("one-step.cpu", "CPU of the operator for a one-step run", ours.cpu["operator"], "ms", at_most=10),
        Figure("one-step.memory", "operator's memory after them", memory, "MiB"),
        Figure("paced.jobs", f"bare Jobs started at {PER_MINUTE}/min: ended", paced_bare.per_minute, "/min"),
        Figure("paced.runs", f"one-step runs started at {PER_MINUTE}/min: ended", paced.per_minute, "/min"),
        Figure("paced.share", "… / bare Jobs", paced.per_minute / paced_bare.per_minute, ratio=True, at_least=0.95),
        Figure("paced.cpu", "… CPU of the operator for each", paced.cpu["operator"], "ms", at_most=10),
        Figure("paced.cpu-of-all", "… CPU of all processes for each", paced.cpu_of_all, "ms"),
    ]


def _figures(work: Work, found: Rate) -> list[Figure]:
    parts = ", ".join(f"{name} {value:.1f}" for name, value in found.cpu.items() if value >= 0.1)
    return [
        Figure(f"{work.key}.rate", f"{work.name}, {AT_ONCE} at once", found.per_minute, "/min"),
        Figure(f"{work.key}.cpu-of-all", f"… CPU of all processes for each ({parts})", found.cpu_of_all, "ms"),
    ]


async def _at_once(stand: PlaneStand, work: Work) -> Rate:
    names = [f"{work.key}-at-once-{index}" for index in range(AT_ONCE)]
    return await _measured(stand, work, names, seconds=0.0)


async def _paced(stand: PlaneStand, work: Work) -> Rate:
    names = [f"{work.key}-paced-{index}" for index in range(int(PER_MINUTE * PACED_SECONDS / 60))]
    return await _measured(stand, work, names, seconds=PACED_SECONDS)


async def _measured(stand: PlaneStand, work: Work, names: list[str], *, seconds: float) -> Rate:
    """Start these pieces, spread over ``seconds``; the rate counts until the last one has been seen to succeed."""
    async with watched(stand.client, work.ends_as) as ends:
        before, began = _cpu(stand), trio.current_time()
        with trio.fail_after(DEADLINE_SECONDS):
            async with trio.open_nursery() as nursery:
                for index, name in enumerate(names):
                    await trio.sleep_until(began + seconds * index / len(names))
                    nursery.start_soon(work.start, name)
            await ends.wait_for(set(names))
        elapsed, after = trio.current_time() - began, _cpu(stand)
    await trio.sleep(CALM_SECONDS)
    cpu = {name: (after[name] - before[name]) / len(names) * 1000 for name in before}
    return Rate(len(names) / elapsed * 60, cpu)


def _cpu(stand: PlaneStand) -> dict[str, float]:
    """Process → CPU seconds so far; the load is this process, with its node."""
    operator = cpu_seconds([stand.operator.pid]) if stand.operator.running else 0.0
    servers = {name: cpu_seconds([pid]) for name, pid in stand.plane.pids.items()}
    return {**servers, "operator": operator, "load": cpu_seconds([os.getpid()])}
