"""The slots of one run's Engram steps. Given back with the end of the step (``step_end``), or of the run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from core.api.objects import Object, step_path
from core.api.phases import Phase
from core.engine.context import step_start
from core.engine.context.run_context import RunContext
from core.engine.context.step_context import StepContext
from core.engine.plan import StepKind
from core.engine.slots.queueing import Demand
from core.engine.slots.scheduling import story_key
from core.engine.step.record import is_final


def claim_slots(run_context: RunContext, step_runs: list[Object]) -> None:
    """For the steps at work, and for no others: another process may have ended what had a slot here.

    Nor for what has begun by another edition of the Story: nobody would give its slot back before the run's end.
    """
    slots, uid, plan = run_context.engine.slots, run_context.run_uid, run_context.plan
    at_work = set()
    for step_run in step_runs:
        name = step_path(step_run)
        if name and not is_final(step_run.get("status") or {}):  # it may be tried again
            at_work.add(name)
    for name in sorted(at_work | slots.steps_holding(uid)):
        state = run_context.status.state.step(name)
        if (state is not None and state.phase.terminal) or not plan.has(name, StepKind.ENGRAM):
            slots.release(uid, name)
        elif name in at_work:
            slots.hold(uid, name, _story_key(run_context), run_context.scheduling.queue)


def has_slot(context: StepContext) -> bool:
    return context.engine.slots.holds(context.run_context.run_uid, context.step.name)


async def wait_for_slot(context: StepContext, is_begun: Callable[[], Awaitable[bool]]) -> bool:
    """Return once the Engram step may have a StepRun; it has its slot until its end is recorded.

    False when it has one, which another leader has made while it waited here: its slot is then in use, whatever the
    limits. ``is_begun`` is asked after each wake-up.
    """
    run_context, step = context.run_context, context.step
    demand = _demand(context)
    report = partial(step_start.queued, run_context, step)
    with run_context.progress.held_up(step.name):
        acquired = await context.engine.slots.acquire(demand, report, context.wakeup, is_begun)
    if not acquired:
        context.engine.slots.hold(run_context.run_uid, step.name, demand.story, demand.queue)
    step_start.launched(run_context, step)
    return acquired


def _demand(context: StepContext) -> Demand:
    run_context, step, now = context.run_context, context.step, context.now()
    plan, scheduling = run_context.plan, run_context.scheduling
    recorded = context.state.step(step.name)
    was_queued = recorded is not None and recorded.phase is Phase.PENDING
    queued_at = recorded.started_at if recorded is not None and was_queued else None
    return Demand(
        run=context.key,
        run_uid=run_context.run_uid,
        step=step.name,
        story=_story_key(run_context),
        story_limit=plan.step_concurrency,
        queue=scheduling.queue,
        priority=scheduling.priority,
        queued_at=queued_at or now.replace(microsecond=0),  # as it is stored; the Story's order decides within it
        order=plan.places.get(step.parts[0], 0),
    )


def _story_key(run_context: RunContext) -> str:
    return story_key(run_context.plan.namespace, run_context.plan.name)
