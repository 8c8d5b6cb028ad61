"""One StoryRun in the form for people: phases, progress, durations, waits. Pure: objects in, records out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from bubu_contract.durations import parse_duration
from bubu_contract.identity import label_value
from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import Object, ReadOnlyObject
from core.api.phases import Phase, member_or_none
from core.engine.ports import STREAM
from core.engine.step.record import executor_of
from core.engine.step.state import reason_of
from core.story.step import ANY_ITEM
from core.story.story import is_realtime
from views.flow import StepFlow, bindings_by_step, flow_of
from views.gates import is_open_gate
from views.pod_wait import pod_wait
from views.sign import word_of
from views.signals import SignalView, last_signal
from views.step_layout import RunStep, declared_steps, parent_of, path_of, recorded_steps
from views.text import one_line
from views.timers import deadlines_of
from views.trace_view import TraceView, trace_view

EARLIER: Final = "earlier execution"
"""In the details of a step that was not executed again."""
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_BY_STEP_RUN: Final = "steprun/"


class CommandText(Protocol):
    """The command to type for an action on a run."""

    def __call__(self, verb: str, *arguments: str) -> str: ...


def plain_command(verb: str, *arguments: str) -> str:
    return shlex.join(["bobrapet", verb, *arguments])


@dataclass(frozen=True, slots=True)
class BranchTally:
    """How many branches a ``parallel`` step has."""

    ended: int
    failed: int
    total: int
    """With those that have not begun, as far as they are known: a list of items is evaluated when the step begins."""


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of a run: a declared one, or a branch."""

    name: str
    """Its path: ``fan/a`` is a branch of ``fan``."""
    kind: str
    """``engram`` or the primitive's type."""
    phase: Phase | None
    """None: the step has not begun."""
    started_at: datetime | None
    finished_at: datetime | None
    detail: str
    """Why it waits, failed or was skipped; attempt numbers; empty when there is nothing to add."""
    allow_failure: bool
    retries: int = 0
    exit_code: int | None = None
    measured: timedelta | None = None
    """How long it took, if a more exact measurement exists than the difference of the instants."""
    waits: str = ""
    """What the step waits for, or why its Pod does not run yet; empty if nothing blocks it."""
    error: tuple[tuple[str, str], ...] = ()
    """The structured error, name by name, without the parts that are in ``detail``."""
    until: datetime | None = None
    """When the wait ends at the latest."""
    answer: str = ""
    """The command that lets it continue, if a person has to decide."""
    child_run: str = ""
    """The StoryRun it started."""
    reason: str = ""
    """Why it is in its phase, as a word for programs; empty if the run does not have it."""
    serves_stream: bool = False
    """It is a step of a realtime run, with a container that stays."""
    flow: StepFlow | None = None
    """What the hub says of its stream, if that was looked at."""
    signal: SignalView | None = None
    """What its container sent last."""
    branches: BranchTally | None = None
    """The branches of a ``parallel`` step that has begun."""
    is_earlier: bool = False
    """It ended in an earlier execution of the run, before ``retry`` ran others again."""

    @property
    def depth(self) -> int:
        """0 for a step of the Story itself, 1 for a branch, and so on."""
        return self.name.count("/")

    @property
    def at_work(self) -> bool:
        """Begun and not ended."""
        return self.phase is not None and not self.phase.terminal

    @property
    def is_connected(self) -> bool:
        """Whether its container is connected to the hub; a dead hub leaves in its report that it is, and the operator
        pauses the step.
        """
        if not self.at_work or not self.serves_stream or self.phase is Phase.PAUSED:
            return False
        return self.flow.is_connected if self.flow is not None else self.phase is Phase.RUNNING

    def duration(self, now: datetime) -> timedelta | None:
        return self.measured or _between(self.started_at, self.finished_at, now)

    @property
    def moved_at(self) -> datetime | None:
        """Since when it has been in its phase, if known."""
        return self.finished_at or self.started_at


