"""The instants that the steps of a run wait for, as an annotation of the StoryRun stores them.

A JSON object, step name → kind → instant: ``{"nap": {"sleepUntil": "2026-01-02T03:04:05Z"}}``. Pure; unreadable parts
are ignored. Source: StoryRun contract 11.6. Our additions: compensations and ``finally`` steps have a deadline each,
under names that no step can have; an ``executeStory`` step with a timeout has one, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from bubu_contract.instants import parse_instant_or_none
from core.api.phases import member_or_none
from core.engine.clock import format_deadline
from core.story.kinds import StepKind

GROUP_MARK: Final = "@"
"""Prefix of the name of a group of steps."""


class TimerKind(StrEnum):
    SLEEP = "sleepUntil"
    GATE = "gateTimeoutAt"
    WAIT = "waitTimeoutAt"
    DEADLINE = "deadlineAt"


KEPT_BY: Final = {
    TimerKind.SLEEP: StepKind.SLEEP,
    TimerKind.GATE: StepKind.GATE,
    TimerKind.WAIT: StepKind.WAIT,
    TimerKind.DEADLINE: StepKind.EXECUTE_STORY,
}
"""The kind of steps whose end such a timer decides."""


class Timer(NamedTuple):
    kind: TimerKind
    at: datetime


def timers_from(text: object) -> dict[str, Timer]:
    """The timers in an annotation."""
    try:
        entries = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(entries, dict):
        return {}
    found = {name: _timer(entry) for name, entry in entries.items()}
    return {name: timer for name, timer in found.items() if timer is not None}


def timers_to_wire(timers: Mapping[str, Timer]) -> str:
    """The value of the annotation."""
    entries = {name: {str(timer.kind): format_deadline(timer.at)} for name, timer in timers.items()}
    return json.dumps(entries, separators=(",", ":"), sort_keys=True)


def _timer(entry: Any) -> Timer | None:
    if not isinstance(entry, dict):
        return None
    for word, instant in entry.items():
        kind, at = member_or_none(TimerKind, word), parse_instant_or_none(instant)
        if kind is not None and at is not None:
            return Timer(kind, at)
    return None
