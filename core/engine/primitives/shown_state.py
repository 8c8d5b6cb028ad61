"""What the state of an Engram step shows of its attempt: what keeps it from starting, and how its stream is.

Nothing is written while it stays the same.
"""

from __future__ import annotations

import trio

from core.api.phases import Phase, StepReason
from core.engine.calls import FIRST_PAUSE_SECONDS, Pace
from core.engine.context.step_context import StepContext
from core.engine.errors import PortError, ThrottledError
from core.engine.ports import DEADLINE_EXCEEDED, AttemptState, Observation
from core.engine.step.pending_reason import HoldUp, hold_up_of, pending_reason


def show(context: StepContext, observation: Observation) -> HoldUp | None:
    """Show what was observed, unless the step waits for its slot or its Engram.

    Returns what keeps the attempt from its work. If Kubernetes has ended it for its time, that is what was shown last.
    """
    context.run_context.streams.saw(context.step, observation.live, context.now())
    state, live = context.state.step(context.step.name), observation.live
    if state is not None and state.phase is Phase.PENDING:
        return None
    hold_up = hold_up_of(observation, context.now())
    was = state.reason if state is not None and state.reason_since is not None else ""
    if state is not None and was and observation.reason == DEADLINE_EXCEEDED:
        hold_up = HoldUp(was, state.message)
    found = pending_reason(observation, context.now())
    if was == StepReason.AWAITING_WORKER and observation.state is AttemptState.ABSENT:
        return hold_up  # it waits until its attempt is assigned
    phase = live.phase if live is not None else Phase.RUNNING
    if found is not None:
        if found.reason != was:
            context.set_message(found.message, phase, reason=found.reason, reason_since=found.since)
    elif live is not None and phase is not Phase.RUNNING:
        context.set_message(live.message or str(live.reason), phase, reason=live.reason)
    elif was or (live is not None and state is not None and state.phase is not Phase.RUNNING):
        context.set_message("")
    return hold_up


async def pause_after(error: PortError, context: StepContext, pace: Pace) -> None:
    """Wait before the next look after a write that failed; a wake-up shortens the pause, but not to nothing.

    Show what keeps an attempt from starting, if it is only the number of writes at once.
    """
    if isinstance(error, ThrottledError):
        context.set_message(str(error), Phase.BLOCKED, reason=StepReason.BINDING_THROTTLED)
    seconds = pace.next_seconds(error)
    await trio.sleep(min(seconds, FIRST_PAUSE_SECONDS))
    with trio.move_on_after(seconds - FIRST_PAUSE_SECONDS):
        await context.wakeup.wait()
