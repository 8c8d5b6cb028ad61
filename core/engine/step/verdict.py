"""How a step, or a whole run, ended. The code that decides this passes it to the code that records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.api.phases import Phase, Reason, StepReason


@dataclass(frozen=True, slots=True)
class Degradation:
    """A ``Degraded`` condition at the end of a run, beside its phase."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The end of a run."""

    phase: Phase
    reason: Reason
    message: str
    has_error: bool = False
    """Whether ``status.error`` is written, which lists the failed steps."""
    output: Mapping[str, Any] | None = None
    degraded: Degradation | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a step, as it is recorded in ``stepStates``."""

    phase: Phase
    message: str = ""
    reason: Reason | None = None
    """Set if the engine itself decided the end; it is then at the start of the message, and in an Event."""
    recorded_reason: StepReason | None = None
    """The reason of the step's state, if it is neither ``reason`` nor the default of its phase."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    """None: the time at which it is recorded."""
    child_run: str = ""
    """The StoryRun that an ``executeStory`` step has started."""

    @property
    def state_reason(self) -> str:
        """The reason of the step's state; empty: the default of its phase."""
        return str(self.recorded_reason or self.reason or "")

    @property
    def text(self) -> str:
        """The message, with its reason in front."""
        if self.reason is None:
            return self.message
        return f"{self.reason}: {self.message}" if self.message else str(self.reason)


def failed(reason: Reason, message: str) -> Verdict:
    return Verdict(Phase.FAILED, message, reason)
