"""Follows a run's steps in the logs of warm workers, also when a worker's container is started again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import trio

from cli.pod_logs import PodLog, read_pod_log
from cli.session import Session, patiently
from cli.worker_logs import ShowLine, StepsInWorkers, TimedLine, since, worker_pods
from core.api.objects import Object


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
