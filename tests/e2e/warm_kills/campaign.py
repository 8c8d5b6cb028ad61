"""Kills operator, workers and their processes with ``kill -9`` at random instants under many warm steps.

All runs must succeed with their results in order, but those that are canceled. No result may change once it is
recorded, and no step may work on after its end, or beside another attempt of its own. All processes are on one machine,
so their clocks are the same.
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
from bench.progress import Progress, open_progress
from bench.stand import NAMESPACE, start_run
from core.api.objects import Object
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, POD, STEP_RUN, STORY, STORY_RUN, Resource
from core.engine.clock import system_now
from core.engine.step.record import is_final
from core.kube.client import KubeClient
from core.kube.errors import (
    AlreadyExistsError,
    InternalServerError,
    NotFoundError,
    ServiceUnavailableError,
    TransportError,
)
from core.kube.informer import Change, Informer
from tests.e2e.warm_kills.engram import ENDLESS

PROGRAM: Final = Path(__file__).with_name("engram.py")
IMAGE: Final = "test/warm-kill:1"
AT_ONCE: Final = 50
SLACK_SECONDS: Final = 0.05
"""The observer may see an end a moment before the last line of the step that was read from the file."""
_SETTLE_SECONDS: Final = 2.0
_POD_STAYS_EACH: Final = 6
"""Of so many killed workers, one keeps its Pod."""
_RESULT: Final = ("phase", "output", "error", "exitCode", "retries", "conditions", "finishedAt")


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
    cancels: int = 0
    """So many runs of an endless step are canceled, one after the other."""
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
    canceled: int
    """Runs of an endless step that ended as canceled."""
    recorded_twice: int
    """Steps whose result changed after it had been recorded, or that ended more than once."""
    worked_after_end: Mapping[str, float]
    """StepRun → seconds for which it was still at work after its end."""
    overlapping: int
    """Steps with two attempts at work at once."""


async def play(plan: WarmPlan, victims: Victims, beats: Path) -> WarmVerdict:
    """Runs all steps, and kills meanwhile. Steps write to the file ``beats`` while they work.

    Raises:
        trio.TooSlowError: it took longer than the plan allows.
    """
    await trio.Path(beats).touch()
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
                async with trio.open_nursery() as canceling:
                    canceling.start_soon(_cancel, plan, victims, progress, beats)
                    for name in names:
                        await start_run(victims.client, "all", name)
                    await progress.wait_for_ends(set(names))
                killing.cancel_scope.cancel()
        await trio.sleep(_SETTLE_SECONDS)
        nursery.cancel_scope.cancel()
    statuses = [(await victims.client.get(STORY_RUN, name, NAMESPACE)).get("status") or {} for name in names]
    canceled = [await victims.client.get(STORY_RUN, _canceled(number), NAMESPACE) for number in range(plan.cancels)]
    in_order = sum(_is_in_order(status, plan.items) for status in statuses)
    ended = sum(run["status"]["phase"] == "Finished" for run in canceled)
    return _verdict(ends, killed, in_order, ended, _worked(beats))


@dataclass
class _Ends:
    """When the operator was seen to record the end of each StepRun, and how it ended."""

    at: dict[str, list[float]] = field(default_factory=dict)
    """In seconds since 1970."""
    phase: dict[str, str] = field(default_factory=dict)
    retried: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    """StepRuns whose result changed after the operator had recorded it."""

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
        before = (change.old or {}).get("status") or {}
        if is_final(status) and not is_final(before):
            self.at.setdefault(name, []).append(system_now().timestamp())
            self.phase[name] = status["phase"]
        if is_final(before) and any(status.get(key) != before.get(key) for key in _RESULT):
            self.changed.add(name)


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
    endless = {
        "steps": [{"name": "endless", "ref": {"name": "warm"}, "with": {"given": ENDLESS}}],
        "policy": {"timeouts": {"gracefulShutdownTimeout": "3s"}},
    }
    await client.create(STORY, _manifest(STORY, "endless", endless), namespace=NAMESPACE)


def _canceled(number: int) -> str:
    return f"canceled-{number}"


async def _cancel(plan: WarmPlan, victims: Victims, progress: Progress, beats: Path) -> None:
    """Cancel one run after the other, each while its step is at work."""
    for number in range(plan.cancels):
        name = _canceled(number)
        with suppress(AlreadyExistsError):  # the answer to the first request was lost
            await _patiently(lambda: start_run(victims.client, "endless", name))  # noqa: B023 - called at once
        while name.encode() not in await trio.Path(beats).read_bytes():  # noqa: ASYNC110 - another process writes it
            await trio.sleep(0.2)
        asked = {"spec": {"cancelRequested": True}}
        await _patiently(lambda: victims.client.patch(STORY_RUN, name, asked, namespace=NAMESPACE))  # noqa: B023
        await progress.wait_for_ends({name})


async def _patiently(call: Callable[[], Awaitable[Object]]) -> None:
    """Repeat the call while the API server is being killed."""
    while True:
        try:
            await call()
        except (TransportError, InternalServerError, ServiceUnavailableError):
            await trio.sleep(0.2)
        else:
            return


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
            # Some Pods stay: their container is started again, after a pause that Kubernetes doubles each time.
            pod = _pod_of(pid) if target == "worker" and killed[target] % _POD_STAYS_EACH != 1 else ""
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, FileNotFoundError):
            continue
        killed[target] += 1
        if pod:
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
    canceled: int,
    worked: Mapping[str, Mapping[int, tuple[float, float]]],
) -> WarmVerdict:
    late = {name: _last(processes) - max(ends.at.get(name, [0.0])) for name, processes in worked.items()}
    return WarmVerdict(
        killed=killed,
        runs_in_order=runs_in_order,
        succeeded=sum(phase == "Succeeded" for name, phase in ends.phase.items() if name in worked),
        retried=len(ends.retried),
        canceled=canceled,
        recorded_twice=len(ends.changed | {name for name, at in ends.at.items() if len(at) > 1 and name in worked}),
        worked_after_end={name: seconds for name, seconds in late.items() if seconds > SLACK_SECONDS},
        overlapping=sum(_overlap(list(processes.values())) for processes in worked.values()),
    )


def _last(processes: Mapping[int, tuple[float, float]]) -> float:
    return max(last for _, last in processes.values())


def _overlap(spans: Sequence[tuple[float, float]]) -> bool:
    ordered = sorted(spans)
    return any(later[0] < earlier[1] for earlier, later in pairwise(ordered))


def _manifest(resource: Resource, name: str, spec: Object, namespace: str | None = NAMESPACE) -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
