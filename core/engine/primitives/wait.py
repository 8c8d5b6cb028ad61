"""``wait``: succeeds when its condition holds. Source: StoryRun contract 11.6.

The condition is evaluated again whenever something that it can read has changed. ``pollInterval`` is only the longest
pause; without it, a condition that depends on the time is evaluated every few seconds. If everything that it reads has
ended and it still does not hold, it never will: the step fails instead of waiting without limit.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from core.api.conditions import truncated
from core.api.phases import Phase, Reason, StepReason
from core.engine.clock import wait_for_wakeup
from core.engine.context.step_context import StepContext
from core.engine.errors import StorageUnavailableError
from core.engine.ports import StepError
from core.engine.primitives.waiting import Waiting, keep_deadline, until_words
from core.engine.step.timers import TimerKind
from core.engine.step.verdict import Verdict, failed
from core.evaluation.evaluator import Failure, Value
from core.expressions import analysis

CLOCK_POLL: Final = timedelta(seconds=5)
"""For a condition whose result depends on the time or on chance."""


_SHOWN_CONDITION: Final = 256
"""Characters of a condition in a message."""
FIRST_LOOK: Final = timedelta(seconds=1)
"""How long fetching data from storage may take before the deadline of the step is recorded."""


async def run(context: StepContext) -> Verdict:
    settings = Waiting.of(context, context.engine.settings.run_defaults().wait_timeout)
    if isinstance(settings, StepError):
        return failed(settings.reason, settings.message)
    until = context.step.parameters.get("until")
    if not isinstance(until, str) or not until.strip():
        return failed(Reason.INVALID_CONFIGURATION, "with.until is required: the condition to wait for")
    poll = settings.poll or (None if analysis.is_timeless(until) else CLOCK_POLL)
    started_at = context.now()
    with context.run_context.watchers.watching(context.step.name, context.wakeup):
        deadline_at: datetime | None = None
        announced = False
        while True:
            context.wakeup.clear()
            unread = False
            try:  # until its deadline at most, which is not recorded before the first look
                verdict = await _look(context, until, settings, deadline_at if announced else started_at + FIRST_LOOK)
            except StorageUnavailableError:
                verdict, unread = None, not announced
            if verdict is not None:
                return verdict if announced else _from(verdict, started_at)
            if not announced:
                deadline_at = await keep_deadline(context, TimerKind.WAIT, settings.timeout)
                context.set_message(
                    f"Waiting for its condition{until_words(deadline_at)}",
                    Phase.PAUSED,
                    reason=StepReason.WAITING_FOR_CONDITION,
                )
                announced = True
            if deadline_at is not None and context.now() >= deadline_at:
                condition = truncated(" ".join(until.split()), _SHOWN_CONDITION)
                return settings.over(f"its condition did not become true: {condition}")
            if not unread:
                await wait_for_wakeup(
                    context.wakeup, context.engine.clock, _next_look(context.now(), deadline_at, poll)
                )


async def _look(context: StepContext, until: str, settings: Waiting, look_until: datetime | None) -> Verdict | None:
    """The verdict of the step, or None while the condition may still come to hold.

    Raises:
        StorageUnavailableError: what it reads could not be fetched by ``look_until``.
    """
    open_ = _can_change(context, until)
    answer = await context.stored.condition(
        until,
        context.seen(),
        context.pace(),
        context.asker(),
        field="with.until",
        finished=not open_,
        until=look_until,
    )
    match answer:
        case Value(value=True):
            return Verdict(Phase.SUCCEEDED)
        case Failure():
            return failed(Reason.EXPRESSION_FAILED, answer.message)
    if open_ or settings.timeout is not None or not analysis.is_timeless(until):
        return None
    text = "with.until is false and cannot become true: every step that it reads has ended"
    return failed(Reason.EXPRESSION_FAILED, text)


def _can_change(context: StepContext, until: str) -> bool:
    """Whether a step that the condition reads, or may read, can still produce a value."""
    references = analysis.condition_references(until)
    phases = {name: state.phase for name, state in (context.state.steps or {}).items()}
    if references.unknown_steps:
        others = (name for name in context.run_context.plan.order if name != context.step.parts[0])
        return any(name not in phases or not phases[name].terminal for name in others)
    owners = {context.run_context.plan.owner(name) or name for name in references.steps}
    return any(name not in phases or not phases[name].terminal for name in owners)


def _next_look(now: datetime, deadline_at: datetime | None, poll: timedelta | None) -> datetime | None:
    instants = [instant for instant in (deadline_at, now + poll if poll is not None else None) if instant is not None]
    return min(instants, default=None)


def _from(verdict: Verdict, started_at: datetime) -> Verdict:
    return Verdict(verdict.phase, verdict.message, verdict.reason, started_at=started_at)
