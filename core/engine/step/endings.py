"""Why a run, or a group of its steps, ends before its steps have ended. Pure.

``termination`` then ends the steps, and ``drain`` the Engram steps among them.
Source: StoryRun contract 11.8, 15.1 and 17, in the improved forms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from bubu_contract.durations import format_duration
from core.api.conditions import truncated
from core.api.phases import Phase, Reason, StepReason
from core.engine.step.verdict import Conclusion, Verdict

MAX_CAUSE_LENGTH: Final = 512
"""Characters of a step's message in that of its run or of the step around it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a run ends early, and the phases of its unfinished steps."""

    conclusion: Conclusion
    running_becomes: Phase
    because: str
    """Part of the messages of the steps: ``the run was canceled``."""
    decided_at: datetime
    """When it was decided. A restarted engine finds the same instant, so the steps get the drain time only once."""
    compensates: bool = False
    """Whether the compensations must run, as after a failure."""
    drains: bool = True
    """Whether streams may deliver what they have begun to deliver."""
    step_message: str = ""
    """The message of a step that was running, if it differs from the usual one."""
    until_then: str = ""
    """The end of the message of a step: what it was waiting for."""

    def of_step(self, was: str) -> Ending:
        """The ending of a step whose last message was ``was``: a timeout keeps what the step was waiting for."""
        is_told = bool(was) and self.running_becomes is Phase.TIMEOUT
        return replace(self, until_then=f"; until then: {was}") if is_told else self

    @property
    def text(self) -> str:
        """The message of a step that was running."""
        return self.step_message or f"Ended: {self.because}{self.until_then}"

    @property
    def step_reason(self) -> Reason:
        """The reason of the StepRun of a step that was running."""
        reasons = {Phase.TIMEOUT: Reason.TIMED_OUT, Phase.FAILED: self.conclusion.reason}
        return reasons.get(self.running_becomes, Reason.CANCELED)

    @property
    def verdict(self) -> Verdict:
        """The verdict of a step that was running."""
        return Verdict(self.running_becomes, self.text, recorded_reason=StepReason.RUN_ENDED)

    @property
    def skipped(self) -> Verdict:
        """The verdict of a step that had not started."""
        return Verdict(Phase.SKIPPED, f"Skipped: {self.because}{self.until_then}", recorded_reason=StepReason.RUN_ENDED)


def canceled(observed_at: datetime) -> Ending:
    conclusion = Conclusion(Phase.FINISHED, Reason.CANCELED, "The run was canceled")
    return Ending(conclusion, Phase.CANCELED, "the run was canceled", observed_at)


def timed_out(timeout: timedelta, deadline_at: datetime, held_up_by: str = "") -> Ending:
    """``held_up_by``: which step had not ended, and what it waited for."""
    text = f"the Story's timeout of {format_duration(timeout)} is over"
    message = f"The run was ended: {text}" + (f"; {truncated(held_up_by, MAX_CAUSE_LENGTH)}" if held_up_by else "")
    conclusion = Conclusion(Phase.TIMEOUT, Reason.TIMED_OUT, message, has_error=True)
    return Ending(conclusion, Phase.TIMEOUT, text, deadline_at)


def stopped(conclusion: Conclusion, stopped_at: datetime) -> Ending:
    compensates = conclusion.phase in (Phase.FAILED, Phase.COMPENSATED)
    return Ending(conclusion, Phase.CANCELED, "the run was stopped", stopped_at, compensates)


def out_of_time(group: str, conclusion: Conclusion, deadline_at: datetime) -> Ending:
    """The deadline of a group of clean-up steps has passed; ``conclusion`` is then that of the run."""
    return Ending(conclusion, Phase.TIMEOUT, f"the time limit of {group} has passed", deadline_at)


def outlived(now: datetime) -> Ending:
    """Another process has ended the run, and may not have known the steps that this one had started."""
    conclusion = Conclusion(Phase.CANCELED, Reason.CANCELED, "The run has ended")
    return Ending(conclusion, Phase.CANCELED, "the run has ended", now)


def uncalled_for(now: datetime) -> Ending:
    """Nothing has failed that compensations could undo, although another process may have started one."""
    conclusion = Conclusion(Phase.CANCELED, Reason.CANCELED, "There is nothing to compensate")
    return Ending(conclusion, Phase.CANCELED, "no main step failed", now)


def refused(conclusion: Conclusion, now: datetime) -> Ending:
    """The Story of a started run was edited so that it cannot be run; the run has no stored copy of the Story."""
    return Ending(conclusion, Phase.CANCELED, "its Story can no longer run", now)


def unreadable(why: str, now: datetime) -> Ending:
    """A part of the StoryRun cannot be read: the engine does not know what the run is to do."""
    text = f"The StoryRun cannot be read: {why}; start a new run with smaller or flatter data"
    conclusion = Conclusion(Phase.FAILED, Reason.UNREADABLE, text, has_error=True)
    return Ending(conclusion, Phase.CANCELED, "the run cannot be read", now)
