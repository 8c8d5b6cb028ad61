"""What ``wait`` and ``gate`` share: timeout, what happens then, stored deadline. Source: StoryRun contract 11.6."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bubu_contract.durations import parse_positive_duration
from bubu_contract.instants import format_instant
from core.api.phases import Phase, Reason, StepReason
from core.engine.context.step_context import StepContext
from core.engine.ports import StepError
from core.engine.step.timers import Timer, TimerKind
from core.engine.step.verdict import Verdict
from core.policy.sources import OPERATOR
from core.policy.timing import TimeoutChoice

_ON_TIMEOUT = {"": Phase.TIMEOUT, "fail": Phase.TIMEOUT, "skip": Phase.SKIPPED}


@dataclass(frozen=True, slots=True)
class Waiting:
    """The settings of a step that waits."""

    limit: TimeoutChoice | None
    """None: it waits without limit."""
    poll: timedelta | None
    """How often to look again without a wake-up; None: only after a wake-up."""
    becomes: Phase
    """The phase of the step when its time is over."""

    @classmethod
    def of(cls, context: StepContext, default: timedelta | None) -> Waiting | StepError:
        """The declared settings, ``default`` being the operator's timeout; an error if one is wrong, with its field."""
        parameters = context.step.parameters
        try:
            timeout, poll = (_duration(parameters.get(field), field) for field in ("timeout", "pollInterval"))
        except ValueError as error:
            return StepError(Reason.INVALID_CONFIGURATION, str(error))
        word = parameters.get("onTimeout") or ""
        becomes = _ON_TIMEOUT.get(word.strip().lower()) if isinstance(word, str) else None
        if becomes is None:
            return StepError(Reason.INVALID_CONFIGURATION, "with.onTimeout must be fail or skip")
        limit = None
        if timeout is not None:
            limit = TimeoutChoice(timeout, "with.timeout")
        elif default is not None:
            limit = TimeoutChoice(default, OPERATOR)
        return cls(limit, poll, becomes)

    @property
    def timeout(self) -> timedelta | None:
        return None if self.limit is None else self.limit.timeout

    def over(self, what: str, skipped: StepReason | None = None) -> Verdict:
        """The verdict of a step whose time is over. ``what`` it has waited for, and that it did not come; ``skipped``:
        the reason of its state if it is skipped.
        """
        text = f"timed out after {self.limit}: {what}" if self.limit is not None else f"timed out: {what}"
        if self.becomes is Phase.SKIPPED:
            return Verdict(Phase.SKIPPED, f"Skipped: {text}", recorded_reason=skipped)
        return Verdict(self.becomes, text)


async def keep_deadline(context: StepContext, kind: TimerKind, timeout: timedelta | None) -> datetime | None:
    """The deadline of the step: the recorded one; if there is none, it is recorded now. None: no deadline.

    It is stored before this returns. A recorded deadline is not affected by a change of the Story.
    """
    name = context.step.name
    timer = (context.state.timers or {}).get(name)
    if timer is None and timeout is not None:
        context.status.apply(context.state.timer_set(name, Timer(kind, context.now() + timeout)))
        timer = await context.status.stored_timer(name)
    return timer.at if timer is not None else None


def until_words(instant: datetime | None) -> str:
    """`` until 2026-01-02T03:04:05Z``, or nothing."""
    return f" until {format_instant(instant)}" if instant is not None else ""


def _duration(text: object, field: str) -> timedelta | None:
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    try:
        return parse_positive_duration(str(text))
    except ValueError as error:
        raise ValueError(f"with.{field}: {error}") from None
