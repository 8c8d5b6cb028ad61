"""Measures warm workers beside Jobs: the entry into a function, chains, the rate, and a long ``forEach``.

All processes are on one machine, so the clocks of operator and workers are the same.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from bench.progress import Progress, open_progress
from bench.report import Row, milliseconds, percentile
from bench.stand import NAMESPACE, Stand, open_stand, start_run
from core.api import keys
from core.api.objects import Object
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, STEP_RUN, STORY, STORY_RUN, Resource
from core.kube.informer import Change, Informer

PROGRAM = Path(__file__).with_name("warm_engram.py")
CHAIN = 20
CHAINS = 20
RUNS, STEPS, CONCURRENT = 100, 3, 10
ITEMS, AT_ONCE = 1000, 50
DEADLINE_SECONDS = 300.0
SETTLED_SECONDS = 12.0
_STORY_V1BETA1 = Resource("bubustack.io", "v1beta1", "stories", "Story")


@dataclass
class _Assignments:
    """When each StepRun was first seen with an assignment, and what its function returned."""

    assigned_at: dict[str, float] = field(default_factory=dict)
    """``time.time()``."""
    entered_at: dict[str, float] = field(default_factory=dict)

    def note(self, change: Change) -> None:
        step_run = change.new
        if step_run is None:
            return
        name, status = step_run["metadata"]["name"], step_run.get("status") or {}
        if keys.ANNOTATION_ASSIGNMENT in (step_run["metadata"].get("annotations") or {}):
            self.assigned_at.setdefault(name, time.time())
        output = status.get("output") or {}
        if "entered" in output:
            self.entered_at[name] = output["entered"]

    def delays(self) -> list[float]:
        """Seconds from the assignment to the entry."""
        return [self.entered_at[name] - at for name, at in self.assigned_at.items() if name in self.entered_at]


def measure() -> list[Row]:
    return trio.run(_measure)


async def _measure() -> list[Row]:
    images = {"images": {"bench/warm:*": {"command": [sys.executable, str(PROGRAM)]}}}
    async with open_stand(json.dumps(images)) as stand:
        await _install(stand, "warm", {"replicas": 2, "maxReplicas": 2, "concurrencyPerWorker": 8})
        await _install(stand, "job", None)
        await _wait_for_workers(stand)
        rows = await _chains(stand)
        rows += await _rates(stand)
        rows += await _for_each(stand)
    return rows


async def _install(stand: Stand, name: str, warm: Object | None) -> None:
    """Create an Engram, a Story that is a chain of it, one that is short, and one with a ``forEach``."""
    template = {"image": "bench/warm:1", "version": "1", "supportedModes": ["job", "worker"]}
    engram: Object = {"templateRef": {"name": name}} | ({"overrides": {"warm": warm}} if warm else {})
    await stand.client.create(ENGRAM_TEMPLATE, _manifest(ENGRAM_TEMPLATE, name, template, None))
    await stand.client.create(ENGRAM, _manifest(ENGRAM, name, engram), namespace=NAMESPACE)
    for story, length in ((f"{name}-chain", CHAIN), (f"{name}-short", STEPS)):
        steps = [
            {"name": f"s{index}", "ref": {"name": name}} | ({"needs": [f"s{index - 1}"]} if index else {})
            for index in range(length)
        ]
        await stand.client.create(STORY, _manifest(STORY, story, {"steps": steps}), namespace=NAMESPACE)
    each = {"name": "each", "ref": {"name": name}, "with": {"given": "{{ item }}"}}
    loop = {"name": "all", "parallel": {"forEach": list(range(ITEMS)), "maxConcurrency": AT_ONCE, "steps": [each]}}
    output = {"items": "{{ steps.all.output.items }}"}
    story_v1beta1 = _manifest(_STORY_V1BETA1, f"{name}-each", {"steps": [loop], "output": output})
    await stand.client.create(_STORY_V1BETA1, story_v1beta1, namespace=NAMESPACE)


async def _wait_for_workers(stand: Stand) -> None:
    """Run one step, which asks for the pool, and wait until its workers are ready."""
    async with open_progress(stand.client) as progress:
        await _run(stand, progress, "warm-short", ["first"])


async def _chains(stand: Stand) -> list[Row]:
    rows, seconds = [], {}
    async with open_progress(stand.client) as progress, _assignments(stand) as seen:
        for kind in ("warm", "job"):
            taken = [
                await _run(stand, progress, f"{kind}-chain", [f"{kind}-chain-{number}"])
                for number in range(CHAINS if kind == "warm" else 3)
            ]
            seconds[kind] = percentile(taken, 50)
    delays = seen.delays()
    rows += [
        Row(
            "assignment seen → function entered, one step at a time, p50", milliseconds(percentile(delays, 50)), "10 ms"
        ),
        Row(
            "assignment seen → function entered, one step at a time, p99", milliseconds(percentile(delays, 99)), "40 ms"
        ),
        Row(f"a chain of {CHAIN} warm steps, p50", f"{seconds['warm']:.2f} s", "0.6 s"),
        Row("the same chain as Jobs, p50", f"{seconds['job']:.2f} s"),
    ]
    return rows


async def _rates(stand: Stand) -> list[Row]:
    """The rate of short runs, many at once, and the operator's writes for a step."""
    rates, writes = {}, {}
    for kind in ("job", "warm"):
        async with open_progress(stand.client) as progress:
            before = await stand.writes()
            names = [f"{kind}-short-{number}" for number in range(RUNS)]
            taken = await _run(stand, progress, f"{kind}-short", names)
            rates[kind] = RUNS * STEPS / taken
            await trio.sleep(SETTLED_SECONDS)
            writes[kind] = (await stand.writes() - before) / (RUNS * STEPS)
    what = f"{RUNS} runs of {STEPS} steps, {CONCURRENT} runs at once"
    return [
        Row(f"{what}: warm steps a second", f"{rates['warm']:.0f}", f"{2 * rates['job']:.0f}"),
        Row("… as Jobs", f"{rates['job']:.0f}"),
        Row("… API writes of the operator for a warm step, those of the runs included", f"{writes['warm']:.1f}"),
        Row("… as Jobs", f"{writes['job']:.1f}"),
    ]


