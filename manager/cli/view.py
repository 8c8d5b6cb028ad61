"""One StoryRun as people look at it: phases, progress, durations, what it waits for. Pure: objects in, records out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

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

    def duration(self, now: datetime) -> timedelta | None:
        if self.started_at is None:
            return None
        return max((self.finished_at or now) - self.started_at, timedelta())


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

    @property
    def done(self) -> int:
        return sum(step.phase is not None and step.phase.terminal for step in self.steps)

    @property
    def terminal(self) -> bool:
        return self.phase is not None and self.phase.terminal

    def duration(self, now: datetime) -> timedelta | None:
        if self.started_at is None:
            return None
        return max((self.finished_at or now) - self.started_at, timedelta())

    def waiting_on(self) -> str:
        """The steps that run or hold things up, shortest useful form."""
        active = [step.name for step in self.steps if step.phase is not None and not step.phase.terminal]
        if self.terminal or not active:
            return ""
        return active[0] if len(active) == 1 else f"{active[0]} (+{len(active) - 1})"


def view_run(run: Object, story: Object | None, step_runs: Iterable[Object] = ()) -> RunView:
    """Without its Story a run shows the steps it recorded."""
    status = run.get("status") or {}
    states: dict[str, Object] = status.get("stepStates") or {}
    by_step = {step_run["spec"].get("stepId"): step_run for step_run in step_runs}
    declared = _declared(story)
    known = {step["name"] for step in declared}
    declared += [{"name": name} for name in states if name not in known]
    return RunView(
        namespace=run["metadata"]["namespace"],
        name=run["metadata"]["name"],
        story=(run["spec"].get("storyRef") or {}).get("name", ""),
        phase=_phase(status.get("phase")),
        message=status.get("message") or "",
        started_at=parse_instant_or_none(status.get("startedAt")),
        finished_at=parse_instant_or_none(status.get("finishedAt")),
        created_at=parse_instant_or_none(run["metadata"].get("creationTimestamp")),
        steps=tuple(_step(step, states.get(step["name"]), by_step.get(step["name"])) for step in declared),
        output=status.get("output"),
        error=status.get("error"),
    )


def _declared(story: Object | None) -> list[Object]:
    spec = (story or {}).get("spec") or {}
    return [step for name in STEP_LISTS for step in spec.get(name) or ()]


def _step(step: Object, state: Object | None, step_run: Object | None) -> StepView:
    state = state or {}
    status = (step_run or {}).get("status") or {}
    retries = status.get("retries") or 0
    return StepView(
        name=step["name"],
        kind="engram" if step.get("ref") else step.get("type", "engram"),
        phase=_phase(state.get("phase") or status.get("phase")),
        started_at=parse_instant_or_none(state.get("startedAt") or status.get("startedAt")),
        finished_at=parse_instant_or_none(state.get("finishedAt") or status.get("finishedAt")),
        detail=_detail(step, state, status, retries),
        allow_failure=bool(step.get("allowFailure")),
        retries=retries,
        exit_code=status.get("exitCode"),
    )


def _detail(step: Object, state: Object, status: Object, retries: int) -> str:
    parts = []
    if retries:
        parts.append(f"attempt {retries + 1}")
    if status.get("exitCode"):
        parts.append(f"exit {status['exitCode']}")
    message = (status.get("error") or {}).get("message") or state.get("message") or ""
    phase = _phase(state.get("phase"))
    if message and (phase is None or phase is not Phase.SUCCEEDED):
        parts.append(" ".join(str(message).split()))
    if step.get("allowFailure") and phase is not None and phase.failing:
        parts.append("allowFailure")
    if phase is None and step.get("needs"):
        parts.append(f"needs {', '.join(step['needs'])}")
    return ", ".join(parts)


def _phase(word: Any) -> Phase | None:
    return Phase(word) if word in set(Phase) else None
