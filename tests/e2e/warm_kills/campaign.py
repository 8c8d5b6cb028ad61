"""Kills operator, workers and their processes with ``kill -9`` at random instants under many warm steps.

All runs must succeed with their results in order, no end may be recorded twice, and no step may work on after its end,
or beside another attempt of its own. All processes are on one machine, so their clocks are the same.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

import trio

from bench.process import command_line, descendants
from bench.progress import open_progress
from bench.stand import NAMESPACE, start_run
from core.api.objects import Object, has_ended
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, POD, STEP_RUN, STORY, STORY_RUN, Resource
from core.engine.clock import system_now
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError
from core.kube.informer import Change, Informer

PROGRAM: Final = Path(__file__).with_name("engram.py")
IMAGE: Final = "test/warm-kill:1"
AT_ONCE: Final = 50
SLACK_SECONDS: Final = 0.05
"""The observer may see an end a moment before the last line of the step that was read from the file."""
_SETTLE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class WarmPlan:
    """``runs`` times ``items`` steps, and ``kills`` meanwhile, all within ``seconds``."""

    runs: int
    items: int
    kills: int
    seconds: float
    steps_between: int = 20
    """So many steps must have ended since the last kill, so that the next one finds steps at work."""
    longest_pause_seconds: float = 6.0
    """Then the kill comes at a random instant within this time."""
    seed: int = 50


@dataclass(frozen=True, slots=True)
class Victims:
    """A cluster in which processes are killed. ``client`` is an administrator."""

    client: KubeClient
    node_pid: int
    """Containers are descendants of this process. Those of ``IMAGE`` run ``PROGRAM`` with the file of beats."""
    operator_pid: Callable[[], int]
    """Raises LookupError while no operator runs. A killed operator is started again."""
    servers: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """Name → kills that server and starts it again."""


@dataclass(frozen=True)
class WarmVerdict:
    """Counts; what must be zero is zero if nothing was lost, doubled or overlapping."""

    killed: Mapping[str, int]
    runs_in_order: int
    """Runs that succeeded with all their results in order."""
    succeeded: int
    retried: int
    recorded_twice: int
    worked_after_end: int
    overlapping: int
    """Steps with two attempts at work at once."""


async def play(plan: WarmPlan, victims: Victims, beats: Path) -> WarmVerdict:
    """Runs all steps, and kills meanwhile. Steps write to the file ``beats`` while they work.

    Raises:
        trio.TooSlowError: it took longer than the plan allows.
    """
    await _install(plan, victims.client)
    ends, killed = _Ends(), dict.fromkeys(["operator", "worker", "process of a step", *victims.servers], 0)
    names = [f"run-{number}" for number in range(plan.runs)]
    async with open_progress(victims.client) as progress, trio.open_nursery() as nursery:
        informer = Informer(victims.client, STEP_RUN, namespace=NAMESPACE)
        informer.add_handler(ends.note)
        await nursery.start(informer.run)
        with trio.fail_after(plan.seconds):
            async with trio.open_nursery() as killing:
                killing.start_soon(_kill, plan, victims, killed, ends)
                for name in names:
                    await start_run(victims.client, "all", name)
                await progress.wait_for_ends(set(names))
                killing.cancel_scope.cancel()
        await trio.sleep(_SETTLE_SECONDS)
        nursery.cancel_scope.cancel()
    statuses = [(await victims.client.get(STORY_RUN, name, NAMESPACE)).get("status") or {} for name in names]
    return _verdict(ends, killed, sum(_is_in_order(status, plan.items) for status in statuses), _worked(beats))


@dataclass
class _Ends:
    """When each StepRun was seen to end, and how."""

    at: dict[str, list[float]] = field(default_factory=dict)
    """In seconds since 1970."""
    phase: dict[str, str] = field(default_factory=dict)
    retried: set[str] = field(default_factory=set)

    async def go_on(self, steps: int) -> None:
        """Wait until so many more steps have ended."""
        enough = len(self.at) + steps
        while len(self.at) < enough:  # noqa: ASYNC110 - exact enough, and each end would wake this otherwise
            await trio.sleep(0.02)

    def note(self, change: Change) -> None:
        new = change.new
        if new is None:
            return
        name, status = new["metadata"]["name"], new.get("status") or {}
        if status.get("retries"):
            self.retried.add(name)
        if has_ended(new) and not has_ended(change.old or {}):
            self.at.setdefault(name, []).append(system_now().timestamp())
        if has_ended(new):
            self.phase[name] = status["phase"]


async def _install(plan: WarmPlan, client: KubeClient) -> None:
    template = {"image": IMAGE, "version": "1", "supportedModes": ["job", "worker"]}
    warm = {"replicas": 2, "maxReplicas": 2, "concurrencyPerWorker": 8}
    retry = {"maxRetries": 10, "delay": "100ms", "backoff": "constant"}
    engram = {"templateRef": {"name": "warm"}, "overrides": {"warm": warm, "retry": retry}}
    each = {"name": "each", "ref": {"name": "warm"}, "with": {"given": "{{ item }}"}}
    branches = {"forEach": list(range(plan.items)), "maxConcurrency": AT_ONCE, "steps": [each]}
    loop = {"name": "all", "type": "parallel", "with": branches}
    story = {"steps": [loop], "output": {"items": "{{ steps.all.output.items }}"}}
    await client.create(ENGRAM_TEMPLATE, _manifest(ENGRAM_TEMPLATE, "warm", template, None))
    await client.create(ENGRAM, _manifest(ENGRAM, "warm", engram), namespace=NAMESPACE)
    await client.create(STORY, _manifest(STORY, "all", story), namespace=NAMESPACE)


async def _kill(plan: WarmPlan, victims: Victims, killed: dict[str, int], ends: _Ends) -> None:
    """Kill one after the other, in turns, each at a random instant."""
    chance = random.Random(plan.seed)
    while (count := sum(killed.values())) < plan.kills:
        await ends.go_on(plan.steps_between)
        await trio.sleep(chance.uniform(0.0, plan.longest_pause_seconds))
        target = list(killed)[count % len(killed)]
        if target in victims.servers:
            with trio.CancelScope(shield=True):  # the results are read from it
                await victims.servers[target]()
            killed[target] += 1
            continue
        pids = list(_pids(victims, target))
        if not pids:
            continue
        pid = chance.choice(pids)
        try:
            pod = _pod_of(pid) if target == "worker" else ""
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, FileNotFoundError):
            continue
        killed[target] += 1
        if pod:  # else Kubernetes waits longer and longer before it starts the container again
            with suppress(NotFoundError):
                await victims.client.delete(POD, pod, NAMESPACE, grace_period_seconds=0)


def _pids(victims: Victims, target: str) -> Iterator[int]:
    if target == "operator":
        with suppress(LookupError):
            yield victims.operator_pid()
        return
    ours = [pid for pid in descendants(victims.node_pid) if str(PROGRAM).encode() in command_line(pid)]
    above = Counter(child for pid in ours for child in descendants(pid))
    # A worker is above its zygote, which is above the processes of steps.
    yield from (pid for pid in ours if (above[pid] == 0 if target == "worker" else above[pid] > 1))


def _pod_of(pid: int) -> str:
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((text.partition(b"=")[2].decode() for text in variables if text.startswith(b"BUBU_POD_NAME=")), "")


def _worked(beats: Path) -> dict[str, dict[int, tuple[float, float]]]:
    """StepRun → process → when it was first and last at work."""
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for text in beats.read_text().splitlines():
        line = json.loads(text)
        processes = found.setdefault(line["stepRun"], {})
        first, _ = processes.get(line["process"], (line["at"], 0.0))
        processes[line["process"]] = (first, line["at"])
    return found


def _is_in_order(status: Object, items: int) -> bool:
    found = (status.get("output") or {}).get("items") or ()
    return status.get("phase") == "Succeeded" and [item["given"] for item in found] == list(range(items))


def _verdict(
    ends: _Ends,
    killed: Mapping[str, int],
    runs_in_order: int,
    worked: Mapping[str, Mapping[int, tuple[float, float]]],
) -> WarmVerdict:
    late = (
        last > max(ends.at.get(name, [0.0])) + SLACK_SECONDS
        for name, processes in worked.items()
        for _, last in processes.values()
    )
    return WarmVerdict(
        killed=killed,
        runs_in_order=runs_in_order,
        succeeded=sum(phase == "Succeeded" for name, phase in ends.phase.items() if name in worked),
        retried=len(ends.retried),
        recorded_twice=sum(len(at) > 1 for name, at in ends.at.items() if name in worked),
        worked_after_end=sum(late),
        overlapping=sum(_overlap(list(processes.values())) for processes in worked.values()),
    )


def _overlap(spans: Sequence[tuple[float, float]]) -> bool:
    ordered = sorted(spans)
    return any(later[0] < earlier[1] for earlier, later in pairwise(ordered))


def _manifest(resource: Resource, name: str, spec: Object, namespace: str | None = NAMESPACE) -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