@dataclass(frozen=True, slots=True)
class RunView:
    namespace: str
    name: str
    story: str
    phase: Phase | None
    message: str
    started_at: datetime | None
    finished_at: datetime | None
    created_at: datetime | None
    steps: tuple[StepView, ...]
    """Branches come after the step around them."""
    output: Any
    error: Object | None
    timeout: timedelta | None = None
    """How long a run of the Story may take; None if the Story does not say."""
    queue: str = ""
    """Queue and priority, if the Story sets them."""
    cancel_requested: bool = False
    cancel_reason: str = ""
    """What the user who canceled it said."""
    trace: TraceView | None = None
    """None: the run is not traced."""
    executions: int = 1
    """How often the run has been executed: more than once after ``retry``. Its times are those of the last one."""

    @property
    def word(self) -> str:
        """Its phase, and whether it was canceled: a ``stop`` step ends a run in the phase Finished, too."""
        word = word_of(self.phase)
        return f"{word} (canceled)" if self.phase is Phase.FINISHED and self.cancel_requested else word

    @property
    def total(self) -> int:
        """Steps of the Story itself, without branches."""
        return sum(not step.depth for step in self.steps)

    @property
    def done(self) -> int:
        """The number of steps in ``total`` that have ended."""
        return sum(step.phase is not None and step.phase.terminal for step in self.steps if not step.depth)

    @property
    def streams(self) -> list[StepView]:
        """The steps whose streams have not ended; none if the run has."""
        if self.terminal:
            return []
        return [s for s in self.steps if s.serves_stream and not (s.phase is not None and s.phase.terminal)]

    def progress(self) -> str:
        """How far it has come, in the shortest useful form: ``3/7``; while streams flow ``2/3 connected``."""
        streams = self.streams
        if not streams:
            return f"{self.done}/{self.total}"
        return f"{sum(step.is_connected for step in streams)}/{len(streams)} connected"

    @property
    def terminal(self) -> bool:
        return self.phase is not None and self.phase.terminal

    def duration(self, now: datetime) -> timedelta | None:
        return _between(self.started_at, self.finished_at, now)

    @property
    def moved_at(self) -> datetime | None:
        """Since when it has been in its phase, if known."""
        return self.finished_at or self.started_at

    @property
    def active(self) -> list[StepView]:
        """Steps that run or wait; for a ``parallel`` step its branches, once they have begun."""
        found = [] if self.terminal else [step for step in self.steps if step.at_work]
        around = {parent_of(step.name) for step in found}
        return [step for step in found if step.name not in around]

    def waiting_on(self) -> str:
        """The active steps in the shortest useful form. A step that is connected waits for nothing but messages."""
        active = [step for step in self.active if not step.is_connected]
        if not active:
            return ""
        return active[0].name if len(active) == 1 else f"{active[0].name} (+{len(active) - 1})"

    def waits(self) -> str:
        """What the first active step waits for, of those that say so."""
        return next((step.waits for step in self.active if step.waits), "")

    def culprit(self) -> StepView | None:
        """The failed step that made the run fail; for a ``parallel`` step its branch.

        A canceled step counts only where the run has failed and no step has: a cancel of the run is no failure.
        """
        failed = [s for s in self.steps if s.phase is not None and s.phase.failing and not s.allow_failure]
        failed = [s for s in failed if s.phase is not Phase.CANCELED] or (failed if self.phase is Phase.FAILED else [])
        around = {parent_of(step.name) for step in failed}
        leaves = [step for step in failed if step.name not in around]
        return min(leaves, key=lambda step: (step.finished_at is None, step.finished_at or _NEVER), default=None)


def view_run(
    run: Object,
    story: Object | None,
    step_runs: Iterable[Object] = (),
    pods: Iterable[Object] = (),
    bindings: Iterable[Object] = (),
    *,
    command: CommandText = plain_command,
) -> RunView:
    """The view of a run. It has the recorded steps if the Story is missing, or has changed since the run ended.

    Args:
        bindings: the TransportBindings of a realtime run.
    """
    status, annotations = run.get("status") or {}, run["metadata"].get("annotations") or {}
    phase = member_or_none(Phase, status.get("phase"))
    look = _Look(
        run,
        status.get("stepStates") or {},
        # A StepRun may be visible a moment before its run is Running: people must see the run begin first.
        {path_of(step_run): step_run for step_run in step_runs if status.get("phase") is not None},
        {key: pod for pod in pods for key in _step_keys(pod)},
        deadlines_of(run),
        bindings_by_step(bindings, run["metadata"].get("uid", "")),
        is_realtime((story or {}).get("spec") or {}),
        command,
    )
    return RunView(
        namespace=run["metadata"]["namespace"],
        name=run["metadata"]["name"],
        story=(run["spec"].get("storyRef") or {}).get("name", ""),
        phase=phase,
        message=one_line(status.get("message") or ""),
        started_at=parse_instant_or_none(status.get("startedAt")),
        finished_at=parse_instant_or_none(status.get("finishedAt")),
        created_at=parse_instant_or_none(run["metadata"].get("creationTimestamp")),
        steps=_with_tallies([look.view(placed) for placed in _placed(story, look, phase)], run),
        output=status.get("output"),
        error=status.get("error"),
        timeout=_timeout(story),
        queue=_queue(story),
        cancel_requested=bool(run["spec"].get("cancelRequested")),
        cancel_reason=one_line(annotations.get(keys.ANNOTATION_CANCEL_REASON) or ""),
        trace=trace_view(run),
        executions=int(status.get("attempts") or 1),
    )


