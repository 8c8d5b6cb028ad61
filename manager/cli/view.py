"""One StoryRun as people look at it: phases, progress, durations, what it waits for. Pure: objects in, records out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.api import keys
from core.api.duration import parse_duration
from core.api.identity import label_value
from core.api.instant import parse_instant_or_none
from core.api.phases import Phase

Object = dict[str, Any]

STEP_LISTS = ("steps", "compensations", "finally")


@dataclass(frozen=True, slots=True)
class StepView:
    """One declared step of a run."""

    name: str
    kind: str
    """``engram`` or the primitive's type."""
    phase: Phase | None
    """None: nothing happened to it yet."""
    started_at: datetime | None
    finished_at: datetime | None
    detail: str
    """Why it waits, failed or was skipped; attempt numbers; empty when there is nothing to add."""
    allow_failure: bool
    retries: int = 0
    exit_code: int | None = None
    measured: timedelta | None = None
    """How long it took, where somebody measured it better than the instants can tell."""
    waits: str = ""
    """Why its Pod does not run yet, if something is in the way."""
    error: tuple[tuple[str, str], ...] = ()
    """The structured error, name by name, without what ``detail`` says already."""

    def duration(self, now: datetime) -> timedelta | None:
        return self.measured or _between(self.started_at, self.finished_at, now)

    @property
    def moved_at(self) -> datetime | None:
        """Since when it is in its phase, if that is known."""
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
    output: Any
    error: Object | None
    timeout: timedelta | None = None
    """How long the Story allows its runs; None when it does not say."""
    queue: str = ""
    """Queue and priority, as far as the Story says something about them."""

    @property
    def done(self) -> int:
        return sum(step.phase is not None and step.phase.terminal for step in self.steps)

    @property
    def terminal(self) -> bool:
        return self.phase is not None and self.phase.terminal

    def duration(self, now: datetime) -> timedelta | None:
        return _between(self.started_at, self.finished_at, now)

    @property
    def moved_at(self) -> datetime | None:
        """Since when it is in its phase, if that is known."""
        return self.finished_at or self.started_at

    def waiting_on(self) -> str:
        """The steps that run or hold things up, shortest useful form."""
        active = [step.name for step in self.steps if step.phase is not None and not step.phase.terminal]
        if self.terminal or not active:
            return ""
        return active[0] if len(active) == 1 else f"{active[0]} (+{len(active) - 1})"


def view_run(
    run: Object, story: Object | None, step_runs: Iterable[Object] = (), pods: Iterable[Object] = ()
) -> RunView:
    """Without its Story, and when that has changed since it ended, a run shows the steps it recorded."""
    status = run.get("status") or {}
    states: dict[str, Object] = status.get("stepStates") or {}
    # A StepRun may be seen a moment before its run says Running: people see the run begin first.
    begun = status.get("phase") is not None
    by_step = {step_run["spec"].get("stepId"): step_run for step_run in step_runs if begun}
    waits = {pod["metadata"]["labels"].get(keys.LABEL_STEP, ""): _why_pod_waits(pod) for pod in pods}
    declared = _declared(story)
    known = {step["name"] for step in declared}
    unknown = [{"name": name} for name in states if name not in known]
    phase = _phase(status.get("phase"))
    if unknown and phase is not None and phase.terminal:
        declared = [step for step in declared if step["name"] in states]
    declared += unknown
    return RunView(
        namespace=run["metadata"]["namespace"],
        name=run["metadata"]["name"],
        story=(run["spec"].get("storyRef") or {}).get("name", ""),
        phase=phase,
        message=_one_line(status.get("message") or ""),
        started_at=parse_instant_or_none(status.get("startedAt")),
        finished_at=parse_instant_or_none(status.get("finishedAt")),
        created_at=parse_instant_or_none(run["metadata"].get("creationTimestamp")),
        steps=tuple(
            _step(
                step,
                states.get(step["name"]) or {},
                by_step.get(step["name"]) or {},
                waits.get(label_value(step["name"]), ""),
            )
            for step in declared
        ),
        output=status.get("output"),
        error=status.get("error"),
        timeout=_timeout(story),
        queue=_queue(story),
    )


