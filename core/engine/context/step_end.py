"""The end of a step: the outcome of its life, and the only place that records it."""

from __future__ import annotations

from dataclasses import dataclass

from core.api.phases import DEFAULT_REASONS, StepReason
from core.engine.context.run_context import RunContext
from core.engine.plan import StepPlan
from core.engine.ports import EventType
from core.engine.step.endings import Ending
from core.engine.step.verdict import Verdict


@dataclass(frozen=True, slots=True)
class StepEnd:
    """The outcome of a step's life: what the engine records, and what follows for the run."""

    verdict: Verdict
    ends_run: Ending | None = None
    """Set if the run is to end with this step (primitive ``stop``)."""


def record_end(run_context: RunContext, step: StepPlan, verdict: Verdict) -> None:
    """Record the end of the step and release its slot. Emit an Event if it failed."""
    engine, status = run_context.engine, run_context.status
    state = status.state
    changed = state.step_ended(step.name, verdict, engine.clock.now())
    status.apply(changed)
    engine.slots.release(run_context.run_uid, step.name)
    run_context.streams.ended(step.name)
    ended_with_run = verdict.recorded_reason is StepReason.RUN_ENDED
    if verdict.phase.failing and not ended_with_run and changed is not state:
        reason = verdict.state_reason or DEFAULT_REASONS[verdict.phase]
        engine.events.emit(state.stored, EventType.WARNING, reason, f"step {step.name!r}: {verdict.message}")
    run_context.watchers.wake()


def finish(run_context: RunContext, step: StepPlan) -> None:
    """Everything that follows from the end of the step has been started."""
    run_context.wakeups.pop(step.name, None)
    run_context.progress.ended(step.name)
