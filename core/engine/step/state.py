"""One entry of ``status.stepStates``, in memory and as it is stored. Pure. Source: StoryRun contract 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api.conditions import truncated
from core.api.objects import Object
from core.api.phases import DEFAULT_REASONS, Phase, Reason, member_or_none
from core.engine.step.legacy_states import reason_of_message

MAX_STEP_MESSAGE_LENGTH: Final = 1024
"""Keeps the status of a run with a thousand failed steps below the size limit of an object."""

_LEAST_QUEUE_TIME: Final = timedelta(seconds=1)
"""A shorter wait is not recorded: instants have whole seconds, and a run may have a thousand steps."""


@dataclass(frozen=True, slots=True)
class StepState:
    """Instants have whole seconds once they are stored."""

    phase: Phase
    message: str = ""
    """For people. It may come from a person or a container; no code decides by it."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    child_run: str = ""
    """``subStoryRunName``: the StoryRun that an ``executeStory`` step has started last."""
    reason: str = ""
    """A ``StepReason``, a ``Reason`` or a reason of the kubelet; empty: the default of the phase."""
    reason_since: datetime | None = None
    """Set while something in the cluster keeps the container from starting."""
    queued_at: datetime | None = None
    """Since when the step waited for its first slot; None: not a second."""

    @property
    def has_lost_its_slot(self) -> bool:
        """Whether the step has no slot although it may have a StepRun: it has waited for its Engram."""
        return self.phase is Phase.PENDING and self.reason_since is not None

    def queued_since(self, now: datetime) -> datetime | None:
        """The ``reason_since`` of the step while it waits for a slot: set if it has lost its slot."""
        if not self.has_lost_its_slot:
            return None
        return self.reason_since if self.reason == Reason.QUEUED else now

    def _queued_at(self, now: datetime) -> datetime | None:
        """The ``queued_at`` of the step when it gets a slot ``now``."""
        queued = self.queued_at is None and self.reason == Reason.QUEUED and not self.has_lost_its_slot
        since = self.started_at if queued else self.queued_at
        return since if since is not None and now - since >= _LEAST_QUEUE_TIME else self.queued_at

    def as_launched(self, at: datetime, now: datetime) -> StepState:
        """The state of a waiting step that gets its slot ``now``; ``at``: its start."""
        return StepState(Phase.RUNNING, "", at, child_run=self.child_run, queued_at=self._queued_at(now))

    def as_defined(self) -> StepState:
        """The state once the definitions exist for which the step has waited."""
        return replace(self, message="", reason="", reason_since=self.reason_since if self.has_lost_its_slot else None)

    _wire: Object | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.reason:
            object.__setattr__(self, "reason", str(DEFAULT_REASONS[self.phase]))

    def as_started(self, at: datetime | None) -> StepState:
        """The same state with the stored start; the clock of another process may differ."""
        if at is None or at == self.started_at:
            return self
        finished_at = max(self.finished_at, at) if self.finished_at is not None else None
        return replace(self, started_at=at, finished_at=finished_at)

    def to_wire(self) -> Object:
        """The entry as it is stored. Built once and shared: do not change it."""
        if self._wire is None:
            object.__setattr__(self, "_wire", self._made())
        assert self._wire is not None
        return self._wire

    def _made(self) -> Object:
        wire: Object = {"phase": str(self.phase), "reason": str(self.reason)}
        if self.reason_since is not None:
            wire["reasonSince"] = format_instant(self.reason_since)
        if self.message:
            wire["message"] = truncated(self.message, MAX_STEP_MESSAGE_LENGTH)
        if self.started_at is not None:
            wire["startedAt"] = format_instant(self.started_at)
        if self.finished_at is not None:
            wire["finishedAt"] = format_instant(self.finished_at)
        if self.queued_at is not None:
            wire["queuedAt"] = format_instant(self.queued_at)
        if self.child_run:
            wire["subStoryRunName"] = self.child_run
        return wire


def steps_from(states: object) -> dict[str, StepState]:
    """The states in a ``stepStates`` object; damaged entries count as absent."""
    if not isinstance(states, Mapping):
        return {}
    found = {}
    for name, entry in states.items():
        phase = member_or_none(Phase, entry.get("phase")) if isinstance(entry, Mapping) else None
        if phase is not None:
            found[name] = _state(phase, entry)
    return found


def held_up_by(states: Mapping[str, StepState]) -> str:
    """The first step that has not ended, and what it waits for, for messages; empty: no state says so.

    A step whose container cannot start comes first.
    """
    waiting = [(name, state) for name, state in states.items() if state.message and not state.phase.terminal]
    waiting.sort(key=lambda each: each[1].reason_since is None)
    return "".join(f"step {name}: {state.message}" for name, state in waiting[:1])


def reason_of(entry: Mapping[str, object]) -> str:
    """The reason of one entry of ``stepStates``; empty if the entry is damaged."""
    phase = member_or_none(Phase, entry.get("phase"))
    return _state(phase, entry).reason if phase is not None else ""


def _state(phase: Phase, entry: Mapping[str, object]) -> StepState:
    message, started_at = str(entry.get("message") or ""), parse_instant_or_none(entry.get("startedAt"))
    reason, reason_since = str(entry.get("reason") or ""), parse_instant_or_none(entry.get("reasonSince"))
    if not reason:
        reason, is_held_up = reason_of_message(phase, message)
        reason_since = started_at if is_held_up else None
    return StepState(
        phase,
        message,
        started_at,
        parse_instant_or_none(entry.get("finishedAt")),
        str(entry.get("subStoryRunName") or ""),
        reason,
        reason_since,
        parse_instant_or_none(entry.get("queuedAt")),
    )


def children_from(children: object) -> dict[str, tuple[str, ...]]:
    """The contents of a ``primitiveChildren`` object; damaged entries count as absent."""
    if not isinstance(children, Mapping):
        return {}
    return {name: tuple(map(str, names)) for name, names in children.items() if isinstance(names, list)}
