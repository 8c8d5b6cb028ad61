"""What an Impulse has started: counted from its StoryTriggers, each of them once, without a write for each. Pure.

``status.counted`` has the totals of everything up to an instant, the base; later triggers are counted again each time.
So the numbers are exact at once, and they do not fall when old triggers are removed. Instants are whole seconds of the
operator's clock, and the base only moves over seconds whose events have all been seen: nothing is missed or counted
twice.

Runs that an SDK created without a StoryTrigger count as received and launched at their creation. Increments that an SDK
writes into these fields are overwritten; the throttle fields belong to SDKs. Source: Trigger contract 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api import keys
from core.api.objects import Object, ReadOnlyObject
from core.api.phases import Phase

SETTLING: Final = timedelta(seconds=40)
"""How long after a second its decisions may still be stored: the deadline of a write, and clocks that differ."""

_LAUNCHED: Final = frozenset({"Created", "Reused"})
_REJECTED: Final = "Rejected"
_FIELDS: Final = {"received": "triggersReceived", "launched": "storiesLaunched", "failed": "failedTriggers"}
"""Counter → field of the status."""


class CountedTrigger(NamedTuple):
    """What counts of a StoryTrigger: texts as it has them, so that little is kept of the many that were counted."""

    created: object
    accepted: object
    completed: object
    decision: object

    @classmethod
    def of(cls, trigger: Object) -> CountedTrigger:
        status = trigger.get("status") or {}
        texts = (status.get(name) for name in ("acceptedAt", "completedAt", "decision"))
        return cls(trigger["metadata"].get("creationTimestamp"), *texts)


class CountedRun(NamedTuple):
    """What counts of a StoryRun."""

    created: object
    succeeded: object
    """When it ended, if it succeeded."""
    has_trigger: bool
    """Whether it was created for a StoryTrigger, which counts instead."""

    @classmethod
    def of(cls, run: Object) -> CountedRun:
        metadata, status = run["metadata"], run.get("status") or {}
        succeeded = status.get("finishedAt") if status.get("phase") == Phase.SUCCEEDED else None
        has_trigger = keys.ANNOTATION_TRIGGER_REQUEST_NAME in (metadata.get("annotations") or {})
        return cls(metadata.get("creationTimestamp"), succeeded, has_trigger)


class CountedEvent(NamedTuple):
    counter: str
    """A key of ``_FIELDS``."""
    at: datetime | None
    """When it counts; None: it is not decided yet, and never becomes a part of the base."""


class ImpulseCounts(NamedTuple):
    status: dict[str, Any]
    """The fields to store."""
    more_to_come: bool
    """Whether something has happened too recently to be a part of the base."""


def impulse_counts(
    stored: ReadOnlyObject, triggers: Iterable[CountedTrigger], runs: Iterable[CountedRun], current_at: datetime | None
) -> ImpulseCounts:
    """The counters of an Impulse with the status ``stored``.

    Args:
        triggers: those of this Impulse; so are ``runs``.
        current_at: everything that was stored before this instant is among them; None: nothing is sure.
    """
    latest = _Latest(stored)
    counted = stored.get("counted") or {}
    through = parse_instant_or_none(counted.get("through"))
    through_text = format_instant(through) if through is not None else ""
    until = (current_at - SETTLING).replace(microsecond=0) - timedelta(seconds=1) if current_at is not None else None
    later = [
        event
        for event in (*_of_triggers(triggers, through_text, latest), *_of_runs(runs, through_text, latest))
        if event.at is None or through is None or event.at > through
    ]
    base = _base(stored, counted, later)
    recent = [event for event in later if event.at is not None and (until is None or event.at > until)]
    settled = [event for event in later if event.at is not None and until is not None and event.at <= until]
    newest = max((event.at for event in settled if event.at is not None), default=through)
    totals = {name: base[name] + sum(event.counter == name for event in later) for name in _FIELDS}
    new_base = {name: base[name] + sum(event.counter == name for event in settled) for name in _FIELDS}
    return ImpulseCounts(
        {
            **{field: totals[name] for name, field in _FIELDS.items()},
            "counted": {**new_base, **({"through": format_instant(newest)} if newest is not None else {})},
            "lastTrigger": latest.trigger,
            "lastSuccess": latest.success,
        },
        more_to_come=bool(recent),
    )


class _Latest:
    """The newest instants, which only move forward: an SDK writes them, too."""

    def __init__(self, stored: ReadOnlyObject) -> None:
        self.trigger: str | None = stored.get("lastTrigger")
        self.success: str | None = stored.get("lastSuccess")

    def saw_trigger(self, text: object) -> None:
        self.trigger = _later(self.trigger, text)

    def saw_success(self, text: object) -> None:
        self.success = _later(self.success, text)


def _of_triggers(triggers: Iterable[CountedTrigger], through: str, latest: _Latest) -> Iterator[CountedEvent]:
    for created, accepted, completed, decision in triggers:
        latest.saw_trigger(created)
        if through and _surely_by(accepted, through) and _surely_by(completed, through):
            continue
        yield CountedEvent("received", _instant(accepted) or _instant(completed))
        if decision in _LAUNCHED:
            yield CountedEvent("launched", _instant(completed))
        elif decision == _REJECTED:
            yield CountedEvent("failed", _instant(completed))


def _of_runs(runs: Iterable[CountedRun], through: str, latest: _Latest) -> Iterator[CountedEvent]:
    for run in runs:
        if run.succeeded is not None:
            latest.saw_success(run.succeeded)
        if run.has_trigger:
            continue
        latest.saw_trigger(run.created)
        if through and _surely_by(run.created, through):
            continue
        created = _instant(run.created)
        yield CountedEvent("received", created)
        yield CountedEvent("launched", created)


def _base(stored: ReadOnlyObject, counted: ReadOnlyObject, later: Iterable[CountedEvent]) -> dict[str, int]:
    """The totals up to the base; before the first count, what another operator has counted of removed objects."""
    events = list(later)
    if counted:
        return {name: counted.get(name) or 0 for name in _FIELDS}
    return {
        name: max((stored.get(field) or 0) - sum(event.counter == name for event in events), 0)
        for name, field in _FIELDS.items()
    }


def _surely_by(text: object, instant: str) -> bool:
    """Compares texts only: nearly all of ten thousand triggers were counted long ago. ``instant`` has whole seconds."""
    return isinstance(text, str) and len(text) == len(instant) and text.endswith("Z") and text <= instant


def _instant(text: object) -> datetime | None:
    found = parse_instant_or_none(text)
    return found.replace(microsecond=0) if found is not None else None


def _later(known: str | None, text: object) -> str | None:
    if known is not None and _surely_by(text, known):
        return known
    found, before = parse_instant_or_none(text), parse_instant_or_none(known)
    if found is None or (before is not None and found <= before):
        return known
    return format_instant(found)
