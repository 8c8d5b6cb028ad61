"""The lines of a run's steps in the logs of warm workers, which execute steps of many runs. Source: SDK contract 24.6.

Each line of a step is a record with the names of its run and StepRun, and the number of the attempt. All Pods of the
pools are read: an earlier attempt may have been in another worker than the last one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import trio

from cli.pod_logs import PodLog, attempts_started, read_pod_log
from cli.runs import pods_of_pools
from cli.session import Session, patiently
from core.api import keys
from core.api.objects import Object
from core.api.phases import Phase
from views.step_layout import path_of

TimedLine = tuple[datetime | None, str]
ShowLine = Callable[[str, int, datetime | None, str], None]
"""Gets the step's path, the attempt from 1, and the line with its time."""


@dataclass(frozen=True, slots=True)
class WarmLog:
    """What one attempt of a step has written in its worker."""

    step: str
    attempt: int
    has_failed: bool
    is_previous: bool
    """It is the attempt before the last one."""
    lines: tuple[TimedLine, ...]


@dataclass
class StepsInWorkers:
    """Finds the steps of a run in the lines of workers. Lines of a StepRun that is not known yet are kept."""

    run: str
    _steps: dict[str, str] = field(default_factory=dict)
    _unknown: dict[str, list[tuple[int, TimedLine]]] = field(default_factory=dict)

    def learn(self, step_runs: Iterable[Object], show: ShowLine) -> None:
        """Get to know StepRuns, and show the lines that waited for this."""
        for step_run in step_runs:
            name = step_run["metadata"]["name"]
            self._steps[name] = path_of(step_run)
            for attempt, (at, text) in self._unknown.pop(name, ()):
                show(self._steps[name], attempt, at, text)

    def take(self, at: datetime | None, text: str, show: ShowLine) -> None:
        """Show the line if it is of a step of the run."""
        found = _names_in(text)
        if found is None or found[0] != self.run:
            return
        _, step_run, attempt = found
        if step_run in self._steps:
            show(self._steps[step_run], attempt, at, text)
        else:
            self._unknown.setdefault(step_run, []).append((attempt, (at, text)))


async def worker_pods(session: Session, run: Object, step_runs: Sequence[Object]) -> list[PodLog]:
    """The logs of all workers that may have executed steps of the run, oldest Pod first."""
    pools = sorted({pool for each in step_runs if (pool := _pool_of(each))})
    if not pools:
        return []
    pods = await pods_of_pools(session, run, pools)
    return [log for pod in pods if (log := PodLog(pod, "", 0)).has_started]


async def read_worker_logs(session: Session, run: Object, step_runs: Sequence[Object]) -> list[WarmLog]:
    """What the attempts of the run's steps have written, as far as their workers still exist."""
    collected: dict[tuple[str, int], list[TimedLine]] = {}

    def collect(step: str, attempt: int, at: datetime | None, text: str) -> None:
        collected.setdefault((step, attempt), []).append((at, text))

    steps = StepsInWorkers(run["metadata"]["name"])
    steps.learn(step_runs, collect)
    for log in await worker_pods(session, run, step_runs):
        for each in log.of_all_containers():
            await read_pod_log(session, each, since(run), lambda at, text: steps.take(at, text, collect))
    known = {path_of(each): each for each in step_runs}
    return [_warm_log(known[step], step, attempt, lines) for (step, attempt), lines in collected.items()]


def since(run: Object) -> dict[str, str]:
    """The parameters of a request for what a worker has written since the run was created."""
    return {"sinceTime": str(run["metadata"]["creationTimestamp"])}


def _warm_log(step_run: Object, step: str, attempt: int, lines: list[TimedLine]) -> WarmLog:
    last, phase = attempts_started(step_run), (step_run.get("status") or {}).get("phase")
    has_failed = attempt < last or phase in _FAILED
    return WarmLog(step, attempt, has_failed, attempt == last - 1, tuple(lines))


_FAILED: Final = frozenset({Phase.FAILED, Phase.TIMEOUT, Phase.ABORTED})


def _pool_of(step_run: Object) -> str:
    return str((step_run["metadata"].get("labels") or {}).get(keys.LABEL_WORKER_POOL) or "")