def _between(start: datetime | None, end: datetime | None, now: datetime) -> timedelta | None:
    """What still runs is told in whole seconds: its start is known no better."""
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


def _why_pod_waits(pod: Object) -> str:
    """Empty while it is only on its way: a reason without a message passes by itself."""
    status = pod.get("status") or {}
    if status.get("phase") != "Pending":
        return ""
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("message"):
            return _one_line(f"{waiting.get('reason', 'waiting')}: {waiting['message']}")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _one_line(f"{condition.get('reason', 'Unschedulable')}: {condition.get('message', '')}")
    return ""


def _one_line(text: Any) -> str:
    """Nothing in it moves the cursor: messages hold what other programs wrote."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())


def _declared(story: Object | None) -> list[Object]:
    spec = (story or {}).get("spec") or {}
    return [step for name in STEP_LISTS for step in spec.get(name) or ()]


def _step(step: Object, state: Object, step_run: Object, waits: str) -> StepView:
    status = step_run.get("status") or {}
    retries = status.get("retries") or 0
    phase = _phase_of_step(state, status)
    finished_at = parse_instant_or_none(state.get("finishedAt") or status.get("finishedAt"))
    waits = waits if phase is not None and not phase.terminal else ""
    return StepView(
        name=step["name"],
        kind="engram" if step.get("ref") else step.get("type", "engram"),
        phase=phase,
        started_at=parse_instant_or_none(state.get("startedAt") or status.get("startedAt")),
        finished_at=finished_at,
        detail=_detail(step, state, step_run, waits),
        allow_failure=bool(step.get("allowFailure")),
        retries=retries,
        exit_code=status.get("exitCode"),
        measured=_duration(status.get("duration")) if finished_at else None,
        waits=waits,
        error=_error(status),
    )


def _phase_of_step(state: Object, status: Object) -> Phase | None:
    """What the run recorded; the end of a StepRun is seen a moment before its run has recorded it."""
    recorded, seen = _phase(state.get("phase")), _phase(status.get("phase"))
    if recorded is None or (seen is not None and seen.terminal and not recorded.terminal):
        return seen
    return recorded


def _detail(step: Object, state: Object, step_run: Object, waits: str) -> str:
    """The short facts come first: a long message is cut at the edge of a terminal."""
    status = step_run.get("status") or {}
    phase = _phase_of_step(state, status)
    parts = [waits] if waits else []
    if status.get("retries"):
        parts.append(f"attempt {_attempt(step_run)}")
    if status.get("exitCode") and phase is not Phase.SUCCEEDED:
        parts.append(f"exit {status['exitCode']}")
    if step.get("allowFailure") and phase is not None and phase.failing:
        parts.append("allowFailure")
    message = (status.get("error") or {}).get("message") or state.get("message") or ""
    if message and phase is not Phase.SUCCEEDED:
        parts.append(_one_line(message))
    if phase is None and step.get("needs"):
        parts.append(f"needs {', '.join(step['needs'])}")
    return ", ".join(parts)


def _attempt(step_run: Object) -> str:
    """``3/4``: the first one is no retry."""
    allowed = (step_run["spec"].get("retry") or {}).get("maxRetries")
    number = step_run["status"]["retries"] + 1
    return f"{number}/{allowed + 1}" if isinstance(allowed, int) else str(number)


def _error(status: Object) -> tuple[tuple[str, str], ...]:
    error = status.get("error")
    if not isinstance(error, dict):
        return ()
    told = {name: value for name, value in error.items() if name not in ("message", "version")}
    if status.get("exitClass"):
        told.setdefault("exitClass", status["exitClass"])
    return tuple(
        (name, _one_line(value if isinstance(value, str) else json.dumps(value))) for name, value in told.items()
    )


def _phase(word: Any) -> Phase | None:
    return Phase(word) if word in set(Phase) else None
