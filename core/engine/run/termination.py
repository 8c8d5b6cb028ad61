"""After a group was ended early: end the steps that have started, skip the others.

The step tasks have ended before; only stored state is left. Engram steps are signalled and drained, child StoryRuns are
canceled; steps of other kinds need nothing more.
Source: StoryRun contract 11.8, 15.1, 17, in the improved forms.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import trio

from core.api.objects import NamespacedName, Object, has_ended, is_being_deleted, step_path
from core.api.phases import Phase, member_or_none
from core.engine.calls import patiently, persistently
from core.engine.clock import wait_for_wakeup
from core.engine.context.run_context import RunContext
from core.engine.context.step_context import StepContext
from core.engine.context.step_end import record_end
from core.engine.executor_port import StopReason
from core.engine.plan import GroupPlan, StepPlan
from core.engine.primitives.own_step_run import OwnStepRun
from core.engine.primitives.story import cancel_child
from core.engine.run.drain import end_engram
from core.engine.step.endings import Ending, outlived
from core.engine.step.manifest import is_of_reference
from core.engine.step.record import is_final, phase_of
from core.engine.step.verdict import Verdict
from core.story.kinds import StepKind

_CHILD_GRACE: Final = timedelta(seconds=2)
"""Added to the drain time: a child run drains as long as its parent does, and then has to record its end."""


async def end_group(run_context: RunContext, group: GroupPlan, ending: Ending, drain_at: datetime) -> None:
    """Return once every step of the group has a terminal phase."""
    run_context.wakeups.clear()
    run_context.progress.forget()
    names = frozenset(group.order)
    unfinished = [
        step
        for name, state in (run_context.status.state.steps or {}).items()
        if name.partition("/")[0] in names and not state.phase.terminal
        for step in (run_context.plan.find(name) or StepPlan(name, StepKind.UNKNOWN, {"name": name}),)
    ]
    phases = run_context.status.state.phases
    for name in group.order:
        if name not in phases:
            record_end(run_context, run_context.plan.steps[name], ending.skipped)
    async with trio.open_nursery() as nursery:
        for step in unfinished:
            if step.kind is StepKind.ENGRAM:
                nursery.start_soon(_end_engram, run_context, step, ending, drain_at)
            elif step.kind is StepKind.EXECUTE_STORY:
                nursery.start_soon(_end_child, run_context, step, ending, drain_at)
    for step in sorted(unfinished, key=lambda each: -len(each.parts)):  # branches before the steps around them
        if step.kind not in (StepKind.ENGRAM, StepKind.EXECUTE_STORY):
            record_end(run_context, step, _ending_of(run_context, step, ending).verdict)


def orphans(step_runs: Iterable[Object], *, begun_here: bool = False) -> list[Object]:
    """The StepRuns that have not ended although their run has.

    With ``begun_here`` (this process started some of them), also those whose end is only reported. Without it these are
    left out: the reference operator records ends in another way, and what it has left stays as it is.
    """
    remaining = [one for one in step_runs if not is_being_deleted(one)]
    return [one for one in remaining if not (is_final(one.get("status") or {}) if begun_here else has_ended(one))]


async def end_orphans(run_context: RunContext, remaining: Iterable[Object], drain: timedelta) -> None:
    """End what still runs of a run that another process has ended: no other process would."""
    ending = outlived(run_context.engine.clock.now())
    async with trio.open_nursery() as nursery:
        for step_run in remaining:
            name = step_path(step_run)
            if name:
                step = run_context.plan.find(name) or StepPlan(name, StepKind.ENGRAM, {"name": name})
                context = StepContext.of(run_context, step)
                end = partial(end_engram, context, ending, ending.decided_at + drain, unheard=True)
                nursery.start_soon(end)


async def end_retrying_jobs(run_context: RunContext) -> None:
    """End the Jobs of failed steps that the Go operator has left: it lets a Job start further Pods by itself."""
    engine, run, pace = run_context.engine, run_context.run, run_context.status.pace()
    for step_run in await patiently(engine.step_runs.step_runs, run, pace=pace):
        phase = phase_of(step_run.get("status") or {})
        has_failed = phase is not None and phase.terminal and phase is not Phase.SUCCEEDED
        recorded = run_context.status.state.step(step_path(step_run))
        if has_failed and is_of_reference(step_run) and recorded is not None and recorded.phase.terminal:
            await persistently(engine.executors.stop, step_run, StopReason.RECORDED, pace=pace)


async def cancel_children(run_context: RunContext) -> None:
    """Ask every child run that has not ended to end, also those that no step waits for."""
    runs, pace = run_context.engine.runs, run_context.status.pace()
    children = await patiently(runs.child_runs, run_context.run, pace=pace)
    async with trio.open_nursery() as nursery:
        if run_context.plan.is_realtime:
            nursery.start_soon(cancel_packet_runs, run_context)
        for child in children:
            step = run_context.plan.find(step_path(child) or "")
            if step is not None and not has_ended(child) and not is_being_deleted(child):
                nursery.start_soon(_ask_to_end, run_context, step, child)


async def cancel_packet_runs(run_context: RunContext) -> None:
    """Ask every StoryRun to end that packets of this run have started; the run has no steps for them."""
    found = await patiently(run_context.engine.runs.packet_runs, run_context.run, pace=run_context.status.pace())
    async with trio.open_nursery() as nursery:
        for child in found:
            if not has_ended(child) and not is_being_deleted(child):
                name = f"packets of {step_path(child)}"
                step = StepPlan(name, StepKind.EXECUTE_STORY, {"name": name})
                nursery.start_soon(_ask_to_end, run_context, step, child)


async def _ask_to_end(run_context: RunContext, step: StepPlan, child: Object) -> None:
    await cancel_child(StepContext.of(run_context, step), child)
    run_context.wakeups.pop(step.name, None)


def _ending_of(run_context: RunContext, step: StepPlan, ending: Ending) -> Ending:
    state = run_context.status.state.step(step.name)
    return ending.of_step(state.message if state is not None else "")


async def _end_engram(run_context: RunContext, step: StepPlan, ending: Ending, drain_at: datetime) -> None:
    context, ending = StepContext.of(run_context, step), _ending_of(run_context, step, ending)
    state = run_context.status.state.step(step.name)
    if state is not None and state.phase is Phase.PENDING and await _has_no_step_run(context):
        verdict = ending.skipped  # it was queued
    else:
        verdict = await end_engram(context, ending, drain_at)
    record_end(run_context, step, verdict)
    run_context.wakeups.pop(step.name, None)


async def _has_no_step_run(context: StepContext) -> bool:
    observation = await patiently(OwnStepRun(context).observe, pace=context.pace())
    return observation.step_run is None


async def _end_child(run_context: RunContext, step: StepPlan, ending: Ending, drain_at: datetime) -> None:
    context = StepContext.of(run_context, step)
    ended = _ending_of(run_context, step, ending).verdict
    child = await _child_of(context)
    if child is not None:
        if not has_ended(child):
            await cancel_child(context, child)
        phase = await _phase_at_end(context, child, drain_at + _CHILD_GRACE)
        if phase is Phase.SUCCEEDED and not step.parameters.get("until"):
            ended = Verdict(phase, child_run=str(child["metadata"]["name"]))
    record_end(run_context, step, ended)
    run_context.wakeups.pop(step.name, None)


async def _child_of(context: StepContext) -> Object | None:
    """The newest StoryRun of the step that this run controls."""
    children = await patiently(context.engine.runs.child_runs, context.run, pace=context.pace())
    ours = [child for child in children if step_path(child) == context.step.name]
    return next((child for child in ours if not has_ended(child)), ours[-1] if ours else None)


async def _phase_at_end(context: StepContext, child: Object, until: datetime) -> Phase | None:
    """The phase in which the StoryRun ended; None if it had not ended by ``until``, or is gone."""
    key = NamespacedName(context.namespace, str(child["metadata"]["name"]))
    while True:
        context.wakeup.clear()
        current = await patiently(context.engine.runs.read_run, key, pace=context.pace())
        if current is None or current["metadata"]["uid"] != child["metadata"]["uid"]:
            return None
        if has_ended(current):
            return member_or_none(Phase, current["status"].get("phase"))
        if context.now() >= until:
            return None
        await wait_for_wakeup(context.wakeup, context.engine.clock, until)
