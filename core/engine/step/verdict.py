"""How a step, or a whole run, ended: what travels from whoever decides to whoever records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.api.phases import Phase, Reason, StepReason


@dataclass(frozen=True, slots=True)
class Degradation:
    """What goes with the end of a run that is not its phase: a ``Degraded`` condition."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The end of a run."""

    phase: Phase
    reason: Reason
    message: str
    has_error: bool = False
    """Whether ``status.error`` is written; it lists the failed steps."""
    output: Mapping[str, Any] | None = None
    degraded: Degradation | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a step, as it is recorded in ``stepStates``."""

    phase: Phase
    message: str = ""
    reason: Reason | None = None
    """Set for endings the engine decided itself; it then leads the message and an Event."""
    recorded_reason: StepReason | None = None
    """The reason of the step's state, where that is neither ``reason`` nor the default of its phase."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    """None: recorded as of now."""
    child_run: str = ""
    """The StoryRun that an ``executeStory`` step has started."""

    @property
    def state_reason(self) -> str:
        """The reason of the step's state; empty: the default of its phase."""
        return str(self.recorded_reason or self.reason or "")

    @property
    def text(self) -> str:
        """The message with its reason in front."""
        if self.reason is None:
            return self.message
        return f"{self.reason}: {self.message}" if self.message else str(self.reason)


def failed(reason: Reason, message: str) -> Verdict:
    return Verdict(Phase.FAILED, message, reason)
