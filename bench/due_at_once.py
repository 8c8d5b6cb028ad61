"""Measures how late thousands of sleeping runs wake if their deadlines are close together, even within one second.

Runs cannot be started so fast that they fall due together. So the measurement moves their recorded deadlines while no
operator runs. The next operator uses the recorded deadlines.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from bench.asleep import (
    AT_A_TIME,
    DEADLINE_SECONDS,
    RUNS,
    SETTLED_SECONDS,
    install,
    restart,
    sleep_step,
    start_runs,
    wait_for_successor,
    whole_seconds,
)
from bench.progress import Progress, open_progress
from bench.report import Row, exactly, percentile
from bench.stand import NAMESPACE, Stand, open_stand
from core.api import keys
from core.api.resource import STORY_RUN
from core.engine.step.timers import Timer, timers_from, timers_to_wire
from localcluster.keptprocess import PAUSE_LIMIT_SECONDS

NAP_MINUTES = 30
"""Longer than the time to start all runs and to move their deadlines."""
POLL_SECONDS = 0.1
QUIET_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Run:
    """A run as it is stored."""

    name: str
    timers: dict[str, Timer]


@dataclass(frozen=True, slots=True)
class _Wakes:
    """The results in seconds; the lists have one value for each run."""

    spread: float
    """The time between the first deadline and the last."""
    late: list[float]
    """The time from the deadline until a watcher saw the end of the step."""
    recorded: list[float]
    """The time from the deadline until the end that is recorded in the status."""
    from_first: float
    """The time from the first deadline until the watcher saw the last run end."""
    from_last: float
    succeeded: int
    writes: float
    cpu: float
    cluster_cpu: float
    load: float

    def rows(self) -> list[Row]:
        count = len(self.late)
        return [
            Row(f"{count:,} deadlines within {self.spread:g} s: succeeded", exactly(self.succeeded, count)),
            Row("… woke before their instant", exactly(sum(value < 0 for value in self.late), 0)),
            Row("… instant → end of the step seen by a watcher, p50", f"{percentile(self.late, 50):.3f} s"),
            Row("… p99; latest", f"{percentile(self.late, 99):.3f} s; {max(self.late):.2f} s"),
            Row("… earliest", f"{min(self.late) * 1000:.0f} ms"),
            Row("… recorded end, whole seconds after the instant: p50; p99; latest", whole_seconds(self.recorded)),
            Row("… the last instant → the last run ended", f"{self.from_last:.2f} s"),
            Row("… wakes a second, from the first instant until then", f"{count / self.from_first:.0f}"),
            Row("… API writes of the operator for each", f"{self.writes / count:.2f}"),
            Row(
                "… CPU for each: operator; API server, controllers and node together",
                f"{self.cpu / count * 1000:.1f} ms; {self.cluster_cpu / count * 1000:.1f} ms",
            ),
            Row("… load average of the machine before", f"{self.load:.1f}"),
        ]


async def wakes_within(seconds: float, count: int = RUNS) -> list[Row]:
    """Measures runs of one Story whose deadlines are evenly spread over ``seconds``.

    Raises:
        RuntimeError: a run woke early, or the operator was not ready in time, so nothing was measured.
    """
    async with open_stand() as stand, open_progress(stand.client) as progress:
        lead = await _fall_asleep(stand, progress, count)
        first = await _move_instants(stand, count, lead, seconds)
        await _wait_until_settled(stand)
        if _seconds_since(first) > -QUIET_SECONDS:
            raise RuntimeError("the operator had not settled before the first instant: the machine is too slow today")
        if len(progress.asleep) < count:
            raise RuntimeError(f"{count - len(progress.asleep)} runs have woken before the first instant")
        return (await _wakes(stand, progress, first, count, seconds)).rows()


async def _fall_asleep(stand: Stand, progress: Progress, count: int) -> timedelta:
    """Starts the runs; returns how far ahead the new deadlines must be, so that an operator settles before them."""
    await trio.sleep(SETTLED_SECONDS)
    started = trio.current_time()
    with trio.fail_after(DEADLINE_SECONDS):
        await install(stand, "asleep", sleep_step(f"{NAP_MINUTES}m"))
        await start_runs(stand, "asleep", count)
        await progress.wait_for_sleepers(count)
    creating = trio.current_time() - started  # longer than a patch and a status write per run
    await trio.sleep(SETTLED_SECONDS)
    starting = await restart(stand, count)
    await trio.sleep(SETTLED_SECONDS)
    return timedelta(seconds=creating + PAUSE_LIMIT_SECONDS + 2 * starting + 2 * SETTLED_SECONDS)


async def _move_instants(stand: Stand, count: int, lead: timedelta, seconds: float) -> datetime:
    """Spreads the deadlines evenly, from ``lead`` on; returns the first. At the end an operator supervises all runs."""
    async with _without_operator(stand) as killed:
        runs = await _stored_runs(stand)
        if len(runs) != count or not all(run.timers for run in runs):
            raise RuntimeError(f"not all of {count} runs have recorded an instant")
        first = datetime.now(UTC) + lead
        await _record(stand, runs, [first + timedelta(seconds=seconds * number / count) for number in range(count)])
    await wait_for_successor(stand, killed[-1], count)
    return first


async def _wait_until_settled(stand: Stand) -> None:
    """Returns when the operator has finished its writes: the moved deadlines in the status of runs, and Events."""
    before = -1.0
    while (writes := await stand.writes()) > before:
        before = writes
        await trio.sleep(QUIET_SECONDS)


@asynccontextmanager
async def _without_operator(stand: Stand) -> AsyncIterator[list[int]]:
    """Kills the operator, and each new one before it has done anything; yields the process ids of all of them."""
    killed: list[int] = []

    def kill() -> None:
        with suppress(LookupError, ProcessLookupError):
            pid = stand.operator_pid()
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    async def keep_killing() -> None:
        while True:
            await trio.sleep(POLL_SECONDS)
            kill()

    kill()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_killing)
        yield killed
        nursery.cancel_scope.cancel()
    kill()  # an operator that started before the last patch does not read the deadlines again


async def _stored_runs(stand: Stand) -> list[_Run]:
    def kept(run: dict[str, Any]) -> dict[str, Any]:
        metadata = run["metadata"]
        return {
            "name": metadata["name"],
            "timers": (metadata.get("annotations") or {}).get(keys.ANNOTATION_STEP_TIMERS),
        }

    stored = (await stand.client.list(STORY_RUN, NAMESPACE, keep=kept)).items
    return [_Run(run["name"], timers_from(run["timers"])) for run in stored]


async def _record(stand: Stand, runs: Sequence[_Run], instants: Sequence[datetime]) -> None:
    limiter = trio.CapacityLimiter(AT_A_TIME)

    async def one(run: _Run, instant: datetime) -> None:
        timers = {step: timer._replace(at=instant) for step, timer in run.timers.items()}
        annotations = {keys.ANNOTATION_STEP_TIMERS: timers_to_wire(timers)}
        async with limiter:
            await stand.client.patch(
                STORY_RUN, run.name, {"metadata": {"annotations": annotations}}, namespace=NAMESPACE
            )

    async with trio.open_nursery() as nursery:
        for run, instant in zip(runs, instants, strict=True):
            nursery.start_soon(one, run, instant)


async def _wakes(stand: Stand, progress: Progress, first: datetime, count: int, seconds: float) -> _Wakes:
    await trio.sleep(-_seconds_since(first) - 2)  # so that the cost of sleeping is not counted as the cost of waking
    writes, load = await stand.writes(), os.getloadavg()[0]
    cpu, cluster_cpu = stand.cpu_seconds()
    with trio.fail_after(DEADLINE_SECONDS):
        await progress.wait_for_ends({f"asleep-{number}" for number in range(count)})
    late = list(progress.late.values())
    early = sum(value < 0 for value in late)
    if early or len(late) < count:
        raise RuntimeError(f"{early} of {count} runs woke early, {count - len(late)} without having been seen to sleep")
    from_first = _seconds_since(first) - (trio.current_time() - max(progress.ended.values()))
    await _wait_until_settled(stand)  # Events are written last
    cpu, cluster_cpu = stand.cpu_seconds()[0] - cpu, stand.cpu_seconds()[1] - cluster_cpu
    return _Wakes(
        spread=seconds,
        late=late,
        recorded=list(progress.recorded_late.values()),
        from_first=from_first,
        from_last=from_first - seconds * (count - 1) / count,
        succeeded=list(progress.phase.values()).count("Succeeded"),
        writes=await stand.writes() - writes,
        cpu=cpu,
        cluster_cpu=cluster_cpu,
        load=load,
    )


def _seconds_since(instant: datetime) -> float:
    return (datetime.now(UTC) - instant).total_seconds()
