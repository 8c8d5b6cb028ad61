"""``sleep``: succeeds at a fixed instant, which is stored before the wait. Source: StoryRun contract 11.6."""

from __future__ import annotations

import trio

from bubu_contract.durations import parse_positive_duration
from core.api.phases import Phase, Reason, StepReason
from core.engine.context.step_context import StepContext
from core.engine.primitives.waiting import until_words
from core.engine.step.timers import Timer, TimerKind
from core.engine.step.verdict import Verdict, failed


async def run(context: StepContext) -> Verdict:
    """Wait for the recorded instant; if there is none, record it first. A changed Story does not change it."""
    await trio.lowlevel.checkpoint()
    name, state = context.step.name, context.state
    timer = (state.timers or {}).get(name)
    now = context.now()
    if timer is None:
        text = context.step.parameters.get("duration")
        if text is None or (isinstance(text, str) and not text.strip()):
            return Verdict(Phase.SUCCEEDED, started_at=now, finished_at=now)
        try:
            duration = parse_positive_duration(str(text))
        except ValueError as error:
            return failed(Reason.INVALID_CONFIGURATION, f"with.duration: {error}")
        timer = Timer(TimerKind.SLEEP, now + duration)
        context.status.apply(context.state.timer_set(name, timer))
        context.set_message(f"Sleeping{until_words(timer.at)}", Phase.PAUSED, reason=StepReason.SLEEPING)
        timer = await context.status.stored_timer(name)
    # Again: the process that recorded the instant may have died before it recorded the message.
    context.set_message(f"Sleeping{until_words(timer.at)}", Phase.PAUSED, reason=StepReason.SLEEPING)
    await context.engine.clock.sleep_until(timer.at)
    return Verdict(Phase.SUCCEEDED)