async def _for_each(stand: Stand) -> list[Row]:
    async with open_progress(stand.client) as progress, _assignments(stand) as seen:
        taken = await _run(stand, progress, "warm-each", ["each"])
    run = await stand.client.get(STORY_RUN, "each", NAMESPACE)
    status = run.get("status") or {}
    items = (status.get("output") or {}).get("items") or ()
    in_order = [item["given"] for item in items] == list(range(ITEMS))
    what = f"forEach of {ITEMS:,} warm steps, {AT_ONCE} at once"
    return [
        Row(f"{what}: {status.get('phase')} in", f"{taken:.1f} s"),
        Row("… results in order", str(in_order), "True"),
        Row("… assignment seen → function entered, p50", milliseconds(percentile(seen.delays(), 50))),
    ]


async def _run(stand: Stand, progress: Progress, story: str, names: Sequence[str]) -> float:
    """Run ``story`` for each name; returns the seconds until the last one has ended.

    Raises:
        AssertionError: a run has not succeeded.
    """
    limiter = trio.CapacityLimiter(CONCURRENT)

    async def one(name: str) -> None:
        async with limiter:
            await start_run(stand.client, story, name)
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
async def _assignments(stand: Stand) -> AsyncIterator[_Assignments]:
    seen = _Assignments()
    async with trio.open_nursery() as nursery:
        informer = Informer(stand.client, STEP_RUN, namespace=NAMESPACE)
        informer.add_handler(seen.note)
        await nursery.start(informer.run)
        yield seen
        nursery.cancel_scope.cancel()


def _manifest(resource: Resource, name: str, spec: Object, namespace: str | None = NAMESPACE) -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
