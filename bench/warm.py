"""Measures warm workers beside Jobs: the entry into a function, chains, the rate, and a long ``forEach``.

On the embedded cluster, or on a real control plane (``bench.plane.warm``). All processes are on one machine, so the
clocks of operator and workers are the same.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from bench.plane.work import bare_job, watched
from bench.progress import Progress, open_progress
from bench.report import MILLISECONDS, Row, Unit, Value, exactly, milliseconds, percentile
from bench.stand import NAMESPACE, open_stand, start_run
from bubu_contract.durations import parse_duration
from core.api.objects import Object
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, JOB, STEP_RUN, STORY, STORY_RUN, Resource
from core.engine.step.assignment import assignment_of
from core.kube.client import KubeClient
from core.kube.informer import Change, Informer

PROGRAM = Path(__file__).with_name("warm_engram.py")
CHAIN = 20
CHAINS = 20
RUNS, STEPS, CONCURRENT = 100, 3, 10
ITEMS, AT_ONCE = 1000, 50
DEADLINE_SECONDS = 300.0
SETTLED_SECONDS = 12.0
IMAGE = "bench/warm:1"
BARE_IMAGE = "bench/noop:1"
BARE_COMMAND = ("true",)


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster whose node starts containers: those of ``IMAGE`` run ``PROGRAM``, those of ``BARE_IMAGE`` ``true``."""

    client: KubeClient
    writes: Callable[[], Awaitable[float]]
    """Returns the number of API writes of the operator so far."""
    cpu_seconds: Callable[[], float]
    """Returns those of the operator so far."""


@dataclass
class Assignments:
    """When each StepRun was assigned, when this was seen, and what its function returned; by ``time.time()``."""

    earlier: frozenset[str] = frozenset()
    """The StepRuns that were there before."""
    assigned_at: dict[str, float] = field(default_factory=dict)
    """By the operator, before it wrote: its deadline less its timeout."""
    seen_at: dict[str, float] = field(default_factory=dict)
    entered_at: dict[str, float] = field(default_factory=dict)

    def note(self, change: Change) -> None:
        step_run = change.new
        if step_run is None or step_run["metadata"]["name"] in self.earlier:
            return
        name, status = step_run["metadata"]["name"], step_run.get("status") or {}
        if name not in self.seen_at and (found := assignment_of(step_run)) is not None:
            self.seen_at[name] = time.time()
            assert found.deadline_at is not None, "the steps have the default timeout"
            timeout = parse_duration(found.environment["BUBU_STEP_TIMEOUT"])
            self.assigned_at[name] = (found.deadline_at - timeout).timestamp()
        output = status.get("output") or {}
        if "entered" in output:
            self.entered_at[name] = output["entered"]

    def delays(self) -> list[float]:
        """Seconds from the assignment to the entry."""
        return [self.entered_at[name] - at for name, at in self.assigned_at.items() if name in self.entered_at]

    def delays_as_seen(self) -> list[float]:
        """Seconds from when an observer saw the assignment, at about the time when the worker does, to the entry."""
        return [self.entered_at[name] - at for name, at in self.seen_at.items() if name in self.entered_at]


def measure() -> list[Row]:
    return trio.run(_on_embedded_cluster)


async def _on_embedded_cluster() -> list[Row]:
    images = {IMAGE: {"command": [sys.executable, str(PROGRAM)]}, BARE_IMAGE: {"command": [*BARE_COMMAND]}}
    async with open_stand(json.dumps({"images": images})) as stand:
        return await rows_of(Site(stand.client, stand.writes, lambda: stand.cpu_seconds()[0]))


async def rows_of(site: Site) -> list[Row]:
    """All figures of one cluster.

    Raises:
        AssertionError: a run has not succeeded.
        trio.TooSlowError: it took longer than ``DEADLINE_SECONDS``.
    """
    await _install(site, "warm", {"replicas": 2, "maxReplicas": 2, "concurrencyPerWorker": 8})
    await _install(site, "job", None)
    await _wait_for_workers(site)
    return [*await _chains(site), *await _rates(site), *await _for_each(site)]


