"""What is true of a run, in memory: frozen, changed only by named transitions, aware of what is stored already.

Pure. ``status_patch`` and ``metadata_patch`` are the smallest merge patches from the stored object to this state; both
are empty when there is nothing to say. A terminal phase, of the run or of a step, is never left.
Source: StoryRun contract 2.1 (phase writes), 3 (fields), 11.6 (timers), 17.2 (cancel).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from core.api import keys
from core.api.conditions import MAX_MESSAGE_LENGTH, find_condition, truncated, with_condition
from core.api.duration import format_seconds
from core.api.instant import format_instant, parse_instant_or_none
from core.api.phases import DEFAULT_REASONS, ConditionType, Phase, Reason
from core.engine.clock import format_deadline
from core.engine.ports import Object
from core.engine.verdict import Conclusion, Verdict
from core.engine.words import member_or_none
from core.kube.wire import merge_patch_between, values_equal

MAX_STEP_MESSAGE_LENGTH: Final = 1024
"""Keeps a status of a thousand failed steps below the size an object may have."""

_SLEEP_UNTIL = "sleepUntil"
_PASSIVE_FIELDS = frozenset({"observedGeneration", "conditions"})
"""Follow from the others: never a reason for a write of their own."""


@dataclass(frozen=True, slots=True)
class StepState:
    """One entry of ``stepStates``; instants have whole seconds once stored."""

    phase: Phase
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def to_wire(self) -> Object:
        wire: Object = {"phase": str(self.phase)}
        if self.message:
            wire["message"] = truncated(self.message, MAX_STEP_MESSAGE_LENGTH)
        if self.started_at is not None:
            wire["startedAt"] = format_instant(self.started_at)
        if self.finished_at is not None:
            wire["finishedAt"] = format_instant(self.finished_at)
        return wire


@dataclass(frozen=True, slots=True)
class RunState:
    stored: Object
    """The StoryRun as last known to be stored; the base of both patches."""
    order: tuple[str, ...] = ()
    """Declared steps, spec order; empty until the Story is known."""
    allowed: frozenset[str] = frozenset()
    phase: Phase | None = None
    reason: str = ""
    message: str = ""
    attempts: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    steps: Mapping[str, StepState] | None = None
    timers: Mapping[str, datetime] | None = None
    cancel_observed_at: datetime | None = None
    tokens: tuple[str, ...] = ()
    schema_refs: Mapping[str, Object] | None = None
    output: Mapping[str, Any] | None = None
    error: Object | None = None
    degraded: str | None = None
    obstacles: Mapping[str, str] | None = None
    """What somebody must mend before a step, or with an empty name the run, can go on."""

    @classmethod
    def from_stored(cls, run: Object) -> RunState:
        """The state a stored StoryRun stands for; damaged entries count as absent."""
        status = run.get("status") or {}
        ready = find_condition(status.get("conditions") or (), ConditionType.READY) or {}
        reason, message = str(ready.get("reason", "")), str(status.get("message") or "")
        if reason == Reason.PERMISSION_DENIED:  # of the moment: whoever goes on finds out whether it still holds
            reason = message = ""
        return cls(
            stored=run,
            phase=member_or_none(Phase, status.get("phase")),
            reason=reason,
            message=message,
            attempts=int(status.get("attempts") or 0),
            started_at=parse_instant_or_none(status.get("startedAt")),
            finished_at=parse_instant_or_none(status.get("finishedAt")),
            steps=_steps_from(status.get("stepStates")),
            timers=_timers_from(_annotations(run).get(keys.ANNOTATION_STEP_TIMERS)),
            cancel_observed_at=parse_instant_or_none(
                _annotations(run).get(keys.ANNOTATION_GRACEFUL_CANCEL_OBSERVED_AT)
            ),
            tokens=tuple(status.get("triggerTokens") or ()),
            output=status.get("output"),
            error=status.get("error"),
        )

    # What it says.

    @property
    def started(self) -> bool:
        """Whether the run was ever ``Running``; a ``Pending`` run that waits for its Story has not started."""
        return self.started_at is not None

    @property
    def ended(self) -> bool:
        return self.phase is not None and self.phase.terminal

    @property
    def stored_terminal(self) -> bool:
        """Whether the end is stored, written here or by another process; nothing is written after it."""
        return has_ended(self.stored)

    def step(self, name: str) -> StepState | None:
        return (self.steps or {}).get(name)

    @property
    def phases(self) -> dict[str, Phase]:
        """Phases of the declared steps that have one."""
        steps = self.steps or {}
        return {name: steps[name].phase for name in self.order if name in steps}

    # Transitions.

    def planned(self, order: Iterable[str], allowed: frozenset[str]) -> RunState:
        """The Story is known: these are the steps that count."""
        return replace(self, order=tuple(order), allowed=allowed)

    def story_missing(self, message: str) -> RunState:
        """``Pending`` unless it has run already; the phase of a running run stays."""
        return replace(self, phase=self.phase or Phase.PENDING, reason=Reason.STORY_NOT_FOUND, message=message)

    def obstructed(self, name: str, message: str) -> RunState:
        """A right is lacking for the step ``name`` (empty: for the run): it waits, and says for what."""
        if self.ended or (self.obstacles or {}).get(name) == message:
            return self
        return replace(self, phase=self.phase or Phase.PENDING, obstacles={**(self.obstacles or {}), name: message})

    def unobstructed(self, name: str) -> RunState:
        if name not in (self.obstacles or {}):
            return self
        return replace(self, obstacles={key: text for key, text in (self.obstacles or {}).items() if key != name})

    def began(self, now: datetime, schema_refs: Mapping[str, Object]) -> RunState:
        again = self.phase is Phase.RUNNING
        return replace(
            self,
            phase=Phase.RUNNING,
            reason=Reason.STARTING_EXECUTION,
            message="Executing the steps of the Story",
            attempts=max(self.attempts, 1) if again else self.attempts + 1,
            started_at=self.started_at or now,
            tokens=_with_tokens(self.tokens, "story", "impulse"),
            schema_refs=schema_refs,
        )

    def step_started(self, name: str, now: datetime, phase: Phase = Phase.RUNNING, message: str = "") -> RunState:
        """Records a non-terminal phase; a step that has one already keeps its start."""
        old = self.step(name)
        if old is not None and old.phase.terminal:
            return self
        new = StepState(phase, message, old.started_at if old is not None and old.started_at else now)
        return self if new == old else self._with_step(name, new)

    def step_ended(self, name: str, verdict: Verdict, now: datetime) -> RunState:
        """Records a terminal phase, once."""
        old = self.step(name)
        if old is not None and old.phase.terminal:
            return self
        finished_at = verdict.finished_at or now
        started_at = old.started_at if old is not None and old.started_at else verdict.started_at
        if started_at is not None:  # a container's clock may be ahead of ours or behind it
            finished_at = max(finished_at, started_at)
        return self.unobstructed(name)._with_step(name, StepState(verdict.phase, verdict.text, started_at, finished_at))

    def timer_set(self, name: str, wake_at: datetime) -> RunState:
        """Fixes when a sleeping step wakes; an instant that is fixed already stays."""
        timers = self.timers or {}
        return self if name in timers else replace(self, timers={**timers, name: wake_at})

    def cancel_observed(self, now: datetime) -> RunState:
        return self if self.cancel_observed_at else replace(self, cancel_observed_at=now)

    def concluded(self, conclusion: Conclusion, now: datetime) -> RunState:
        if self.ended:
            return self
        error = self._error(conclusion) if conclusion.has_error else None
        tokens = {Phase.SUCCEEDED: ("impulse-success",), Phase.FAILED: ("impulse-failed",)}.get(conclusion.phase, ())
        return replace(
            self,
            phase=conclusion.phase,
            reason=conclusion.reason,
            message=conclusion.message,
            finished_at=self.finished_at or max(now, self.started_at or now),
            tokens=_with_tokens(self.tokens, *tokens),
            output=conclusion.output,
            error=error,
            degraded=conclusion.degraded,
            obstacles=None,
        )

    def rebased(self, run: Object) -> RunState:
        """The same state over a newer stored object: instants that are fixed there win, the rest is ours.

        Steps that another process has recorded meanwhile are not taken over: the step tasks here find their results
        themselves. ``status_patch`` leaves what is terminal there alone.
        """
        theirs = RunState.from_stored(run)
        recorded = theirs.steps or {}
        steps = {
            name: replace(state, started_at=recorded[name].started_at or state.started_at)
            if name in recorded
            else state
            for name, state in (self.steps or {}).items()
        }
        return replace(
            self,
            stored=run,
            attempts=max(self.attempts, theirs.attempts),
            started_at=(theirs.started_at or self.started_at) if self.started_at else None,
            steps=steps,
            timers={**(self.timers or {}), **(theirs.timers or {})},
            cancel_observed_at=theirs.cancel_observed_at or self.cancel_observed_at,
            tokens=_with_tokens(theirs.tokens, *self.tokens),
        )

    def with_stored(self, run: Object) -> RunState:
        return replace(self, stored=run)

    # What is left to write.

    def metadata_patch(self) -> Object:
        """Timers that are not stored yet, without those of ended steps, and the instant at which the cancel was seen.

        Dropping ended timers is no reason for a write of its own, so a run may keep its last ones to its end.
        """
        if self.stored_terminal or not (self.timers or self.cancel_observed_at):
            return {}
        stored = _annotations(self.stored)
        annotations: Object = {}
        # A timer is needed until the end of its step is *stored*: a crash in between would let the step sleep again.
        stored_states = _steps_from((self.stored.get("status") or {}).get("stepStates"))
        live = {
            name: wake_at
            for name, wake_at in (self.timers or {}).items()
            if name not in stored_states or not stored_states[name].phase.terminal
        }
        recorded = _timers_from(stored.get(keys.ANNOTATION_STEP_TIMERS))
        if not live.items() <= recorded.items():
            annotations[keys.ANNOTATION_STEP_TIMERS] = _timers_to_wire(live)
        if self.cancel_observed_at and not stored.get(keys.ANNOTATION_GRACEFUL_CANCEL_OBSERVED_AT):
            annotations[keys.ANNOTATION_GRACEFUL_CANCEL_OBSERVED_AT] = format_deadline(self.cancel_observed_at)
        return {"annotations": annotations} if annotations else {}

    def status_patch(self, now: datetime) -> Object:
        """The smallest merge patch of ``status``; empty when only fields would change that follow from others."""
        if self.phase is None or self.stored_terminal:
            return {}
        status = self.stored.get("status") or {}
        stored_states = {
            name: old
            for name, old in (status.get("stepStates") or {}).items()
            if name in self.order and isinstance(old, dict)
        }
        states = self._states_over(stored_states)
        phases = {name: Phase(states[name]["phase"]) for name in self.order if name in states}
        fields = self._fields(phases, now)
        patch = {field: value for field, value in fields.items() if not values_equal(status.get(field), value)}
        if states_patch := merge_patch_between(stored_states, states):
            patch["stepStates"] = states_patch
        return patch if patch.keys() - _PASSIVE_FIELDS else {}

    def _states_over(self, stored: Mapping[str, Object]) -> dict[str, Object]:
        """``stepStates`` as they are to be: ours, but what is stored as terminal stays as it is."""
        states = {name: state.to_wire() for name, state in (self.steps or {}).items() if name in self.order}
        for name, old in stored.items():
            phase = member_or_none(Phase, old.get("phase"))
            if name not in states or (phase is not None and phase.terminal):
                states[name] = old
        return {name: state for name, state in states.items() if member_or_none(Phase, state.get("phase"))}

    def _fields(self, phases: Mapping[str, Phase], now: datetime) -> Object:
        """Every owned field but ``stepStates``; None removes."""
        done = [name for name, phase in phases.items() if phase.terminal and not self._counts_as_failed(name, phase)]
        fields: Object = {
            "observedGeneration": self.stored["metadata"].get("generation", 0),
            "phase": str(self.phase),
            "message": truncated(self._obstruction or self.message, MAX_MESSAGE_LENGTH),
            "conditions": self._conditions(now),
        }
        if self.order:
            fields |= {
                "stepsTotal": len(self.order),
                "stepsComplete": sum(phase is Phase.SUCCEEDED for phase in phases.values()),
                "stepsFailed": sum(phase.failing for phase in phases.values()),
                "stepsSkipped": sum(phase is Phase.SKIPPED for phase in phases.values()),
                "active": [name for name, phase in phases.items() if not phase.terminal] or None,
                "completed": done or None,
                "allowedFailures": sorted(
                    name for name, phase in phases.items() if phase.failing and name in self.allowed
                )
                or None,
            }
        if self.started_at is not None:
            fields |= {"startedAt": format_instant(self.started_at), "attempts": self.attempts}
        if self.tokens:
            fields["triggerTokens"] = list(self.tokens)
        fields |= self.schema_refs or {}
        if self.finished_at is not None:
            fields["finishedAt"] = format_instant(self.finished_at)
            if self.started_at is not None:
                fields["duration"] = format_seconds(self.finished_at - self.started_at)
            fields["output"] = self.output
            fields["error"] = self.error
        return fields

    def _conditions(self, now: datetime) -> list[Object]:
        assert self.phase is not None
        reason = self.reason or DEFAULT_REASONS[self.phase]
        generation = self.stored["metadata"].get("generation", 0)
        degraded = self.phase in (Phase.FAILED, Phase.TIMEOUT, Phase.ABORTED)
        words: list[tuple[ConditionType, bool, str, str]] = [
            (ConditionType.READY, self.phase is Phase.SUCCEEDED, reason, self.message),
            (ConditionType.PROGRESSING, not self.phase.terminal, reason, self.message),
            (ConditionType.DEGRADED, degraded, reason, self.message),
        ]
        if self._obstruction:
            words[0] = (ConditionType.READY, False, Reason.PERMISSION_DENIED, self._obstruction)
            words[-1] = (ConditionType.DEGRADED, True, Reason.PERMISSION_DENIED, self._obstruction)
        if self.degraded is not None:
            words[-1] = (ConditionType.DEGRADED, True, Reason.OUTPUT_RESOLUTION_FAILED, self.degraded)
        conditions = list((self.stored.get("status") or {}).get("conditions") or ())
        for type_, status, why, text in words:
            conditions = with_condition(
                conditions, type_, status, reason=why, message=text, generation=generation, now=now
            )
        return conditions

    @property
    def _obstruction(self) -> str:
        """What keeps the run or some of its steps, in words; empty when nothing does."""
        obstacles = sorted((self.obstacles or {}).items())
        return "; ".join(f"step {name}: {text}" if name else text for name, text in obstacles)

    def _error(self, conclusion: Conclusion) -> Object:
        error: Object = {"type": str(conclusion.reason), "message": conclusion.message}
        failures = []
        for name, phase in self.phases.items():
            if self._counts_as_failed(name, phase):
                state = self.step(name)
                failure = {"name": name, "phase": str(phase)}
                if state is not None and state.message:
                    failure["message"] = truncated(state.message, MAX_STEP_MESSAGE_LENGTH)
                failures.append(failure)
        if failures:
            error["failedSteps"] = failures
        return error

    def _counts_as_failed(self, name: str, phase: Phase) -> bool:
        return phase.failing and name not in self.allowed

    def _with_step(self, name: str, state: StepState) -> RunState:
        return replace(self, steps={**(self.steps or {}), name: state})


def has_ended(run: Object) -> bool:
    """Whether a StoryRun, as stored, is terminal."""
    phase = member_or_none(Phase, (run.get("status") or {}).get("phase"))
    return phase is not None and phase.terminal


def _annotations(run: Object) -> Mapping[str, Any]:
    annotations = (run.get("metadata") or {}).get("annotations")
    return annotations if isinstance(annotations, Mapping) else {}


def _steps_from(states: object) -> dict[str, StepState]:
    if not isinstance(states, Mapping):
        return {}
    found = {}
    for name, entry in states.items():
        phase = member_or_none(Phase, entry.get("phase")) if isinstance(entry, Mapping) else None
        if phase is not None:
            found[name] = StepState(
                phase,
                str(entry.get("message") or ""),
                parse_instant_or_none(entry.get("startedAt")),
                parse_instant_or_none(entry.get("finishedAt")),
            )
    return found


def _timers_from(text: object) -> dict[str, datetime]:
    """The annotation's ``sleepUntil`` instants; anything unreadable is ignored."""
    try:
        entries = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(entries, dict):
        return {}
    return {
        name: wake_at
        for name, entry in entries.items()
        if isinstance(entry, dict) and (wake_at := parse_instant_or_none(entry.get(_SLEEP_UNTIL))) is not None
    }


def _timers_to_wire(timers: Mapping[str, datetime]) -> str:
    entries = {name: {_SLEEP_UNTIL: format_deadline(wake_at)} for name, wake_at in timers.items()}
    return json.dumps(entries, separators=(",", ":"), sort_keys=True)


def _with_tokens(tokens: tuple[str, ...], *more: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*tokens, *more)))
