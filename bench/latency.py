"""Measures the time between the steps of chains, while a few runs are alive."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from bench.observer import Observer
from bench.stand import start_run
from core.kube.client import KubeClient

DEADLINE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Latencies:
    """The seconds until a step's Job was seen created, one value for each step that has a predecessor."""

    of_pod: list[float]
    """Measured from the instant at which the predecessor's Pod was seen ended."""
    of_status: list[float]
    """Measured from the instant at which the predecessor's StepRun was seen with a terminal status."""


async def run_at_once(
    client: KubeClient, observer: Observer, story: str, prefix: str, *, runs: int, concurrent: int
) -> float:
    """Starts ``runs`` runs, ``concurrent`` of them alive at any time; returns the seconds until the last one ends."""
    limiter = trio.CapacityLimiter(concurrent)

    async def one(name: str) -> None:
        async with limiter:
            await start_run(client, story, name)
            while name not in observer.run_ended:
                await observer.changed.wait()

    started = trio.current_time()
    with trio.fail_after(DEADLINE_SECONDS):
        async with trio.open_nursery() as nursery:
            for index in range(runs):
                nursery.start_soon(one, f"{prefix}-{index}")
    return trio.current_time() - started


def latencies(observer: Observer, prefix: str, *, runs: int, steps: int) -> Latencies:
    """Returns the latencies of the runs that ``run_at_once`` started; their steps are ``s0`` to ``s<steps - 1>``."""
    pairs = [
        (f"{prefix}-{run}-s{step}", f"{prefix}-{run}-s{step + 1}") for run in range(runs) for step in range(steps - 1)
    ]
    return Latencies(
        of_pod=[observer.job_created[job][0] - observer.pod_ended[previous][0] for previous, job in pairs],
        of_status=[observer.job_created[job][0] - observer.step_ended[previous][0] for previous, job in pairs],
    )
