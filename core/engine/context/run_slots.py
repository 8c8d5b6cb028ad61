"""The slots of one run's Engram steps. A slot is released when the step ends (``step_end``) or the run does.

Some need none (``StepPlan.takes_slot``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

import trio

from core.api.objects import Object, step_path
from core.api.phases import Phase, Reason
from core.engine.context import step_start
from core.engine.context.run_context import RunContext
from core.engine.context.step_context import StepContext
from core.engine.slots.queueing import Demand
from core.engine.slots.scheduling import story_key
from core.engine.step.record import is_final


def claim_slots(run_context: RunContext, step_runs: list[Object]) -> None:
    """Take slots for the StepRuns that have not ended, and release the slots of all other steps of the run.

    Another process may have ended a step that had a slot here. A step that was started under another version of the
    Story gets no slot: nothing would release it before the end of the run. A step that lost its slot while it waited
    for its Engram asks for one again.
    """
    slots, uid, plan = run_context.engine.slots, run_context.run_uid, run_context.plan
    unfinished = set()
    for step_run in step_runs:
        name = step_path(step_run)
        if name and not is_final(step_run.get("status") or {}):  # it may be retried
            unfinished.add(name)
    for name in sorted(unfinished | slots.steps_holding(uid)):
        state = run_context.status.state.step(name)
        has_none = state is not None and (state.phase.terminal or state.has_lost_its_slot)
        step = plan.find(name)
        if has_none or step is None or not step.takes_slot:
            slots.release(uid, name)
        elif name in unfinished:
            slots.hold(uid, name, _story_key(run_context), run_context.scheduling.queue)


def has_slot(context: StepContext) -> bool:
    """Whether the step may continue; one that takes no slot may, once it is recorded that it runs."""
    if not context.step.takes_slot:
        state = context.state.step(context.step.name)
        return state is not None and state.phase is not Phase.PENDING
    return context.engine.slots.holds(context.run_context.run_uid, context.step.name)


async def wait_for_slot(
    context: StepContext, is_begun: Callable[[], Awaitable[bool]], begun_at: datetime | None = None
) -> bool:
    """Return once the Engram step may have a StepRun, or another attempt; it keeps its slot until its end is recorded.

    False: it has that, by another leader, which was faster. Its slot is then taken, whatever the limits. ``is_begun``
    is called after each wake-up and says whether that is so. ``begun_at``: the start of its first attempt, if there was
    one.
    """
    run_context, step = context.run_context, context.step
    if not step.takes_slot:
        step_start.launched(run_context, step, begun_at)
        await trio.lowlevel.checkpoint()
        return True
    demand = _demand(context)
    report = partial(step_start.queued, run_context, step)
    with run_context.progress.held_up(step.name):
        acquired = await context.engine.slots.acquire(demand, report, context.wakeup, is_begun)
    if not acquired:
        context.engine.slots.hold(run_context.run_uid, step.name, demand.story, demand.queue)
    step_start.launched(run_context, step, begun_at)
    return acquired


def _demand(context: StepContext) -> Demand:
    run_context, step, now = context.run_context, context.step, context.now()
    plan, scheduling = run_context.plan, run_context.scheduling
    recorded = context.state.step(step.name)
    was_queued = recorded is not None and recorded.phase is Phase.PENDING and recorded.reason == Reason.QUEUED
    queued_at = recorded.reason_since or recorded.started_at if recorded is not None and was_queued else None
    return Demand(
        run=context.key,
        run_uid=run_context.run_uid,
        step=step.name,
        story=_story_key(run_context),
        story_limit=plan.step_concurrency,
        queue=scheduling.queue,
        priority=scheduling.priority,
        queued_at=queued_at or now.replace(microsecond=0),  # as stored; within a second the Story's order decides
        order=plan.places.get(step.parts[0], 0),
    )


def _story_key(run_context: RunContext) -> str:
    return story_key(run_context.plan.namespace, run_context.plan.name)
