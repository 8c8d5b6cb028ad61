"""Runs of three chained no-op engram steps: all must succeed; how fast does a step follow its predecessor."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from bench.observer import Observer, open_observer
from bench.report import Row, milliseconds, percentile
from bench.stand import Stand, install_chain, open_stand, start_run

RUNS_AT_ONCE = 200
RUNS_FOR_LATENCY = 100
CONCURRENT = 10
STEPS = 3
DEADLINE_SECONDS = 120.0
SETTLED_SECONDS = 12.0
"""After it, counters of Stories and Engrams have been written, too, and what a series of Events counted."""


def measure() -> list[Row]:
    return trio.run(_measure)


async def _measure() -> list[Row]:
    async with open_stand() as stand:
        async with open_observer(stand.client) as observer:
            per_step = await _writes_per_step(stand, observer)
        story = await install_chain(stand.client, length=STEPS)
        slower = await install_chain(stand.client, length=STEPS, image="bench/second:1")
        async with open_observer(stand.client) as observer:
            latencies, writes = await _latency(stand, observer, story, RUNS_FOR_LATENCY)
            alone, _ = await _latency(stand, observer, story, 20, concurrent=1)
            paced, _ = await _latency(stand, observer, slower, 4 * CONCURRENT)
        async with open_observer(stand.client) as observer:
            operator, cluster = stand.cpu_seconds()
            seconds, succeeded = await _burst(stand, observer, story)
            cpu = [after - begun for after, begun in zip(stand.cpu_seconds(), (operator, cluster), strict=True)]
        await trio.sleep(SETTLED_SECONDS)
        before = await stand.writes()
        await trio.sleep(10)
        idle = await stand.writes() - before
    at_once = f"{CONCURRENT} runs of no-op steps at once"
    per_step_cpu = [milliseconds(used / (RUNS_AT_ONCE * STEPS)) for used in cpu]
    return [
        Row(f"{RUNS_AT_ONCE} runs of {STEPS} steps at once: succeeded", str(succeeded), str(RUNS_AT_ONCE)),
        Row(f"{RUNS_AT_ONCE} runs of {STEPS} steps at once: time", f"{seconds:.1f} s"),
        Row("… runs a minute", f"{RUNS_AT_ONCE / seconds * 60:.0f}"),
        Row("… CPU of the operator for a step", per_step_cpu[0]),
        Row("… CPU of the cluster's own processes for a step", per_step_cpu[1]),
        Row(f"terminal status → successor's Job, {at_once}, p50", _percent(latencies.of_status, 50), "20 ms"),
        Row(f"terminal status → successor's Job, {at_once}, p99", _percent(latencies.of_status, 99), "150 ms"),
        *_latency_rows(f"Pod ended → successor's Job, {at_once}", latencies.of_pod),
        *_latency_rows(f"Pod ended → Job, {CONCURRENT} runs of steps that take a second", paced.of_pod),
        *_latency_rows("Pod ended → Job, one run of no-op steps at a time", alone.of_pod),
        *_latency_rows("terminal status → Job, one run of no-op steps at a time", alone.of_status),
        Row("API writes of the operator for one more engram step in a run", f"{per_step:.1f}", "5"),
        Row(f"API writes of the operator for a whole run of {STEPS} steps", f"{writes * STEPS:.1f}"),
        Row("API writes in 10 s while nothing changes", f"{idle:.0f}", "0"),
    ]


async def _writes_per_step(stand: Stand, observer: Observer) -> float:
    """What ten more steps in a run cost, divided by ten: the writes of a run as such cancel out."""
    totals = []
    stories = {length: await install_chain(stand.client, length=length) for length in (5, 15)}
    await trio.sleep(SETTLED_SECONDS)
    for length, story in stories.items():
        before = await stand.writes()
        await start_run(stand.client, story, f"length-{length}")
        with trio.fail_after(DEADLINE_SECONDS):
            while f"length-{length}" not in observer.run_ended:
                await observer.changed.wait()
        await trio.sleep(SETTLED_SECONDS)
        totals.append(await stand.writes() - before)
    return (totals[1] - totals[0]) / 10


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds until the next step's Job was seen created, one for each step that has a predecessor."""

    of_pod: list[float]
    """From its predecessor's Pod seen ended."""
    of_status: list[float]
    """From its predecessor's StepRun seen with a terminal status."""


def _percent(seconds: list[float], percent: float) -> str:
    return milliseconds(percentile(seconds, percent))


def _latency_rows(what: str, seconds: list[float]) -> list[Row]:
    return [Row(f"{what}, p{percent}", _percent(seconds, percent)) for percent in (50, 99)]


async def _latency(
    stand: Stand, observer: Observer, story: str, runs: int, *, concurrent: int = CONCURRENT
) -> tuple[Latencies, float]:
    """How fast steps follow each other, and the operator's writes per step."""
    before = await stand.writes()
    limiter = trio.CapacityLimiter(concurrent)
    prefix = f"{story}-{concurrent}"

    async def one(name: str) -> None:
        async with limiter:
            await start_run(stand.client, story, name)
            while name not in observer.run_ended:
                await observer.changed.wait()

    with trio.fail_after(DEADLINE_SECONDS):
        async with trio.open_nursery() as nursery:
            for index in range(runs):
                nursery.start_soon(one, f"{prefix}-{index}")
    await trio.sleep(SETTLED_SECONDS)
    pairs = [
        (f"{prefix}-{run}-s{step}", f"{prefix}-{run}-s{step + 1}") for run in range(runs) for step in range(STEPS - 1)
    ]
    latencies = Latencies(
        of_pod=[observer.job_created[job][0] - observer.pod_ended[previous][0] for previous, job in pairs],
        of_status=[observer.job_created[job][0] - observer.step_ended[previous][0] for previous, job in pairs],
    )
    return latencies, (await stand.writes() - before) / (runs * STEPS)


async def _burst(stand: Stand, observer: Observer, story: str) -> tuple[float, int]:
    ended = len(observer.run_ended)
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        for index in range(RUNS_AT_ONCE):
            nursery.start_soon(start_run, stand.client, story, f"burst-{index}")
    with trio.fail_after(DEADLINE_SECONDS):
        await observer.wait_for_runs(ended + RUNS_AT_ONCE)
    seconds = trio.current_time() - started
    phases = [phase for name, phase in observer.run_phase.items() if name.startswith("burst-")]
    return seconds, phases.count("Succeeded")
