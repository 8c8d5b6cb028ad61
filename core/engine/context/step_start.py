"""The start of a step: decided and recorded here, and nowhere else.

- An Engram step has started once its needs are met and its ``if``, where it has one, holds. While it waits for its
  Engram or for a slot it is ``Pending``, and that time does not count as its run time. The time at which it was queued
  decides its place in the queue, also after a restart.
- Any other step has started when it first records what it does. A step that ends at its first look never does that: its
  start is recorded with its end.
- If another process has started the step, its StepRun or StoryRun has the time of the start; if the step has only a
  timer, the start is now.

Nothing is written if nothing is new.
"""

from __future__ import annotations

from datetime import datetime

from core.api.phases import AWAITED_DEFINITIONS, Phase, StepReason
from core.engine.context.run_context import RunContext
from core.engine.plan import StepPlan
from core.engine.status.state import RunState
from core.story.kinds import StepKind


def needs_met(run_context: RunContext, step: StepPlan) -> None:
    """The step runs from now on; its ``if``, where it has one, is still to be evaluated."""
    run_context.progress.started(step.name)
    if not step.condition.strip():
        condition_holds(run_context, step)


def condition_holds(run_context: RunContext, step: StepPlan) -> None:
    """The step is to do its work. A step that another process left waiting, for a slot, its Engram or a warm worker,
    keeps the time since which it has waited.
    """
    if step.kind is StepKind.ENGRAM and not _is_waiting(run_context, step):
        record_message(run_context, step, "")


def _is_waiting(run_context: RunContext, step: StepPlan) -> bool:
    recorded = run_context.status.state.step(step.name)
    if recorded is None or recorded.reason in (*AWAITED_DEFINITIONS, StepReason.AWAITING_WORKER):
        return recorded is not None
    return recorded.phase is Phase.PENDING and not run_context.engine.slots.holds(run_context.run_uid, step.name)


def queued(run_context: RunContext, step: StepPlan, message: str) -> None:
    """The step waits for a free slot."""
    status = run_context.status
    status.apply(status.state.step_queued(step.name, run_context.engine.clock.now(), message))


def defined(run_context: RunContext, step: StepPlan) -> None:
    """The definitions exist for which the step has waited."""
    run_context.status.apply(run_context.status.state.step_defined(step.name))


def launched(run_context: RunContext, step: StepPlan, begun_at: datetime | None = None) -> None:
    """The step has its slot. ``begun_at``: the start of its first attempt, if there was one."""
    status = run_context.status
    status.apply(status.state.step_launched(step.name, run_context.engine.clock.now(), begun_at))


def record_message(
    run_context: RunContext,
    step: StepPlan,
    message: str,
    phase: Phase = Phase.RUNNING,
    child_run: str = "",
    reason: str = "",
    reason_since: datetime | None = None,
) -> None:
    """Record what the step is doing, and its start if that is not recorded yet."""
    status, now = run_context.status, run_context.engine.clock.now()
    status.apply(status.state.step_started(step.name, now, phase, message, child_run, reason, reason_since))


def found_begun(
    state: RunState, name: str, at: datetime, phase: Phase = Phase.RUNNING, child_run: str = ""
) -> RunState:
    """The state in which the step, and each step around it, has started ``at``, unless its start is known already."""
    parts = name.split("/")
    for length in range(1, len(parts)):
        around = "/".join(parts[:length])
        if state.step(around) is None:
            state = state.step_started(around, at)
    return state if state.step(name) is not None else state.step_started(name, at, phase, child_run=child_run)
