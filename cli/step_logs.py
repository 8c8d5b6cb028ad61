"""Logs of a run's steps, and what to show when a run failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import trio

from cli.problem import CommandError
from cli.runs import look_at, pods_of, step_runs_of
from cli.session import Session
from core.api import keys
from core.api.identity import label_value
from core.api.objects import Object
from core.api.resource import POD, STORY_RUN
from core.api.suggestion import closest
from core.kube.errors import ApiError, KubeError
from core.kube.transport import open_lines
from core.workloads.step_workload import ENGRAM_CONTAINER
from views.run_view import RunView
from views.sign import word_of
from views.step_layout import path_of

LAST_LINES: Final = 20
_POLL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class LogWish:
    """Conditions for lines; without a condition, all lines."""

    steps: tuple[str, ...] = ()
    follow: bool = False
    failed: bool = False
    previous: bool = False
    """Only the attempt before the last one of each step."""
    attempt: int | None = None
    tail: int | None = None
    since_seconds: int | None = None
    pattern: re.Pattern[str] | None = None

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the request to the API server."""
        given = {"tailLines": self.tail, "sinceSeconds": self.since_seconds}
        numbers = {name: str(value) for name, value in given.items() if value is not None}
        return {"container": ENGRAM_CONTAINER, **numbers, **({"follow": "true"} if self.follow else {})}

    def takes(self, log: PodLog) -> bool:
        return (
            (not self.steps or log.step in self.steps or log.step in map(label_value, self.steps))
            and (self.attempt is None or log.attempt == self.attempt)
            and (not self.failed or (log.pod.get("status") or {}).get("phase") == "Failed")
        )

    def matches(self, line: str) -> bool:
        return self.pattern is None or bool(self.pattern.search(line))


@dataclass(frozen=True, slots=True)
class PodLog:
    """The log of one attempt of a step."""

    pod: Object
    step: str
    """The step's path in its StepRun; without a StepRun, the label of the Pod."""
    attempt: int
    """Counted from 1."""
    of_container_before: bool = False
    """The attempt is an earlier run of the Pod's container."""

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])


async def print_logs(session: Session, run: Object, wish: LogWish) -> None:
    """Print every line as ``step[attempt] text``; with ``follow`` until the run's Pods have ended.

    Raises:
        CommandError: there is no such log, or none yet.
    """
    seen: set[str] = set()

    async def show(log: PodLog) -> None:
        parameters = {**wish.parameters, **({"previous": "true"} if log.of_container_before else {})}
        label = f"{log.step}[{log.attempt}]"
        await _stream(
            session,
            log.pod,
            parameters,
            lambda line: session.console.result(f"{label} {line}") if wish.matches(line) else None,
        )

    async with trio.open_nursery() as nursery:
        while True:
            logs = numbered(await pods_of(session, run, tolerant=False), await step_runs_of(session, run))
            for log in previous_of(logs) if wish.previous else logs:
                if wish.takes(log) and log.name not in seen and _has_started(log.pod):
                    seen.add(log.name)
                    if wish.follow:
                        nursery.start_soon(show, log)
                    else:
                        await show(log)
            if not wish.follow or await _over(session, run):
                break
            await trio.sleep(_POLL_SECONDS)
    if not seen and (wish.steps or wish.previous):
        raise _no_logs(wish)


def _no_logs(wish: LogWish) -> CommandError:
    steps = ", ".join(wish.steps) or "any step"
    if wish.previous:
        return CommandError(
            f"there is no log of a previous attempt of {steps}: its Pod is deleted when the next attempt starts",
            remedy="leave out --previous to see the last attempt",
        )
    them = "it" if len(wish.steps) == 1 else "them"
    return CommandError(
        f"no logs of {steps}: {them} has no Pod yet, or the Pod was deleted", remedy="wait for one with --follow"
    )


async def refuse_unknown_steps(session: Session, run: Object, steps: Sequence[str]) -> None:
    """Raises:
    CommandError: the run does not have such a step; the message names those that it has.
    """
    if not steps:
        return
    known = [step.name for step in (await look_at(session, run)).steps]
    for step in steps:
        if step not in known:
            near = closest(step, known)
            remedy = f"did you mean {near!r}?" if near else f"it has: {', '.join(known)}"
            raise CommandError(f"run {run['metadata']['name']} has no step {step!r}", remedy=remedy)