async def _install(site: Site, name: str, warm: Object | None) -> None:
    """Create an Engram, a Story that is a chain of it, one that is short, and one with a ``forEach``."""
    template = {"image": IMAGE, "version": "1", "supportedModes": ["job", "worker"]}
    engram: Object = {"templateRef": {"name": name}} | ({"overrides": {"warm": warm}} if warm else {})
    await site.client.create(ENGRAM_TEMPLATE, _manifest(ENGRAM_TEMPLATE, name, template, None))
    await site.client.create(ENGRAM, _manifest(ENGRAM, name, engram), namespace=NAMESPACE)
    for story, length in ((f"{name}-chain", CHAIN), (f"{name}-short", STEPS)):
        steps = [
            {"name": f"s{index}", "ref": {"name": name}} | ({"needs": [f"s{index - 1}"]} if index else {})
            for index in range(length)
        ]
        await site.client.create(STORY, _manifest(STORY, story, {"steps": steps}), namespace=NAMESPACE)
    each = {"name": "each", "ref": {"name": name}, "with": {"given": "{{ item }}"}}
    branches = {"forEach": list(range(ITEMS)), "maxConcurrency": AT_ONCE, "steps": [each]}
    loop = {"name": "all", "type": "parallel", "with": branches}
    story_spec = {"steps": [loop], "output": {"items": "{{ steps.all.output.items }}"}}
    await site.client.create(STORY, _manifest(STORY, f"{name}-each", story_spec), namespace=NAMESPACE)


async def _wait_for_workers(site: Site) -> None:
    """Run one step, which asks for the pool, and wait until its workers are ready."""
    async with open_progress(site.client) as progress:
        await _run(site, progress, "warm-short", ["first"])


async def _chains(site: Site) -> list[Row]:
    rows, seconds = [], {}
    async with open_progress(site.client) as progress, _assignments(site) as seen:
        for kind in ("warm", "job"):
            taken = [
                await _run(site, progress, f"{kind}-chain", [f"{kind}-chain-{number}"])
                for number in range(CHAINS if kind == "warm" else 3)
            ]
            seconds[kind] = percentile(taken, 50)
    delays, as_seen = seen.delays(), seen.delays_as_seen()
    rows += [
        Row(
            "assignment by the operator → function entered, one step at a time, p50",
            milliseconds(percentile(delays, 50)),
        ),
        Row(
            "assignment by the operator → function entered, one step at a time, p99",
            milliseconds(percentile(delays, 99)),
        ),
        Row(
            "assignment seen → function entered, one step at a time, p50",
            Value(percentile(as_seen, 50), MILLISECONDS, at_most=0.01),
        ),
        Row(
            "assignment seen → function entered, one step at a time, p99",
            Value(percentile(as_seen, 99), MILLISECONDS, at_most=0.04),
        ),
        Row(f"a chain of {CHAIN} warm steps, p50", Value(seconds["warm"], Unit(" s", digits=2), at_most=0.6)),
        Row("the same chain as Jobs, p50", f"{seconds['job']:.2f} s"),
    ]
    return rows


async def _rates(site: Site) -> list[Row]:
    """The rate of short runs, many at once, beside Jobs without an operator; and what a step costs the operator."""
    bare = {at_once: await _bare_rate(site, at_once) for at_once in (CONCURRENT, RUNS * STEPS)}
    rates, writes, cpu = {}, {}, {}
    for kind in ("job", "warm"):
        async with open_progress(site.client) as progress:
            written, used = await site.writes(), site.cpu_seconds()
            names = [f"{kind}-short-{number}" for number in range(RUNS)]
            taken = await _run(site, progress, f"{kind}-short", names)
            rates[kind] = RUNS * STEPS / taken
            cpu[kind] = (site.cpu_seconds() - used) / (RUNS * STEPS)
            await trio.sleep(SETTLED_SECONDS)
            writes[kind] = (await site.writes() - written) / (RUNS * STEPS)
    what = f"{RUNS} runs of {STEPS} steps, {CONCURRENT} runs at once"
    return [
        *(
            Row(f"bare Jobs of a program that does nothing, {at_once} at once: Jobs a second", f"{rate:.1f}")
            for at_once, rate in bare.items()
        ),
        Row(f"{what}: warm steps a second", Value(rates["warm"], at_least=2 * max(bare.values()))),
        Row("… as Jobs", f"{rates['job']:.1f}"),
        Row(
            "… API writes of the operator for a warm step, without that of the worker, with those of the runs",
            f"{writes['warm']:.1f}",
        ),
        Row("… as Jobs", f"{writes['job']:.1f}"),
        Row("… CPU of the operator for a warm step, that of the runs included", milliseconds(cpu["warm"])),
        Row("… as Jobs", milliseconds(cpu["job"])),
    ]