def _names_in(text: str) -> tuple[str, str, int] | None:
    """StoryRun, StepRun and attempt of a record; None for other lines."""
    if not text.startswith("{"):
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    names = record.get("storyRun"), record.get("stepRun"), record.get("attempt")
    story_run, step_run, attempt = names
    if isinstance(story_run, str) and isinstance(step_run, str) and isinstance(attempt, int):
        return story_run, step_run, attempt
    return None


@dataclass
class ReadLines:
    """How far the logs of one Pod have been read: each run of its container has a log of its own. Pure.

    The API server does not say which run of the container a log belongs to, and a Pod shows a restart only after its
    node has started the next log. So what was read as the current log may belong to the run before, or to the next one.
    The first line identifies a log, and a line that was read before is not new.
    """

    _counts: dict[TimedLine, int] = field(default_factory=dict)
    """First line of a log → number of its lines that were read."""

    def reader(self) -> LogReader:
        """For a log that is read as it is written."""
        return LogReader(self._counts)

    def new_of(self, log: Sequence[TimedLine]) -> list[TimedLine]:
        """The lines of a log, read from the same instant as before or an earlier one, that nobody has read yet."""
        begin = next((index for index, line in enumerate(log) if line in self._counts), 0)
        reader = self.reader()
        return [line for line in log[begin:] if reader.is_new(line)]


@dataclass
class LogReader:
    """One reading of a log from its beginning."""

    _counts: dict[TimedLine, int]
    _first: TimedLine | None = None
    _position: int = 0

    def is_new(self, line: TimedLine) -> bool:
        """Whether nobody has read the next line of this log before."""
        if self._first is None:
            self._first = line
        self._position += 1
        if self._position <= self._counts.get(self._first, 0):
            return False
        self._counts[self._first] = self._position
        return True


@dataclass
class _FollowedPod:
    restarts: int
    """How often its container had been started again when it was looked at last."""
    lines: ReadLines = field(default_factory=ReadLines)


class WorkerFollower:
    """The lines of one run. ``look`` again and again finds new workers, and containers that were started again;
    ``read_rest`` once, after the run has ended.
    """

    def __init__(self, session: Session, run: Object, show: ShowLine, *, since_seconds: int | None = None) -> None:
        self._session, self._run, self._show = session, run, show
        self._since_seconds, self._began = since_seconds, trio.current_time()
        self._steps = StepsInWorkers(run["metadata"]["name"])
        self._pods: dict[str, _FollowedPod] = {}

    @property
    def has_workers(self) -> bool:
        """Whether it has found any."""
        return bool(self._pods)

    async def look(self, nursery: trio.Nursery, step_runs: Sequence[Object]) -> None:
        """Read the logs of ended containers, and follow those of others in ``nursery``, as far as they are new."""
        self._steps.learn(step_runs, self._show)
        for log in await patiently(lambda: worker_pods(self._session, self._run, step_runs)):
            known = self._pods.get(log.name)
            if known is not None and known.restarts >= log.restarts:
                continue
            pod = self._pods.setdefault(log.name, _FollowedPod(log.restarts))
            pod.restarts = log.restarts
            for each in log.of_all_containers():
                if each.of_container_before:
                    await self._read(each, pod.lines)
                else:
                    nursery.start_soon(self._follow, each, pod.lines)

    async def read_rest(self, step_runs: Sequence[Object]) -> None:
        """Read what nobody has read yet: a log that is followed does not say when all that was written has come."""
        self._steps.learn(step_runs, self._show)
        for log in await worker_pods(self._session, self._run, step_runs):
            pod = self._pods.setdefault(log.name, _FollowedPod(log.restarts))
            for each in log.of_all_containers():
                await self._read(each, pod.lines)

    async def _follow(self, log: PodLog, lines: ReadLines) -> None:
        reader = lines.reader()

        def take(at: datetime | None, text: str) -> None:
            if reader.is_new((at, text)):
                self._steps.take(at, text, self._show)

        await read_pod_log(self._session, log, {**self._beginning(), "follow": "true"}, take)

    async def _read(self, log: PodLog, lines: ReadLines) -> None:
        read: list[TimedLine] = []
        await read_pod_log(self._session, log, self._beginning(), lambda at, text: read.append((at, text)))
        for at, text in lines.new_of(read):
            self._steps.take(at, text, self._show)

    def _beginning(self) -> dict[str, str]:
        """The parameters for the first line to read. No reading begins later than an earlier one."""
        if self._since_seconds is None:
            return since(self._run)
        return {"sinceSeconds": str(self._since_seconds + math.ceil(trio.current_time() - self._began))}
