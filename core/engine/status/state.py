"""What is true of a run, in memory: frozen, changed only by named transitions, and with the object as it is stored.

Pure. ``status_patch`` and ``metadata_patch`` are the smallest merge patches from the stored object to this state; both
are empty if there is nothing to write. A run or a step never leaves a terminal phase.
Source: StoryRun contract 2.1 (phase writes), 3 (fields), 11.6 (timers), 17.2 (cancel).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bubu_contract.durations import format_seconds
from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api import keys
from core.api.conditions import MAX_MESSAGE_LENGTH, find_condition, truncated, with_condition
from core.api.objects import Object, has_ended
from core.api.phases import DEFAULT_REASONS, ConditionType, Phase, Reason, StepReason, member_or_none
from core.engine.clock import format_deadline
from core.engine.errors import Obstacle
from core.engine.status.evaluation_wait import waiting_words, words_for_run
from core.engine.status.stored_run import annotations_of, revision_of, terminated_at, topology_of, with_tokens
from core.engine.step.record import ENDINGS, announced_end
from core.engine.step.state import MAX_STEP_MESSAGE_LENGTH, StepState, children_from, steps_from
from core.engine.step.timers import Timer, timers_from, timers_to_wire
from core.engine.step.verdict import Conclusion, Degradation, Verdict
from kubewire import merge_patch_between, values_equal

_PASSIVE_FIELDS = frozenset({"observedGeneration", "observedUid", "conditions"})
"""They follow from other fields, or never change, so they alone never cause a write."""


@dataclass(frozen=True, slots=True)
class RunState:
    stored: Object
    """The StoryRun, in the newest version that is known to be stored; both patches start from it."""
    order: tuple[str, ...] = ()
    """Declared steps in spec order; empty until the Story is known."""
    declared: frozenset[str] = frozenset()
    """The same as a set."""
    allowed: frozenset[str] = frozenset()
    phase: Phase | None = None
    reason: str = ""
    message: str = ""
    attempts: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    steps: Mapping[str, StepState] | None = None
    timers: Mapping[str, Timer] | None = None
    children: Mapping[str, tuple[str, ...]] | None = None
    """``primitiveChildren``: the StepRuns of each ``parallel`` step."""
    cancel_observed_at: datetime | None = None
    tokens: tuple[str, ...] = ()
    schema_refs: Mapping[str, Object] | None = None
    revision: str = ""
    """``storyRevision``: name of the stored copy of the Story that this run executes."""
    output: Mapping[str, Any] | None = None
    error: Object | None = None
    degraded: Degradation | None = None
    obstacles: Mapping[str, Obstacle] | None = None
    """What a person must fix before a step can continue, by step; an empty name is the run itself."""
    topology: str = ""
    """What is wrong with the streams of a realtime run as a whole; empty: nothing."""
    waiting_since: Mapping[str, datetime] | None = None
    """Since when a step waits for its turn to be evaluated, by step; an empty name is the run itself."""

    @classmethod
    def from_stored(cls, run: Object) -> RunState:
        """The state that a stored StoryRun describes; damaged entries count as absent."""
        status, annotations = run.get("status") or {}, annotations_of(run)
        ready = find_condition(status.get("conditions") or (), ConditionType.READY) or {}
        progressing = find_condition(status.get("conditions") or (), ConditionType.PROGRESSING) or {}
        # Facts of the moment, e.g. what the run waits for, are left out: the engine records them again if they hold.
        why = progressing if ready.get("reason") == Reason.PERMISSION_DENIED else ready
        return cls(
            stored=run,
            phase=member_or_none(Phase, status.get("phase")),
            reason=str(why.get("reason", "")),
            message=str(progressing.get("message") or status.get("message") or ""),
            attempts=int(status.get("attempts") or 0),
            started_at=parse_instant_or_none(status.get("startedAt")),
            finished_at=parse_instant_or_none(status.get("finishedAt")),
            steps=steps_from(status.get("stepStates")),
            timers=timers_from(annotations.get(keys.ANNOTATION_STEP_TIMERS)),
            cancel_observed_at=parse_instant_or_none(annotations.get(keys.ANNOTATION_GRACEFUL_CANCEL_OBSERVED_AT)),
            tokens=tuple(status.get("triggerTokens") or ()),
            children=children_from(status.get("primitiveChildren")),
            revision=revision_of(run),
            output=status.get("output"),
            error=status.get("error"),
            topology=topology_of(status),
        )

    # Queries.

    @property
    def started(self) -> bool:
        """Whether the run was ever ``Running``; a ``Pending`` run that waits for its Story has not started."""
        return self.started_at is not None

    @property
    def is_timed(self) -> bool:
        """Whether a timer was recorded before any other part of the run: then the run had started."""
        return keys.ANNOTATION_STORY_REVISION in annotations_of(self.stored)

    @property
    def ended(self) -> bool:
        return self.phase is not None and self.phase.terminal

    @property
    def stored_terminal(self) -> bool:
        """Whether the end is stored, by this process or another one; nothing is written after it."""
        return has_ended(self.stored)

    @property
    def announced(self) -> Reason | None:
        """Why a run that is still running is being ended, once that is decided."""
        reason = member_or_none(Reason, self.reason)
        return reason if self.phase is Phase.RUNNING and reason in ENDINGS else None

    def step(self, name: str) -> StepState | None:
        return (self.steps or {}).get(name)

    @property
    def phases(self) -> dict[str, Phase]:
        """Phases of the declared steps that have one."""
        steps = self.steps or {}
        return {name: steps[name].phase for name in self.order if name in steps}

    # Transitions.

    def planned(self, order: Iterable[str], allowed: frozenset[str]) -> RunState:
        """The Story is known: these are its steps."""
        names = tuple(order)
        return replace(self, order=names, declared=frozenset(names), allowed=allowed)

    def story_missing(self, message: str) -> RunState:
        """``Pending`` unless the run has started already; a running run keeps its phase."""
        return replace(self, phase=self.phase or Phase.PENDING, reason=Reason.STORY_NOT_FOUND, message=message)

    def obstructed(self, name: str, reason: Reason, message: str) -> RunState:
        """A person must fix something for the step ``name`` (empty: for the run), which waits and says for what."""
        obstacle = Obstacle(reason, message)
        if self.ended or (self.obstacles or {}).get(name) == obstacle:
            return self
        return replace(self, phase=self.phase or Phase.PENDING, obstacles={**(self.obstacles or {}), name: obstacle})

    def unobstructed(self, name: str) -> RunState:
        if name not in (self.obstacles or {}):
            return self
        return replace(self, obstacles={key: each for key, each in (self.obstacles or {}).items() if key != name})

    def topology_degraded(self, message: str) -> RunState:
        """No stream of the run is connected."""
        return self if self.ended or self.topology else replace(self, topology=message)

    def topology_restored(self) -> RunState:
        return replace(self, topology="") if self.topology else self

    def waiting(self, name: str, since: datetime) -> RunState:
        """An expression of the step ``name`` (empty: of the run) waits for its turn, behind other namespaces."""
        if self.ended or name in (self.waiting_since or {}):
            return self
        waiting_since = {**(self.waiting_since or {}), name: since}
        return replace(self, phase=self.phase or Phase.PENDING, waiting_since=waiting_since)

    def not_waiting(self, name: str) -> RunState:
        if name not in (self.waiting_since or {}):
            return self
        return replace(self, waiting_since={key: at for key, at in (self.waiting_since or {}).items() if key != name})

    def began(self, now: datetime, schema_refs: Mapping[str, Object]) -> RunState:
        again = self.phase is Phase.RUNNING
        return replace(
            self,
            phase=Phase.RUNNING,
            reason=Reason.STARTING_EXECUTION,
            message="Executing the steps of the Story",
            attempts=max(self.attempts, 1) if again else self.attempts + 1,
            started_at=self.started_at or RunState.from_stored(self.stored).started_at or now,
            tokens=with_tokens(self.tokens, "story", "impulse"),
            schema_refs=schema_refs,
        )

    def step_started(
        self,
        name: str,
        now: datetime,
        phase: Phase = Phase.RUNNING,
        message: str = "",
        child_run: str = "",
        reason: str = "",
        reason_since: datetime | None = None,
    ) -> RunState:
        """Record a non-terminal phase; a step that has one already keeps its start."""
        old = self.step(name)
        if old is not None and old.phase.terminal:
            return self
        started_at, before = self._start_of(name) or now, old or StepState(phase)
        child_run, queued_at = child_run or before.child_run, before.queued_at
        new = StepState(phase, message, started_at, None, child_run, reason, reason_since, queued_at)
        return self if new == old else self._with_step(name, new)

    def _start_of(self, name: str) -> datetime | None:
        """When the step started: as this process knows it, else as another process has recorded it meanwhile."""
        old = self.step(name)
        return old.started_at if old is not None else self._stored_start_of(name)

    def _stored_start_of(self, name: str) -> datetime | None:
        entry = ((self.stored.get("status") or {}).get("stepStates") or {}).get(name)
        stored = steps_from({name: entry}).get(name) if entry else None
        return stored.started_at if stored is not None and stored.phase is not Phase.PENDING else None

    def step_queued(self, name: str, now: datetime, message: str) -> RunState:
        """Record that a step waits for a free slot."""
        old = self.step(name)
        since = old.queued_since(now) if old is not None else None
        return self.step_started(name, now, Phase.PENDING, message, reason=Reason.QUEUED, reason_since=since)

    def step_defined(self, name: str) -> RunState:
        """Record that the definitions exist for which a step has waited; it stays ``Pending`` until it has a slot."""
        old = self.step(name)
        return self if old is None or old.phase.terminal else self._with_step(name, old.as_defined())

    def step_launched(self, name: str, now: datetime, begun_at: datetime | None = None) -> RunState:
        """Record that a step runs. Its time as ``Pending`` does not count, unless it had started before."""
        old = self.step(name)
        if old is not None and old.phase is Phase.PENDING:
            return self._with_step(name, old.as_launched(self._stored_start_of(name) or begun_at or now, now))
        return self.step_started(name, now)

    def step_ended(self, name: str, verdict: Verdict, now: datetime) -> RunState:
        """Record a terminal phase, once."""
        old = self.step(name)
        if old is not None and old.phase.terminal:
            return self
        finished_at = verdict.finished_at or now
        waited = old is not None and old.phase is Phase.PENDING and verdict.phase is Phase.SKIPPED
        started_at = None if waited else self._start_of(name) or verdict.started_at
        if started_at is not None:  # a container's clock may be ahead of ours, or behind
            finished_at = max(finished_at, started_at)
        child_run, queued_at = (old.child_run, old.queued_at) if old is not None else ("", None)
        child_run, reason = verdict.child_run or child_run, verdict.state_reason
        new = StepState(verdict.phase, verdict.text, started_at, finished_at, child_run, reason, None, queued_at)
        return self.unobstructed(name)._with_step(name, new)

    def timer_set(self, name: str, timer: Timer) -> RunState:
        """Set the instant that the step waits for; an instant that is set already stays."""
        timers = self.timers or {}
        return self if name in timers else replace(self, timers={**timers, name: timer})

    def children_started(self, name: str, step_runs: tuple[str, ...]) -> RunState:
        """Record the StepRuns of a ``parallel`` step."""
        children = self.children or {}
        return self if children.get(name) == step_runs else replace(self, children={**children, name: step_runs})

    def pinned(self, revision: str) -> RunState:
        """Record the name of the stored copy of the Story that this run executes."""
        return replace(self, revision=revision)

    def waiting_for_turn(self, message: str) -> RunState:
        """``Pending`` until other runs of the Story have ended."""
        if self.started or self.ended:
            return self
        return replace(self, phase=Phase.PENDING, reason=Reason.QUEUED, message=message)

    def ending(self, reason: Reason, message: str) -> RunState:
        """The engine has decided how the run ends; its steps are being ended."""
        if self.ended or self.phase is None or self.reason == reason:
            return self
        return replace(self, reason=reason, message=message)

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
            tokens=with_tokens(self.tokens, *tokens),
            output=conclusion.output,
            error=error,
            degraded=conclusion.degraded,
            obstacles=None,
            topology="",
        )

    def rebased(self, run: Object) -> RunState:
        """The same state on a newer stored object: fixed instants come from that object, the rest from this state.

        Steps that another process has recorded meanwhile are not taken over: the step tasks of this process find their
        results themselves. ``status_patch`` does not change what is terminal in the stored object.
        """
        theirs = RunState.from_stored(run)
        recorded = theirs.steps or {}
        steps = {
            name: state.as_started(recorded[name].started_at)
            if name in recorded and recorded[name].phase is not Phase.PENDING  # queued: not started yet
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
            tokens=with_tokens(theirs.tokens, *self.tokens),
            revision=self.revision or theirs.revision,
        )

    def is_overtaken_by(self, run: Object) -> bool:
        """Whether another process has advanced the run, so that what this process knows of it no longer holds.

        That process has started the run again, or under another revision of its Story, or is ending it, or has recorded
        steps that this process does not know.
        """
        before, now = (obj.get("status") or {} for obj in (self.stored, run))
        if self.phase is Phase.RUNNING and self.announced is None and announced_end(now) is not None:
            return True
        if before.get("startedAt") and any(now.get(key) != before.get(key) for key in ("startedAt", "attempts")):
            return True  # both: it may start again within the same second
        theirs = revision_of(run)
        if self.revision and theirs and theirs != self.revision:
            return True
        states, ours = now.get("stepStates"), self.steps or {}
        unknown = {name: states[name] for name in states if name not in ours} if isinstance(states, Mapping) else {}
        return bool(steps_from(unknown))

    def with_stored(self, run: Object) -> RunState:
        return replace(self, stored=run)

    # Patches: what is not stored yet.

    def metadata_patch(self) -> Object:
        """Timers that are not stored yet, without those of ended steps, and the instant at which the cancel was seen.

        To drop the timers of ended steps is no reason for a write, so a run may keep its last ones to its end.
        """
        if self.stored_terminal or not (self.timers or self.cancel_observed_at):
            return {}
        stored = annotations_of(self.stored)
        annotations: Object = {}
        # A timer is needed until the end of its step is *stored*: a crash in between would let the step sleep again.
        states = (self.stored.get("status") or {}).get("stepStates") or {}
        stored_states = steps_from({name: states[name] for name in self.timers or () if name in states})
        live = {
            name: timer
            for name, timer in (self.timers or {}).items()
            if name not in stored_states or not stored_states[name].phase.terminal
        }
        recorded = timers_from(stored.get(keys.ANNOTATION_STEP_TIMERS))
        if not live.items() <= recorded.items():
            annotations[keys.ANNOTATION_STEP_TIMERS] = timers_to_wire(live)
            if self.revision and not (self.stored.get("status") or {}).get("storyRevision"):
                annotations[keys.ANNOTATION_STORY_REVISION] = self.revision  # a restart may find only the timer
        if self.cancel_observed_at and not stored.get(keys.ANNOTATION_GRACEFUL_CANCEL_OBSERVED_AT):
            annotations[keys.ANNOTATION_GRACEFUL_CANCEL_OBSERVED_AT] = format_deadline(self.cancel_observed_at)
        return {"annotations": annotations} if annotations else {}

    def status_patch(self, now: datetime) -> Object:
        """The smallest merge patch of ``status``; empty if only fields would change that follow from other fields."""
        if self.phase is None or self.stored_terminal:
            return {}
        status = self.stored.get("status") or {}
        every = {name: old for name, old in (status.get("stepStates") or {}).items() if isinstance(old, dict)}
        stored_states = {name: old for name, old in every.items() if self._is_ours(name)}
        states = self._states_over(stored_states)
        phases = {name: Phase(states[name]["phase"]) for name in self.order if name in states}
        fields = self._fields(phases, now)
        patch = {field: value for field, value in fields.items() if not values_equal(status.get(field), value)}
        before = every if self.ended and self.order else stored_states  # the Go operator writes branches as steps
        if states_patch := merge_patch_between(before, states):
            patch["stepStates"] = states_patch
        return patch if patch.keys() - _PASSIVE_FIELDS else {}

    def _states_over(self, stored: Mapping[str, Object]) -> dict[str, Object]:
        """``stepStates`` as they are to be stored: those of this state, but stored terminal ones stay as they are."""
        states = {name: state.to_wire() for name, state in (self.steps or {}).items() if self._is_ours(name)}
        for name, since in (self.waiting_since or {}).items():
            if name in states and not Phase(states[name]["phase"]).terminal:
                words = {"message": waiting_words(since), "reason": str(StepReason.WAITING_FOR_EVALUATION)}
                states[name] = {**states[name], **words}
        for name, old in stored.items():
            phase = member_or_none(Phase, old.get("phase"))
            if name not in states or (phase is not None and phase.terminal):
                states[name] = old
        return {name: state for name, state in states.items() if member_or_none(Phase, state.get("phase"))}

    def _fields(self, phases: Mapping[str, Phase], now: datetime) -> Object:
        """Every field that the engine owns, except ``stepStates``; None removes a field."""
        done = [name for name, phase in phases.items() if phase.terminal and not self._counts_as_failed(name, phase)]
        waiting = "" if self.ended else words_for_run(self.waiting_since or {}, self.steps or ())
        fields: Object = {
            "observedGeneration": self.stored["metadata"].get("generation", 0),
            "observedUid": self.stored["metadata"].get("uid"),
            "phase": str(self.phase),
            "message": truncated(self._obstruction or waiting or self.topology or self.message, MAX_MESSAGE_LENGTH),
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
        if self.children:
            fields["primitiveChildren"] = {name: list(step_runs) for name, step_runs in self.children.items()}
        if self.revision:
            fields["storyRevision"] = self.revision
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
        conditions = list((self.stored.get("status") or {}).get("conditions") or ())
        degraded = self.phase in (Phase.FAILED, Phase.TIMEOUT, Phase.ABORTED)
        words: list[tuple[ConditionType, bool, str, str]] = [
            (ConditionType.READY, self.phase is Phase.SUCCEEDED, reason, self.message),
            (ConditionType.PROGRESSING, not self.phase.terminal, reason, self.message),
            (ConditionType.DEGRADED, degraded, reason, self.message),
        ]
        if self.topology:
            words[-1] = (ConditionType.DEGRADED, True, Reason.TOPOLOGY_DEGRADED, self.topology)
        if self.obstacles:
            first = str(min(self.obstacles.values()).reason)  # the same obstacles always give the same reason
            words[0] = (ConditionType.READY, False, first, self._obstruction)
            words[-1] = (ConditionType.DEGRADED, True, first, self._obstruction)
        if self.degraded is not None:
            words[-1] = (ConditionType.DEGRADED, True, self.degraded.reason, self.degraded.message)
        if not self.ended and terminated_at(self.stored) is not None:
            words.pop()  # recorded by another program, and the run follows it
        for type_, status, why, text in words:
            conditions = with_condition(
                conditions, type_, status, reason=why, message=text, generation=generation, now=now
            )
        return conditions

    @property
    def _obstruction(self) -> str:
        """The messages of all obstacles of the run and its steps; empty if there are none."""
        obstacles = sorted((self.obstacles or {}).items())
        return "; ".join(f"step {name}: {each.message}" if name else each.message for name, each in obstacles)

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

    def _is_ours(self, name: str) -> bool:
        """Whether it is a declared step of the Story, or a branch of one."""
        return name.partition("/")[0] in self.declared

    def _counts_as_failed(self, name: str, phase: Phase) -> bool:
        return phase.failing and name not in self.allowed

    def _with_step(self, name: str, state: StepState) -> RunState:
        return replace(self, steps={**(self.steps or {}), name: state})
