"""The lines of a run's steps in the logs of warm workers, which execute steps of many runs. Source: SDK contract 24.6.

Each line of a step is a record with the names of its run and StepRun, and the number of the attempt. All Pods of the
pools are read: an earlier attempt may have been in another worker than the last one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cli.pod_logs import PodLog, attempts_started, read_pod_log
from cli.runs import pods_of_pools
from cli.session import Session
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
