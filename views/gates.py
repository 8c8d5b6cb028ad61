"""The gates of a run: which gates there are, the state of each, and which one a person means. Pure.

A decision is ``status.gates.<step>``; it may be made before the run comes to the gate. Source: StoryRun contract 11.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import Object
from core.api.phases import TERMINAL_PHASES, StepReason
from core.api.suggestion import closest
from core.engine.step.state import reason_of
from core.story.step import ANY_ITEM
from views.errors import ViewError
from views.step_layout import RunStep, declared_steps, fits, recorded_steps
from views.text import one_line
from views.timers import deadlines_of, timed_gates_of

APPROVED: Final = "Approved"
REJECTED: Final = "Rejected"


@dataclass(frozen=True, slots=True)
class DecisionView:
    state: str
    """``Approved`` or ``Rejected``."""
    by: str
    at: datetime | None
    message: str


@dataclass(frozen=True, slots=True)
class GateView:
    """A gate of one run."""

    namespace: str
    run: str
    story: str
    name: str
    """The step's path; ``*`` stands for the number of an item that is not known yet."""
    phase: str
    """Phase of the step; empty while the run has not come to it."""
    since: datetime | None
    until: datetime | None
    message: str
    on_timeout: str
    """What happens at ``until``: ``fail`` or ``skip``."""
    decision: DecisionView | None

    @property
    def is_open(self) -> bool:
        """Whether the run waits here for a decision that no user has made."""
        return bool(self.phase) and not self.is_over and self.decision is None

    @property
    def is_over(self) -> bool:
        return self.phase in TERMINAL_PHASES


def gates_of(run: Object, story: Object | None) -> list[GateView]:
    """In spec order, with gates of possible later items; without the Story, only gates at which the run waits."""
    states = (run.get("status") or {}).get("stepStates") or {}
    declared = declared_steps(story, states)
    to_come = [each for each in declared_steps(story) if ANY_ITEM in each.name]
    placed = {each.name: each for each in [*declared, *to_come]}
    recorded = recorded_steps(states, placed)
    deadlines = deadlines_of(run)
    return [_gate(each, run, deadlines.get(each.name)) for each in [*placed.values(), *recorded] if _is_gate(each, run)]


def open_gates_of(run: Object, story: Object | None) -> list[GateView]:
    """Gates at which the run waits for a decision that no user has made; none if the run was canceled."""
    if run["spec"].get("cancelRequested"):
        return []
    return [gate for gate in gates_of(run, story) if gate.is_open]


def is_open_gate(placed: RunStep, run: Object) -> bool:
    """Whether the run waits at this step for a decision that no user has made."""
    return _is_gate(placed, run) and _gate(placed, run, None).is_open


def find_gate(gates: Sequence[GateView], wanted: str, run: str) -> str:
    """The full name of the gate ``wanted``, which is a full name, or a last part that only one gate has.

    Raises:
        ViewError: no gate has the name, or more than one.
    """
    if any(fits(gate.name, wanted) for gate in gates):
        return wanted
    named = [gate.name for gate in gates if gate.name.rpartition("/")[2] == wanted]
    if len(named) == 1:
        return named[0]
    if named:
        raise ViewError(
            f"run {run} has {len(named)} gates {wanted!r}: {', '.join(named)}", remedy="write the whole name of one"
        )
    names = [gate.name for gate in gates]
    near = closest(wanted, [*names, *(name.rpartition("/")[2] for name in names)])
    if near is not None:
        remedy = f"did you mean {near!r}?"
    else:
        remedy = f"its gates are: {', '.join(names)}" if names else "its Story has no gates"
    raise ViewError(f"run {run} has no gate {wanted!r}", remedy=remedy)


def gate_called(gates: Sequence[GateView], name: str) -> GateView:
    """The gate with a full name from ``find_gate``."""
    return next(gate for gate in gates if fits(gate.name, name))


def decision_on(run: Object, name: str) -> DecisionView | None:
    """The decision on a gate; None if no user has approved or rejected."""
    entry = ((run.get("status") or {}).get("gates") or {}).get(name) or {}
    if entry.get("state") not in (APPROVED, REJECTED):
        return None
    at = parse_instant_or_none(entry.get("updatedAt"))
    return DecisionView(
        entry["state"], one_line(entry.get("updatedBy") or ""), at, one_line(entry.get("message") or "")
    )


def _is_gate(placed: RunStep, run: Object) -> bool:
    """Whether the step is a gate: by its declaration; if only the run knows the step, by its timer or reason."""
    if placed.list_name:
        return placed.kind == "gate"
    state = ((run.get("status") or {}).get("stepStates") or {}).get(placed.name) or {}
    return placed.name in timed_gates_of(run) or reason_of(state) == StepReason.WAITING_FOR_APPROVAL


def _gate(placed: RunStep, run: Object, until: datetime | None) -> GateView:
    state = ((run.get("status") or {}).get("stepStates") or {}).get(placed.name) or {}
    parameters = placed.step.get("with")
    on_timeout = (parameters if isinstance(parameters, dict) else {}).get("onTimeout")
    return GateView(
        namespace=run["metadata"]["namespace"],
        run=run["metadata"]["name"],
        story=(run["spec"].get("storyRef") or {}).get("name", ""),
        name=placed.name,
        phase=str(state.get("phase") or ""),
        since=parse_instant_or_none(state.get("startedAt")),
        until=until,
        message=one_line(state.get("message") or ""),
        on_timeout="skip" if str(on_timeout or "").strip().lower() == "skip" else "fail",
        decision=decision_on(run, placed.name),
    )
