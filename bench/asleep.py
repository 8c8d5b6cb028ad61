"""Measures thousands of waiting runs: their cost, the time until a new operator supervises them, and late wake-ups."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import httpx
import trio

from bench.held import objects_held
from bench.process import cpu_seconds, resident_bytes
from bench.progress import Progress, open_progress
from bench.report import SECONDS, Row, Unit, Value, exactly, percentile
from bench.stand import NAMESPACE, Stand, open_stand, start_run
from core.api.objects import Object
from core.api.resource import STORY

RUNS = 10_000
NAP_MINUTES = 10
"""Long enough for everything that is measured while all runs sleep."""
AT_A_TIME = 32
SETTLED_SECONDS = 15.0
WATCH_SECONDS = 20.0
MOST_BYTES_OF_EACH = 40 << 10
"""Beyond the objects of a run."""
KIB = Unit(" KiB", 2**-10, 1)
DEADLINE_SECONDS = 1200.0


@dataclass(frozen=True, slots=True)
class _Cost:
    """The cost of ``count`` runs while all of them wait; in bytes, seconds and requests."""

    count: int
    creating: float
    memory: int
    empty: int
    objects: int
    cpu_share: float
    writes: float
    restart: float
    again: int
    """The memory of an operator that starts when the runs already wait."""
    load: float

    def rows(self, what: str) -> list[Row]:
        beyond = self.memory - self.empty - self.objects
        again = self.again - self.empty
        return [
            Row(f"{what}: created and at rest in", f"{self.creating:.0f} s"),
            Row("… memory of the operator", f"{self.memory / 2**20:.0f} MiB"),
            Row("… more for each of them", self._each(self.memory - self.empty)),
            Row("… of which its objects (a process that only watches)", self._each(self.objects)),
            Row("… beyond the objects", self._beyond(beyond)),
            Row(
                "… after a restart: more for each; beyond the objects",
                (Value(again / self.count, KIB), self._beyond(again - self.objects)),
            ),
            Row("… CPU, share of a core", f"{self.cpu_share:.2%}"),
            Row(f"… API writes in {WATCH_SECONDS:.0f} s", exactly(self.writes, 0)),
            Row("… kill -9; a new operator has all in hand after", Value(self.restart, SECONDS, at_most=15)),
            Row("… load average of the machine meanwhile", f"{self.load:.1f}"),
        ]

    def _each(self, size: int) -> str:
        return KIB.text(size / self.count)

    def _beyond(self, size: int) -> Value:
        return Value(size / self.count, KIB, at_most=MOST_BYTES_OF_EACH)


async def sleepers(count: int = RUNS, minutes: int = NAP_MINUTES) -> list[Row]:
    """Runs of one Story; all of them wake at the end."""
    async with open_stand() as stand, open_progress(stand.client) as progress:
        cost = await _cost(stand, progress, {"asleep": sleep_step(f"{minutes}m")}, count)
        if len(progress.asleep) < count:
            raise RuntimeError(f"{count - len(progress.asleep)} runs have woken before everything was measured")
        with trio.fail_after(DEADLINE_SECONDS):
            await progress.wait_for_ends({f"asleep-{number}" for number in range(count)})
    late, recorded = list(progress.late.values()), list(progress.recorded_late.values())
    woken = max(progress.ended.values()) - min(progress.ended.values())
    succeeded = list(progress.phase.values()).count("Succeeded")
    return [
        *cost.rows(f"{count:,} sleeping runs"),
        Row("… succeeded", exactly(succeeded, count)),
        Row("… all woke within", f"{woken:.0f} s"),
        Row("… instant → end of the step seen by a watcher, p50", f"{percentile(late, 50) * 1000:.0f} ms"),
        Row("… p99", f"{percentile(late, 99) * 1000:.0f} ms"),
        Row("… latest; earliest", f"{max(late) * 1000:.0f} ms; {min(late) * 1000:.0f} ms"),
        Row("… recorded end, whole seconds after the instant: p50; p99; latest", whole_seconds(recorded)),
    ]


async def waiters(count: int = RUNS) -> list[Row]:
    """Runs of four Stories, in equal shares: parents, their sleeping children, gates, and waits for a condition."""
    steps = {
        "caller": {"name": "only", "type": "executeStory", "with": {"storyRef": {"name": "asleep"}}},
        "gate": {"name": "only", "type": "gate", "with": {"timeout": "3h"}},
        "wait": {"name": "only", "type": "wait", "with": {"until": "{{ false }}", "timeout": "3h"}},
    }
    async with open_stand() as stand, open_progress(stand.client) as progress:
        await install(stand, "asleep", sleep_step("3h"))
        cost = await _cost(stand, progress, steps, count)
    return cost.rows(f"{count:,} runs: executeStory parents, sleeping children, gates, waits, a quarter each")


async def _cost(stand: Stand, progress: Progress, stories: dict[str, Object], count: int) -> _Cost:
    """Starts ``count`` runs: equally many of each Story, and the children of callers. All are alive at the end."""
    await restart(stand, 0)
    await trio.sleep(SETTLED_SECONDS)
    empty, bare = resident_bytes(stand.operator_pid()), await objects_held(stand.cluster.kubeconfig)
    each = count // (len(stories) + ("caller" in stories))
    started = trio.current_time()
    with trio.fail_after(DEADLINE_SECONDS):
        for name, step in stories.items():
            await install(stand, name, step)
            await start_runs(stand, name, each)
        await progress.wait_for_sleepers(3 * each if "caller" in stories else each)
    creating = trio.current_time() - started
    await trio.sleep(SETTLED_SECONDS)
    pid = stand.operator_pid()
    writes, cpu, memory = await stand.writes(), cpu_seconds([pid]), resident_bytes(pid)
    await trio.sleep(WATCH_SECONDS)
    cpu, writes = cpu_seconds([pid]) - cpu, await stand.writes() - writes
    filled, load = await objects_held(stand.cluster.kubeconfig), os.getloadavg()[0]
    restarting = await restart(stand, count)
    await trio.sleep(SETTLED_SECONDS)
    return _Cost(
        count=count,
        creating=creating,
        memory=memory,
        empty=empty,
        objects=filled.more - bare.more,
        cpu_share=cpu / WATCH_SECONDS,
        writes=writes,
        restart=restarting,
        again=resident_bytes(stand.operator_pid()),
        load=load,
    )


async def install(stand: Stand, name: str, step: Object) -> None:
    """Creates a Story with one step."""
    metadata = {"name": name, "namespace": NAMESPACE}
    story = {"apiVersion": STORY.api_version, "kind": STORY.kind, "metadata": metadata, "spec": {"steps": [step]}}
    await stand.client.create(STORY, story, namespace=NAMESPACE)


async def start_runs(stand: Stand, story: str, count: int) -> None:
    """Starts ``count`` runs; their names end in their numbers, which start at 0."""
    limiter = trio.CapacityLimiter(AT_A_TIME)

    async def one(number: int) -> None:
        async with limiter:
            await start_run(stand.client, story, f"{story}-{number}")

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)


async def restart(stand: Stand, live: int) -> float:
    """Kills the operator; returns the seconds until the next operator supervises ``live`` runs."""
    pid = stand.operator_pid()
    os.kill(pid, signal.SIGKILL)
    started = trio.current_time()
    await wait_for_successor(stand, pid, live)
    return trio.current_time() - started


async def wait_for_successor(stand: Stand, pid: int, live: int) -> None:
    """Returns when an operator with another process id than ``pid`` supervises ``live`` runs."""
    with trio.fail_after(DEADLINE_SECONDS):
        while True:
            try:
                if stand.operator_pid() != pid and await stand.steps_at_work() >= live:
                    return
            except (LookupError, httpx.TransportError):
                pass  # the new operator has not started yet
            await trio.sleep(0.1)


def whole_seconds(late: list[float]) -> str:
    return "; ".join(f"{value:.0f} s" for value in (percentile(late, 50), percentile(late, 99), max(late)))


def sleep_step(duration: str) -> Object:
    return {"name": "only", "type": "sleep", "with": {"duration": duration}}