def _with_tallies(steps: Sequence[StepView], run: Object) -> tuple[StepView, ...]:
    """The steps, with a tally for each ``parallel`` step that has begun."""
    by_parent: dict[str, list[StepView]] = {}
    for step in steps:
        by_parent.setdefault(parent_of(step.name), []).append(step)
    made = (run.get("status") or {}).get("primitiveChildren") or {}
    found = []
    for step in steps:
        branches = by_parent.get(step.name, [])
        if (step.kind == "parallel" or branches) and step.phase is not None:
            ended = [each for each in branches if each.phase is not None and each.phase.terminal]
            failed = sum(each.phase is not None and each.phase.failing for each in ended)
            total = max(len(branches), len(made.get(step.name) or ()))
            step = replace(step, branches=BranchTally(len(ended), failed, total)) if total else step
        found.append(step)
    return tuple(found)


def _placed(story: Object | None, look: _Look, phase: Phase | None) -> list[RunStep]:
    names = [*look.states, *(name for name in look.step_runs if "/" in name)]
    declared = [placed for placed in declared_steps(story, names) if ANY_ITEM not in placed.name]
    unknown = recorded_steps(look.states, (placed.name for placed in declared))
    if unknown and phase is not None and phase.terminal:
        declared = [placed for placed in declared if placed.name in look.states]
    return declared + unknown


def _step_keys(pod: Object) -> tuple[str, ...]:
    """The keys with which a step finds its Pod: its StepRun's label, or else the step's label."""
    labels = pod["metadata"].get("labels") or {}
    by_run = labels.get(keys.LABEL_STEP_RUN)
    return (f"{_BY_STEP_RUN}{by_run}",) if by_run else (labels.get(keys.LABEL_STEP, ""),)


@dataclass(frozen=True, slots=True)
class _Look:
    """The known objects of the steps of one run, by name."""

    run: Object
    states: Mapping[str, Object]
    step_runs: Mapping[str, Object]
    pods: Mapping[str, Object]
    deadlines: Mapping[str, datetime]
    bindings: Mapping[str, Object]
    is_realtime: bool
    command: CommandText

    def view(self, placed: RunStep) -> StepView:
        name, step = placed.name, placed.step
        state, step_run = self.states.get(name) or {}, self.step_runs.get(name) or {}
        status = step_run.get("status") or {}
        phase = _phase_of_step(state, status)
        finished_at = parse_instant_or_none(state.get("finishedAt") or status.get("finishedAt"))
        waits = self._waits(name, state, step_run) if phase is not None and not phase.terminal else ""
        gate = is_open_gate(placed, self.run)
        binding, is_earlier = self.bindings.get(name), self._is_earlier(finished_at)
        return StepView(
            name=name,
            kind=placed.kind,
            phase=phase,
            started_at=parse_instant_or_none(state.get("startedAt") or status.get("startedAt")),
            finished_at=finished_at,
            detail=", ".join(filter(None, (EARLIER if is_earlier else "", _detail(step, state, step_run, waits)))),
            allow_failure=bool(step.get("allowFailure")),
            retries=status.get("retries") or 0,
            exit_code=status.get("exitCode"),
            measured=_duration(status.get("duration")) if finished_at else None,
            waits=waits,
            error=_error(status),
            until=self.deadlines.get(name) if waits else None,
            answer=self.command("approve", self.run["metadata"]["name"], name) if gate else "",
            child_run=str(state.get("subStoryRunName") or ""),
            reason=reason_of(state),
            serves_stream=self._serves_stream(placed, step_run),
            flow=flow_of(binding) if binding is not None else None,
            signal=last_signal(status),
            is_earlier=is_earlier,
        )

    def _is_earlier(self, finished_at: datetime | None) -> bool:
        status = self.run.get("status") or {}
        began_at = parse_instant_or_none(status.get("startedAt"))
        if began_at is None or finished_at is None or int(status.get("attempts") or 1) < 2:
            return False
        return finished_at < began_at

    def _serves_stream(self, placed: RunStep, step_run: Object) -> bool:
        if step_run.get("spec"):
            return executor_of(step_run) == STREAM
        return self.is_realtime and placed.list_name == "steps"

    def _waits(self, name: str, state: Object, step_run: Object) -> str:
        """The message of the run; if it has none, the reason of the Pod."""
        if state.get("message"):
            return one_line(state["message"])
        by_run = label_value(step_run["metadata"]["name"]) if step_run.get("metadata") else ""
        pod = self.pods.get(f"{_BY_STEP_RUN}{by_run}") or self.pods.get(label_value(name))
        wait = pod_wait(pod) if pod is not None else None
        return wait.text if wait is not None else ""


