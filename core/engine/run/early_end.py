"""Whether a run ends before its time, and why: decided here, once, for every caller."""

from __future__ import annotations

from enum import IntEnum

import trio

from core.engine.status.writer import StatusWriter
from core.engine.step.endings import Ending


class Stage(IntEnum):
    """How far a run has come."""

    PREPARING = 0
    MAIN = 1
    COMPENSATIONS = 2
    FINALLY = 3


class EarlyEnd:
    """The early end of one run. ``stage`` is kept up to date by the execution of the run."""

    def __init__(self, status: StatusWriter) -> None:
        self._status = status
        self.stage = Stage.PREPARING
        self.ending: Ending | None = None
        """Why the run ends before its time, once that is decided."""
        self.group_scope = trio.CancelScope()
        """Around the current group."""

    def end(self, ending: Ending) -> bool:
        """End the current group, and with it the run; the first reason counts. False: only ``finally`` is left."""
        if self.stage is Stage.FINALLY:
            return False
        if self.ending is None:
            self.announce(ending)
        self.group_scope.cancel()
        return True

    def announce(self, ending: Ending) -> None:
        """Record the reason; it replaces an earlier one."""
        self.ending = ending
        self._status.apply(self._status.state.ending(ending.conclusion.reason, f"Ending: {ending.because}"))
