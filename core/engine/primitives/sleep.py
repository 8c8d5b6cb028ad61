"""``sleep``: succeeds at a fixed instant, which is stored before it is awaited. Source: StoryRun contract 11.6."""

from __future__ import annotations

import trio

from core.api.duration import format_duration, parse_positive_duration
from core.api.phases import Phase, Reason
from core.engine.context import StepContext
from core.engine.verdict import Verdict, failed


async def run(context: StepContext) -> Verdict:
    """Wait for the recorded instant; without one, record it first. A recorded instant wins over a changed Story."""
    await trio.lowlevel.checkpoint()
    name, state = context.step.name, context.state
    wake_at = (state.timers or {}).get(name)
    now = context.now()
    if wake_at is None:
        text = context.step.parameters.get("duration")
        if text is None or (isinstance(text, str) and not text.strip()):
            return Verdict(Phase.SUCCEEDED, started_at=now, finished_at=now)
        try:
            duration = parse_positive_duration(str(text))
        except ValueError as error:
            return failed(Reason.INVALID_CONFIGURATION, f"with.duration: {error}")
        wake_at = now + duration
        message = f"Sleeping for {format_duration(duration)}"
        context.status.apply(context.state.timer_set(name, wake_at).step_started(name, now, Phase.PAUSED, message))
        await context.status.wait_until_stored()
    await context.engine.clock.sleep_until(wake_at)
    return Verdict(Phase.SUCCEEDED)
