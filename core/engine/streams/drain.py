"""How a stream is ended before its time: it is drained first, and asked to end when the drain is over. Pure.

While it drains it delivers what it has begun to deliver, and ends by itself. Once it is asked to end, it gets as long
to stop as other steps do. Source: streaming contract 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from core.engine.executor_port import StopReason
from core.engine.ports import AttemptState, Observation
from core.engine.step import record

_AT_WORK: Final = (AttemptState.STARTING, AttemptState.RUNNING, AttemptState.FAILED, AttemptState.LINGERING)
"""States in which something of a stream is still there."""


@dataclass(frozen=True, slots=True)
class Drain:
    """The times of one drain."""

    drains: bool
    """Whether the stream may deliver what it has begun to deliver."""
    drain_at: datetime
    """When it is asked to end, whatever it has delivered."""
    stop_at: datetime
    """When its end is recorded, whatever still runs."""

    def request(self, now: datetime) -> StopReason:
        """What the stream is asked for now."""
        return StopReason.DRAIN if self.drains and now < self.drain_at else StopReason.END

    def is_over(self, seen: Observation, asked: StopReason | None, now: datetime) -> bool:
        """Whether to record the end. ``asked``: what this process has asked the stream for last; None: nothing yet."""
        if asked is None:
            return has_finished(seen)
        return not is_at_work(seen) or (asked is StopReason.END and now >= self.stop_at)

    def next_at(self, now: datetime) -> datetime:
        """When to look again if nothing changes before."""
        return self.drain_at if now < self.drain_at else self.stop_at


def is_at_work(seen: Observation) -> bool:
    """Whether something of the stream is still there."""
    return seen.state in _AT_WORK


def has_finished(seen: Observation) -> bool:
    """Whether a stream had ended by itself before the engine asked it to; a restarted engine gets the same answer."""
    asked = seen.step_run is None or record.end_is_requested(seen.step_run)
    return seen.state is AttemptState.SUCCEEDED and not asked
