"""What a restarted engine restores beside the states of steps: which steps have started, and their outputs.

``restore`` runs once per scope. The functions below it are pure: StepRuns, child StoryRuns and decisions on gates in, a
state and variables out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import Object, step_path
from core.api.phases import Phase
from core.engine.context.run_context import RunContext
from core.engine.context.run_slots import claim_slots
from core.engine.context.step_context import StepContext
from core.engine.context.step_start import found_begun
from core.engine.plan import StepPlan, StoryPlan
from core.engine.primitives.life import PAST_OUTPUT
from core.engine.primitives.parallel import branches_begun
from core.engine.status.state import RunState
from core.engine.wakeup import WakeUp
from core.story.kinds import StepKind


def restore(run_context: RunContext, step_runs: list[Object], child_runs: list[Object]) -> datetime | None:
    """Take over what is recorded outside the run's status; returns the earliest start of a step, if any.

    ``step_runs`` need no data: outputs are read one at a time.
    """
    status, plan = run_context.status, run_context.plan
    state = status.state.planned(plan.order, plan.allowed)
    state, earliest = steps_begun(state, plan, step_runs, child_runs, run_context.engine.clock.now())
    status.apply(state)
    claim_slots(run_context, step_runs)
    whole = run_context.engine.step_runs.whole_step_runs(run_context.run)
    restore_outputs(run_context, whole, child_runs)
    return earliest


def steps_begun(
    state: RunState, plan: StoryPlan, step_runs: Iterable[Object], child_runs: Iterable[Object], now: datetime
) -> tuple[RunState, datetime | None]:
    """The state in which every started step has a phase, and the earliest start of a step, if any.

    A step with a StepRun, a StoryRun or a timer has started, even if the process died before the status showed it.
    """
    earliest: datetime | None = None
    started = [(child, "", StepKind.ENGRAM) for child in step_runs]
    started += [(child, str(child["metadata"]["name"]), StepKind.EXECUTE_STORY) for child in child_runs]
    for child, child_run, kind in started:
        name = step_path(child)
        if not plan.has(name, kind):
            continue
        recorded = (child.get("status") or {}).get("startedAt")
        started_at = parse_instant_or_none(recorded or child["metadata"].get("creationTimestamp")) or now
        earliest = min(earliest or started_at, started_at)
        state = found_begun(state, name, started_at, child_run=child_run)
    for name in state.timers or ():
        if plan.find(name) is not None:
            state = found_begun(state, name, now, Phase.PAUSED)
    return state, earliest


def restore_outputs(run_context: RunContext, step_runs: Iterable[Object], child_runs: Iterable[Object]) -> None:
    """Give the variables the outputs of steps that ended before this process held the run."""
    plan, state, variables = run_context.plan, run_context.status.state, run_context.variables
    for step_run in step_runs:
        name = step_path(step_run)
        if plan.has(name, StepKind.ENGRAM):
            recorded = state.step(name)
            variables.remember(step_run, has_ended=recorded is not None and recorded.phase.terminal)
    by_name = {str(child["metadata"]["name"]): child for child in child_runs}
    for step in reversed(list(_declared_and_begun(plan, state))):  # inner steps before the steps around them
        recorded = state.step(step.name)
        if recorded is not None and recorded.phase.terminal and step.kind in PAST_OUTPUT:
            context, child = StepContext(run_context, step, WakeUp()), by_name.get(recorded.child_run)
            output = PAST_OUTPUT[step.kind](context, recorded, child)
            if output is not None:
                variables.give(step.name, output)


def _declared_and_begun(plan: StoryPlan, state: RunState) -> Iterator[StepPlan]:
    pending = list(plan.steps.values())
    while pending:
        step = pending.pop(0)
        yield step
        pending += branches_begun(step, state)
