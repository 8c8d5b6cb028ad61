"""The wait of an Engram step for a worker with room: for the next wake-up, without asking again before."""

from __future__ import annotations

from datetime import datetime

from bubu_contract.instants import format_instant
from core.api.phases import Phase, StepReason
from core.engine.clock import wait_for_wakeup
from core.engine.context.step_context import StepContext
from core.engine.errors import NoRoomError
from core.engine.step.pending_reason import PATIENCE


class RoomWait:
    """The state of the step shows a wait only after some seconds, and then stays as it is: waits are mostly short."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._since: datetime | None = None

    async def wait(self, error: NoRoomError) -> None:
        """Return at the next wake-up, or when it is time to show the wait."""
        context, now = self._context, self._context.now()
        state = context.state.step(context.step.name)
        shown = state is not None and state.reason == StepReason.AWAITING_WORKER
        recorded = state.reason_since if state is not None and shown else None
        self._since = self._since or recorded or now
        show_at = self._since + PATIENCE
        if now >= show_at and not shown:
            text = f"Waiting for a worker since {format_instant(self._since)}: {error}"
            context.set_message(text, Phase.RUNNING, reason=StepReason.AWAITING_WORKER, reason_since=self._since)
        await wait_for_wakeup(context.wakeup, context.engine.clock, show_at if now < show_at else None)

    def end(self) -> None:
        """A worker has the attempt."""
        self._since = None