async def _bare_rate(site: Site, at_once: int) -> float:
    """Jobs a second, without an operator: as many as the short runs have steps."""
    limiter, names = trio.CapacityLimiter(at_once), [f"bare-{at_once}-{number}" for number in range(RUNS * STEPS)]
    async with watched(site.client, JOB) as ends:

        async def one(name: str) -> None:
            async with limiter:
                await site.client.create(JOB, bare_job(name, BARE_IMAGE), namespace=NAMESPACE)
                await ends.wait_for_one(name)

        began = trio.current_time()
        with trio.fail_after(DEADLINE_SECONDS):
            async with trio.open_nursery() as nursery:
                for name in names:
                    nursery.start_soon(one, name)
        return len(names) / (trio.current_time() - began)


async def _for_each(site: Site) -> list[Row]:
    async with open_progress(site.client) as progress, _assignments(site) as seen:
        written, used = await site.writes(), site.cpu_seconds()
        taken = await _run(site, progress, "warm-each", ["each"])
        cpu = (site.cpu_seconds() - used) / ITEMS
        await trio.sleep(SETTLED_SECONDS)
        writes = (await site.writes() - written) / ITEMS
    run = await site.client.get(STORY_RUN, "each", NAMESPACE)
    status = run.get("status") or {}
    items = (status.get("output") or {}).get("items") or ()
    in_place = sum(item["given"] == number for number, item in enumerate(items))
    what = f"forEach of {ITEMS:,} warm steps, {AT_ONCE} at once"
    return [
        Row(f"{what}: {status.get('phase')} in", f"{taken:.1f} s"),
        Row("… results in their place", exactly(in_place, ITEMS)),
        Row("… assignment by the operator → function entered, p50", milliseconds(percentile(seen.delays(), 50))),
        Row("… assignment seen → function entered, p50", milliseconds(percentile(seen.delays_as_seen(), 50))),
        Row("… CPU of the operator for a warm step", Value(cpu, MILLISECONDS, at_most=0.003)),
        Row(
            "… API writes of the operator for a warm step, without that of the worker",
            Value(writes, Unit(digits=2), at_most=2.2),
        ),
    ]


async def _run(site: Site, progress: Progress, story: str, names: Sequence[str]) -> float:
    """Run ``story`` for each name; returns the seconds until the last one has ended.

    Raises:
        AssertionError: a run has not succeeded.
    """
    limiter = trio.CapacityLimiter(CONCURRENT)

    async def one(name: str) -> None:
        async with limiter:
            await start_run(site.client, story, name)
            await progress.wait_for_ends({name})

    started = trio.current_time()
    with trio.fail_after(DEADLINE_SECONDS):
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(one, name)
    seconds = max(progress.ended[name] for name in names) - started
    failed = [name for name in names if progress.phase[name] != "Succeeded"]
    assert not failed, f"these runs have not succeeded: {failed}"
    return seconds


@asynccontextmanager
async def _assignments(site: Site) -> AsyncIterator[Assignments]:
    async with trio.open_nursery() as nursery:
        informer = Informer(site.client, STEP_RUN, namespace=NAMESPACE)
        await nursery.start(informer.run)
        seen = Assignments(frozenset(each["metadata"]["name"] for each in informer.list()))
        informer.add_handler(seen.note)
        yield seen
        nursery.cancel_scope.cancel()


def _manifest(resource: Resource, name: str, spec: Object, namespace: str | None = NAMESPACE) -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