async def failure_report(session: Session, run: Object, view: RunView) -> str:
    """The failing step, its error, its last log lines and the next useful command."""
    lines = [f"{view.name}: {view.word}" + (f": {view.message}" if view.message else "")]
    failing = view.culprit()
    if failing is None:
        return lines[0]
    lines.append(f"step {failing.name}: {word_of(failing.phase)}" + (f", {failing.detail}" if failing.detail else ""))
    lines += [f"  {name}: {value}" for name, value in failing.error]
    tail = await _last_lines(session, run, failing.name)
    if tail:
        lines += [f"last {len(tail)} log lines of {failing.name}:", *(f"  | {line}" for line in tail)]
    lines.append(f"more: {session.command('logs', view.name, failing.name)}")
    return "\n".join(lines)


async def _last_lines(session: Session, run: Object, step: str) -> list[str]:
    names = {
        label_value(each["metadata"]["name"]) for each in await step_runs_of(session, run) if path_of(each) == step
    }
    pods = [pod for pod in await pods_of(session, run) if _is_of(pod, step, names)]
    return await last_lines_of(session, pods[-1]) if pods else []


def _is_of(pod: Object, step: str, step_runs: Collection[str]) -> bool:
    """Whether the Pod belongs to the step: by its StepRun; if the Pod does not name one, by the step."""
    labels = pod["metadata"]["labels"]
    by_run = labels.get(keys.LABEL_STEP_RUN)
    return by_run in step_runs if by_run else labels.get(keys.LABEL_STEP) == label_value(step)


async def last_lines_of(session: Session, pod: Object) -> list[str]:
    """The last lines of a Pod's log; empty if there is no log, or the user may not read it."""
    collected: list[str] = []
    try:
        await _stream(session, pod, {"container": ENGRAM_CONTAINER, "tailLines": str(LAST_LINES)}, collected.append)
    except KubeError:
        return []
    return collected


def numbered(pods: Sequence[Object], step_runs: Sequence[Object]) -> list[PodLog]:
    """Logs, oldest first, in the order of the Pods. Pods of earlier attempts may be gone: the StepRun counts them."""
    names = {label_value(each["metadata"]["name"]): path_of(each) for each in step_runs if "metadata" in each}
    by_step: dict[str, list[Object]] = {}
    for pod in pods:
        labels = pod["metadata"]["labels"]
        step = names.get(labels.get(keys.LABEL_STEP_RUN, "")) or labels.get(keys.LABEL_STEP, pod["metadata"]["name"])
        by_step.setdefault(step, []).append(pod)
    started = {path_of(step_run): _attempts_started(step_run) for step_run in step_runs}
    logs = []
    for step, of_step in by_step.items():
        last = max(started.get(step, 0), len(of_step))
        logs += [PodLog(pod, step, number) for number, pod in enumerate(of_step, start=last - len(of_step) + 1)]
    return sorted(logs, key=lambda log: pods.index(log.pod))


def _attempts_started(step_run: Object) -> int:
    """The number of attempts that have started; a retry that is still waiting has not."""
    status = step_run.get("status") or {}
    return int(status.get("retries") or 0) + (0 if status.get("nextRetryAt") else 1)


def previous_of(logs: Sequence[PodLog]) -> list[PodLog]:
    """For each step the attempt before the last one: an earlier run of its container, or an earlier Pod."""
    last = {log.step: log for log in logs}
    found = []
    for step, log in last.items():
        if _restarts(log.pod):
            found.append(replace(log, of_container_before=True))
        else:
            found += [each for each in logs if each.step == step and each.attempt == log.attempt - 1]
    return found


def _restarts(pod: Object) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return max((status.get("restartCount") or 0 for status in statuses), default=0)


def _has_started(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any({"running", "terminated"} & set(status.get("state") or {}) for status in statuses)


async def _over(session: Session, run: Object) -> bool:
    metadata = run["metadata"]
    stored = await session.client.get(STORY_RUN, metadata["name"], metadata["namespace"])
    return bool((stored.get("status") or {}).get("finishedAt"))


async def _stream(session: Session, pod: Object, parameters: dict[str, str], show: Callable[[str], object]) -> None:
    metadata = pod["metadata"]
    path = POD.path(metadata["namespace"], metadata["name"], "log")
    try:
        async with (
            session.client.open_stream("GET", path, params=parameters) as response,
            open_lines(response) as lines,
        ):
            async for line in lines:
                show(line)
    except ApiError as error:
        session.console.note(f"no logs of Pod {metadata['name']}: {error.message}")
