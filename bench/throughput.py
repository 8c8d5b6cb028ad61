"""Measures runs of three chained no-op engram steps: all must succeed; the time between steps is measured."""

from __future__ import annotations

import trio

from bench.latency import Latencies, latencies, run_at_once
from bench.observer import Observer, open_observer
from bench.report import MILLISECONDS, Row, Unit, Value, exactly, milliseconds, percentile
from bench.stand import Stand, install_chain, open_stand, start_run

RUNS_AT_ONCE = 200
RUNS_FOR_LATENCY = 100
CONCURRENT = 10
STEPS = 3
DEADLINE_SECONDS = 120.0
SETTLED_SECONDS = 12.0
"""After this time, the counters of Stories and Engrams, and the counts of series of Events, are written, too."""


def measure() -> list[Row]:
    return trio.run(_measure)


async def _measure() -> list[Row]:
    async with open_stand() as stand:
        async with open_observer(stand.client) as observer:
            per_step = await _writes_per_step(stand, observer)
        story = await install_chain(stand.client, length=STEPS)
        slower = await install_chain(stand.client, length=STEPS, image="bench/second:1")
        async with open_observer(stand.client) as observer:
            busy, writes = await _latency(stand, observer, story, RUNS_FOR_LATENCY)
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
        Row(f"{RUNS_AT_ONCE} runs of {STEPS} steps at once: succeeded", exactly(succeeded, RUNS_AT_ONCE)),
        Row(f"{RUNS_AT_ONCE} runs of {STEPS} steps at once: time", f"{seconds:.1f} s"),
        Row("… runs a minute", f"{RUNS_AT_ONCE / seconds * 60:.0f}"),
        Row("… CPU of the operator for a step", per_step_cpu[0]),
        Row("… CPU of the cluster's own processes for a step", per_step_cpu[1]),
        Row(f"terminal status → successor's Job, {at_once}, p50", _percent(busy.of_status, 50, at_most=0.02)),
        Row(f"terminal status → successor's Job, {at_once}, p99", _percent(busy.of_status, 99, at_most=0.15)),
        *_latency_rows(f"Pod ended → successor's Job, {at_once}", busy.of_pod),
        *_latency_rows(f"Pod ended → Job, {CONCURRENT} runs of steps that take a second", paced.of_pod),
        *_latency_rows("Pod ended → Job, one run of no-op steps at a time", alone.of_pod),
        *_latency_rows("terminal status → Job, one run of no-op steps at a time", alone.of_status),
        Row(
            "API writes of the operator for one more engram step in a run", Value(per_step, Unit(digits=1), at_most=3.2)
        ),
        Row(f"API writes of the operator for a whole run of {STEPS} steps", f"{writes * STEPS:.1f}"),
        Row("API writes in 10 s while nothing changes", exactly(idle, 0)),
    ]


async def _writes_per_step(stand: Stand, observer: Observer) -> float:
    """The writes of ten more steps in a run, divided by ten, so that the writes of the run itself cancel out."""
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


def _percent(seconds: list[float], percent: float, *, at_most: float | None = None) -> Value:
    return Value(percentile(seconds, percent), MILLISECONDS, at_most=at_most)


def _latency_rows(what: str, seconds: list[float]) -> list[Row]:
    return [Row(f"{what}, p{percent}", _percent(seconds, percent)) for percent in (50, 99)]


async def _latency(
    stand: Stand, observer: Observer, story: str, runs: int, *, concurrent: int = CONCURRENT
) -> tuple[Latencies, float]:
    """Returns the latencies between steps, and the operator's writes per step."""
    before = await stand.writes()
    prefix = f"{story}-{concurrent}"
    await run_at_once(stand.client, observer, story, prefix, runs=runs, concurrent=concurrent)
    await trio.sleep(SETTLED_SECONDS)
    return latencies(observer, prefix, runs=runs, steps=STEPS), (await stand.writes() - before) / (runs * STEPS)


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
