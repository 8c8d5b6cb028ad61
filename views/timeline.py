"""Where the time of a run went, step by step. Pure: facts in, spans out.

Sources of the spans: queueing and waits come from the step's state, attempts from the StepRun and its Pod. The Pods of
earlier attempts are gone: the StepRun lists when these attempts ended; once all Pods are gone, the last attempt is one
span. The timeline is of the last execution of a run; steps that it did not execute again have no spans.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bubu_contract.instants import parse_instant_or_none
from core.api.loops import MAX_ITERATIONS
from core.engine.step.manifest import child_run_name
from views.pod_wait import container_state, taken_at
from views.run_view import RunView, StepView, view_run
from views.why.cause import Facts


class Activity(StrEnum):
    """What happened in a span; stable, for programs."""

    QUEUED = "queued"
    """Waited for a slot, then for a node."""
    STARTING = "starting"
    """Its image was pulled and its container created."""
    RUNNING = "running"
    RETRIES = "retries"
    """An earlier attempt, which failed; of a StepRun that does not list them, all of them and their pauses."""
    BACKOFF = "backoff"
    """The pause before the next attempt."""
    GATE = "gate"
    WAIT = "wait"
    SLEEP = "sleep"
    CHILD = "child"
    """Its StoryRun ran."""
    BRANCHES = "branches"


@dataclass(frozen=True, slots=True)
class TimelineSpan:
    activity: Activity
    began_at: datetime
    ended_at: datetime

    @property
    def duration(self) -> timedelta:
        return self.ended_at - self.began_at


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One step."""

    run: str
    step: str
    phase: str
    depth: int
    """The number of steps around it: ``parallel`` steps, and steps that started the run it belongs to."""
    attempts: int
    spans: tuple[TimelineSpan, ...]
    """In order of time, without overlap; empty for a step that has not begun."""
    iteration: int = 0
    """Above 0: the row is a whole StoryRun, which a loop has started as this iteration; then ``step`` is empty."""
    is_earlier: bool = False
    """The step ended in an earlier execution of the run: it has no spans."""
    used: str = ""
    """How much of the processor the last container of a step that timed out had used, if that is known."""


@dataclass(frozen=True, slots=True)
class Timeline:
    namespace: str
    run: str
    story: str
    phase: str
    began_at: datetime | None
    """None: it has not begun."""
    ended_at: datetime
    """When it ended, or now."""
    is_over: bool
    rows: tuple[TimelineRow, ...]
    unseen: tuple[str, ...]
    execution: int = 1
    """Which execution of the run this is: after ``retry``, the last one."""


_BY_KIND = {
    "gate": Activity.GATE,
    "wait": Activity.WAIT,
    "sleep": Activity.SLEEP,
    "executeStory": Activity.CHILD,
    "parallel": Activity.BRANCHES,
}


def timeline_of(facts: Facts, now: datetime) -> Timeline:
    """The timeline of a run and of the runs that its steps started."""
    view = _view(facts)
    return Timeline(
        namespace=view.namespace,
        run=view.name,
        story=view.story,
        phase=str(view.phase or ""),
        began_at=view.started_at,
        ended_at=view.finished_at or now,
        is_over=view.terminal,
        rows=tuple(_rows(facts, view, view.finished_at or now, 0)),
        unseen=facts.unseen,
        execution=view.executions,
    )


def _view(facts: Facts) -> RunView:
    return view_run(facts.run, facts.story, facts.step_runs.values(), facts.pods.values())