def _between(start: datetime | None, end: datetime | None, now: datetime) -> timedelta | None:
    """The time in between. For running work it is in whole seconds, because the start is not known more exactly."""
    if start is None:
        return None
    if end is None:
        return max(timedelta(seconds=int((now - start).total_seconds())), timedelta())
    return max(end - start, timedelta())


def _policy(story: Object | None) -> Object:
    return ((story or {}).get("spec") or {}).get("policy") or {}


def _timeout(story: Object | None) -> timedelta | None:
    return _duration((_policy(story).get("timeouts") or {}).get("story"))


def _queue(story: Object | None) -> str:
    policy = _policy(story)
    words = (("queue", policy.get("queue")), ("priority", policy.get("priority")))
    return ", ".join(f"{word} {value}" for word, value in words if value is not None)


def _duration(text: Any) -> timedelta | None:
    try:
        return parse_duration(text or "")
    except ValueError:
        return None


def _phase_of_step(state: Object, status: Object) -> Phase | None:
    """The recorded phase. The end of a StepRun is visible a moment before its run has recorded it."""
    recorded, seen = member_or_none(Phase, state.get("phase")), member_or_none(Phase, status.get("phase"))
    if recorded is None or (seen is not None and seen.terminal and not recorded.terminal):
        return seen
    return recorded


def _detail(step: ReadOnlyObject, state: Object, step_run: Object, waits: str) -> str:
    """The details in one text, short facts first, because a terminal cuts off long messages."""
    status = step_run.get("status") or {}
    phase = _phase_of_step(state, status)
    parts = []
    if status.get("cached"):
        parts.append(_cached(status))
    if status.get("retries"):
        parts.append(f"attempt {_attempt(step_run)}")
    if status.get("exitCode") and phase is not Phase.SUCCEEDED and not _is_of_operator(status.get("error") or {}):
        parts.append(f"exit {status['exitCode']}")
    if step.get("allowFailure") and phase is not None and phase.failing:
        parts.append("allowFailure")
    message = (status.get("error") or {}).get("message") or state.get("message") or ""
    if waits:
        parts.append(waits)
    elif message and phase is not Phase.SUCCEEDED:
        parts.append(one_line(message))
    if phase is None and step.get("needs"):
        parts.append(f"needs {', '.join(step['needs'])}")
    return ", ".join(parts)


_OF_THE_OPERATOR: Final = frozenset({"version", "type", "message", "details"})
"""The fields of an error that the operator writes, the last one of a timeout. SDKs add at least ``exitClass``."""


_NOT_SHOWN: Final = ("message", "version", "exceptions")
"""Fields of an error: the message names the exception, too."""


def _is_of_operator(error: Object) -> bool:
    """Whether the operator has written the error. Then its message says how the container ended, with the exit code.

    This decides about the display only, and by the fields of the error, not by its message. If a program writes an
    error with exactly these fields, its exit code is not in this line, only in ``status.exitCode`` of the StepRun.
    """
    return _OF_THE_OPERATOR - {"details"} <= error.keys() <= _OF_THE_OPERATOR


def _cached(status: Object) -> str:
    """Where the output comes from, if it comes from the cache."""
    source = status.get("cachedFrom") or {}
    return f"cached, from {source['storyRun']}" if source.get("storyRun") else "cached"


def _attempt(step_run: Object) -> str:
    """``3/4``: the first attempt counts, too, but is not a retry."""
    allowed = (step_run["spec"].get("retry") or {}).get("maxRetries")
    number = step_run["status"]["retries"] + 1
    return f"{number}/{allowed + 1}" if isinstance(allowed, int) else str(number)


def _error(status: Object) -> tuple[tuple[str, str], ...]:
    error = status.get("error")
    if not isinstance(error, dict):
        return ()
    shown = {name: value for name, value in error.items() if name not in _NOT_SHOWN}
    if status.get("exitClass"):
        shown.setdefault("exitClass", status["exitClass"])
    return tuple(
        (name, one_line(value if isinstance(value, str) else json.dumps(value))) for name, value in shown.items()
    )
