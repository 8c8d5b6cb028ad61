"""What a restarted engine restores beside the states of steps: which steps have started, and their outputs.

``restore`` runs once per scope. The functions below it are pure: StepRuns, child StoryRuns and decisions on gates in, a
state and variables out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import Object, step_path
from core.api.phases import Phase, StepReason
from core.engine.context.run_context import RunContext
from core.engine.context.run_slots import claim_slots
from core.engine.context.step_start import found_begun
from core.engine.plan import StepPlan, StoryPlan
from core.engine.primitives.gate import gate_output
from core.engine.primitives.parallel import parallel_output
from core.engine.status.state import RunState
from core.engine.values.variables import Variables
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
    restore_outputs(run_context.variables, state, plan, whole, child_runs)
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


def restore_outputs(
    variables: Variables,
    state: RunState,
    plan: StoryPlan,
    step_runs: Iterable[Object],
    child_runs: Iterable[Object],
) -> None:
    """Give ``variables`` the outputs of steps that ended before this process held the run."""
    for step_run in step_runs:
        name = step_path(step_run)
        if plan.has(name, StepKind.ENGRAM):
            recorded = state.step(name)
            variables.remember(step_run, has_ended=recorded is not None and recorded.phase.terminal)
    by_name = {str(child["metadata"]["name"]): child for child in child_runs}
    for step in reversed(list(_declared_and_begun(plan, state))):  # inner steps before the steps around them
        recorded = state.step(step.name)
        if recorded is None or not recorded.phase.terminal:
            continue
        if step.kind is StepKind.EXECUTE_STORY and recorded.phase is Phase.SUCCEEDED:
            output = ((by_name.get(recorded.child_run) or {}).get("status") or {}).get("output")
            variables.give(step.name, output if isinstance(output, Mapping) else {})
        elif step.kind is StepKind.PARALLEL and recorded.phase in (Phase.SUCCEEDED, Phase.FAILED):
            variables.give(step.name, parallel_output(step, _branches_begun(step, state), variables, state))
        elif step.kind is StepKind.GATE and recorded.phase is Phase.SUCCEEDED:
            variables.give(step.name, gate_output(state.stored, step.name))
        elif step.kind is StepKind.GATE and recorded.reason == StepReason.NOT_DECIDED:
            variables.give(step.name, {})


def _declared_and_begun(plan: StoryPlan, state: RunState) -> Iterator[StepPlan]:
    pending = list(plan.steps.values())
    while pending:
        step = pending.pop(0)
        yield step
        pending += _branches_begun(step, state)


def _branches_begun(step: StepPlan, state: RunState) -> list[StepPlan]:
    """The branches of a ``parallel`` step; of a ``forEach``, those that are recorded."""
    if "forEach" not in step.parameters or not step.branches:
        return list(step.branches)
    prefix = f"{step.name}/"
    numbers = sorted(
        int(name.removeprefix(prefix))
        for name in state.steps or ()
        if name.startswith(prefix) and name.removeprefix(prefix).isdecimal()
    )
    return [step.branches[0].for_item(number, None) for number in numbers]