def _rows(facts: Facts, view: RunView, end: datetime, depth: int) -> Iterator[TimelineRow]:
    for step in view.steps:
        spans = () if step.is_earlier else tuple(_spans(facts, step, end))
        attempts = step.retries + 1 if step.kind == "engram" and spans else 0
        row = TimelineRow(facts.name, step.name, str(step.phase or ""), depth + step.depth, attempts, spans)
        step_run = facts.step_runs.get(step.name)
        used = facts.processor.get(step_run["metadata"]["name"], "") if step_run is not None else ""
        yield replace(row, is_earlier=step.is_earlier, used=used)
        child = facts.children.get(step.name)
        if child is None or step.is_earlier:
            continue
        below = depth + step.depth + 1
        started = {run.name: run for run in (*facts.earlier_children.get(step.name, ()), child)}
        numbers = _iterations(facts.name, step.name, started)
        for name, number in sorted(numbers.items(), key=lambda numbered: numbered[1]):
            its = _view(started[name])
            yield _of_iteration(its, number, its.finished_at or end, below)
            yield from _rows(started[name], its, its.finished_at or end, below + 1)
        if child.name not in numbers:
            its = _view(child)
            yield from _rows(child, its, its.finished_at or end, below)


def _iterations(run: str, step: str, names: Collection[str]) -> dict[str, int]:
    """The numbers, from 1, of the StoryRuns that a loop has started; none for a step that starts only one."""
    if child_run_name(run, step) in names:
        return {}
    found: dict[str, int] = {}
    for number in range(1, MAX_ITERATIONS + 1):
        if (name := child_run_name(run, step, number)) in names:
            found[name] = number
        if len(found) == len(names):
            break
    return found


def _of_iteration(view: RunView, number: int, end: datetime, depth: int) -> TimelineRow:
    began_at = view.started_at
    spans = () if began_at is None else (TimelineSpan(Activity.CHILD, began_at, max(end, began_at)),)
    return TimelineRow(view.name, "", str(view.phase or ""), depth, 0, spans, number)


def _spans(facts: Facts, step: StepView, end: datetime) -> list[TimelineSpan]:
    """The spans of a step, in order: an instant from another clock is never placed before an earlier one."""
    if step.started_at is None:
        return []
    until = max(step.finished_at or end, step.started_at)
    at, found = step.started_at, list[TimelineSpan]()
    for activity, ended_at in _parts(facts, step):
        ends_at = min(max(ended_at or until, at), until)
        if found and found[-1].activity is activity and activity is not Activity.RETRIES:
            found[-1] = TimelineSpan(activity, found[-1].began_at, ends_at)
        elif ends_at > at:
            found.append(TimelineSpan(activity, at, ends_at))
        at = ends_at
    return found or [TimelineSpan(_BY_KIND.get(step.kind, Activity.RUNNING), at, until)]  # within a second


def _parts(facts: Facts, step: StepView) -> Iterator[tuple[Activity, datetime | None]]:
    """The activities of a step, each with its end; the last one ends with the step."""
    if step.kind in _BY_KIND:
        yield _BY_KIND[step.kind], None
        return
    step_run = facts.step_runs.get(step.name)
    if step_run is None:
        waits = step.at_work and step.waits
        yield (Activity.QUEUED if waits else Activity.RUNNING), None
        return
    if made_at := parse_instant_or_none(step_run["metadata"].get("creationTimestamp")):
        yield Activity.QUEUED, made_at
    pod, status = facts.pods.get(step_run["metadata"]["name"]), step_run.get("status") or {}
    failed = status.get("failedAttempts") or ()
    for each in failed:
        yield Activity.RETRIES, parse_instant_or_none(each.get("finishedAt"))
        yield Activity.BACKOFF, parse_instant_or_none(each.get("retryAt"))
    if failed and status.get("nextRetryAt"):
        yield Activity.BACKOFF, None
        return
    if pod is None:
        yield (Activity.RETRIES if status.get("nextRetryAt") else Activity.RUNNING), None
        return
    if step.retries and not failed:
        yield Activity.RETRIES, parse_instant_or_none(pod["metadata"].get("creationTimestamp"))
    scheduled_at = taken_at(pod)
    yield Activity.QUEUED, scheduled_at
    if scheduled_at is None:
        return
    state = container_state(pod)
    ran = state.get("running") or state.get("terminated")
    yield Activity.STARTING, parse_instant_or_none((ran or {}).get("startedAt"))
    if ran:
        yield Activity.RUNNING, None
