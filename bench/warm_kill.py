"""Kills operator, workers and their processes with ``kill -9`` at random instants under thousands of warm steps.

All runs must succeed with their results in order, no end may be recorded twice, and no step may work on after its end,
or beside another attempt of its own. All processes are on one machine, so their clocks are the same.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import trio

from bench.process import command_line, descendants
from bench.progress import open_progress
from bench.report import Row
from bench.stand import NAMESPACE, Stand, open_stand, start_run
from core.api.objects import Object, has_ended
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, POD, STEP_RUN, STORY_RUN, Resource
from core.kube.errors import NotFoundError
from core.kube.informer import Change, Informer

PROGRAM = Path(__file__).with_name("warm_kill_engram.py")
RUNS, ITEMS, AT_ONCE = 25, 200, 50
KILLS = 51
PAUSE_SECONDS = (1.0, 8.0)
"""The least and the longest time between two kills."""
TARGETS = ("operator", "worker", "process of a step")
SLACK_SECONDS = 0.05
"""The observer may see an end a moment before the last line of the step that was read from the file."""
DEADLINE_SECONDS = 900.0
_STORY_V1BETA1 = Resource("bubustack.io", "v1beta1", "stories", "Story")


@dataclass
class _Ends:
    """When each StepRun was seen to end, and how."""

    at: dict[str, list[float]] = field(default_factory=dict)
    """``time.time()``."""
    phase: dict[str, str] = field(default_factory=dict)
    retried: set[str] = field(default_factory=set)

    def note(self, change: Change) -> None:
        new = change.new
        if new is None:
            return
        name, status = new["metadata"]["name"], new.get("status") or {}
        if status.get("retries"):
            self.retried.add(name)
        if has_ended(new) and not has_ended(change.old or {}):
            self.at.setdefault(name, []).append(time.time())
        if has_ended(new):
            self.phase[name] = status["phase"]


def measure() -> list[Row]:
    return trio.run(_measure)


async def _measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-") as folder:
        beats = Path(folder) / "beats"
        images = {"images": {"bench/warm-kill:*": {"command": [sys.executable, str(PROGRAM), str(beats)]}}}
        async with open_stand(json.dumps(images)) as stand:
            ends, killed, outputs = await _play(stand)
        worked = _worked(beats)
    return _rows(ends, killed, outputs, worked)


async def _play(stand: Stand) -> tuple[_Ends, dict[str, int], list[object]]:
    await _install(stand)
    ends, killed = _Ends(), dict.fromkeys(TARGETS, 0)
    names = [f"run-{number}" for number in range(RUNS)]
    async with open_progress(stand.client) as progress, trio.open_nursery() as nursery:
        informer = Informer(stand.client, STEP_RUN, namespace=NAMESPACE)
        informer.add_handler(ends.note)
        await nursery.start(informer.run)
        with trio.fail_after(DEADLINE_SECONDS):
            async with trio.open_nursery() as killing:
                killing.start_soon(_kill, stand, killed)
                for name in names:
                    await start_run(stand.client, "all", name)
                await progress.wait_for_ends(set(names))
                killing.cancel_scope.cancel()
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    outputs = []
    for name in names:
        status = (await stand.client.get(STORY_RUN, name, NAMESPACE)).get("status") or {}
        items = (status.get("output") or {}).get("items") or ()
        in_order = [item["given"] for item in items] == list(range(ITEMS))
        outputs.append(in_order and status.get("phase") == "Succeeded")
    return ends, killed, outputs


async def _install(stand: Stand) -> None:
    template = {"image": "bench/warm-kill:1", "version": "1", "supportedModes": ["job", "worker"]}
    warm = {"replicas": 2, "maxReplicas": 2, "concurrencyPerWorker": 8}
    retry = {"maxRetries": 10, "delay": "100ms", "backoff": "constant"}
    engram = {"templateRef": {"name": "warm"}, "overrides": {"warm": warm, "retry": retry}}
    each = {"name": "each", "ref": {"name": "warm"}, "with": {"given": "{{ item }}"}}
    loop = {"name": "all", "parallel": {"forEach": list(range(ITEMS)), "maxConcurrency": AT_ONCE, "steps": [each]}}
    story = {"steps": [loop], "output": {"items": "{{ steps.all.output.items }}"}}
    await stand.client.create(ENGRAM_TEMPLATE, _manifest(ENGRAM_TEMPLATE, "warm", template, None))
    await stand.client.create(ENGRAM, _manifest(ENGRAM, "warm", engram), namespace=NAMESPACE)
    await stand.client.create(_STORY_V1BETA1, _manifest(_STORY_V1BETA1, "all", story), namespace=NAMESPACE)


async def _kill(stand: Stand, killed: dict[str, int]) -> None:
    """Kill one after the other, in turns, each at a random instant."""
    chance = random.Random(50)
    await trio.sleep(5)
    while (count := sum(killed.values())) < KILLS:
        await trio.sleep(chance.uniform(*PAUSE_SECONDS))
        target = TARGETS[count % len(TARGETS)]
        pids = list(_pids(stand, target))
        if not pids:
            continue
        pid = chance.choice(pids)
        try:
            pod = _pod_of(pid) if target == "worker" else ""
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, FileNotFoundError):
            continue
        if pod:  # else Kubernetes waits longer and longer before it starts the container again
            with suppress(NotFoundError):
                await stand.client.delete(POD, pod, NAMESPACE, grace_period_seconds=0)
        killed[target] += 1


def _pids(stand: Stand, target: str) -> Iterator[int]:
    if target == "operator":
        try:
            yield stand.operator_pid()
        except LookupError:
            return
        return
    ours = [pid for pid in descendants(stand.cluster.pid) if str(PROGRAM).encode() in command_line(pid)]
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


def _rows(
    ends: _Ends,
    killed: Mapping[str, int],
    outputs: Sequence[object],
    worked: Mapping[str, Mapping[int, tuple[float, float]]],
) -> list[Row]:
    steps = RUNS * ITEMS
    succeeded = sum(phase == "Succeeded" for name, phase in ends.phase.items() if name in worked)
    twice = sum(len(at) > 1 for name, at in ends.at.items() if name in worked)
    late = sum(
        last > max(ends.at.get(name, [0.0])) + SLACK_SECONDS
        for name, processes in worked.items()
        for _, last in processes.values()
    )
    overlaps = sum(_overlap(list(processes.values())) for processes in worked.values())
    return [
        Row("kills of operator, workers, and processes of steps", str(sum(killed.values())), str(KILLS)),
        Row(f"runs that succeeded with their {ITEMS} results in order", str(sum(map(bool, outputs))), str(RUNS)),
        Row("steps that succeeded", str(succeeded), str(steps)),
        Row("steps that were retried", str(len(ends.retried))),
        Row("steps whose end was recorded twice", str(twice), "0"),
        Row("steps that worked on after their end", str(late), "0"),
        Row("steps with two attempts at work at once", str(overlaps), "0"),
    ]


def _overlap(spans: list[tuple[float, float]]) -> bool:
    ordered = sorted(spans)
    return any(later[0] < earlier[1] for earlier, later in pairwise(ordered))


def _manifest(resource: Resource, name: str, spec: Object, namespace: str | None = NAMESPACE) -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
