"""Patches of a step container to ``StepRun.status``: bodies, merge rules, allowed phase changes. Pure.

Source: SDK contract 13. Differences from the reference, each marked there as weak: ``Pending`` may become
``Succeeded``; a success clears ``error`` and ``lastFailureMsg`` of earlier attempts and writes ``exitCode: 0``; signal
keys after the first are not lost; nulls in an output are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from bubu_contract import canonical, durations, instants
from bubu_sdk import errors, redaction
from bubu_sdk.errors import EngramError, ErrorType, ExitClass, Object

MAX_EVENTS: Final = 256
"""The limit of signal events, and of effects, in a status: those with the highest ``seq`` are kept."""

SHOWN_VALUE: Final = "value"
"""The field of a signal in the status that has its value, if that is small."""
MAX_SHOWN_VALUES_BYTES: Final = 16 * 1024
"""The values of all signals together, as compact JSON: a status has a limit, and the output needs its share."""


class Phase(StrEnum):
    """Phases of a StepRun that the SDK knows."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    PAUSED = "Paused"
    BLOCKED = "Blocked"
    SCHEDULING = "Scheduling"
    TIMEOUT = "Timeout"
    ABORTED = "Aborted"
    FINISHED = "Finished"
    SKIPPED = "Skipped"
    COMPENSATED = "Compensated"


TRANSITIONS: Final[Mapping[str, frozenset[str]]] = {
    Phase.PENDING: frozenset({Phase.RUNNING, Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELED, Phase.TIMEOUT}),
    Phase.RUNNING: frozenset(
        {Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELED, Phase.PAUSED, Phase.TIMEOUT, Phase.ABORTED}
    ),
    Phase.PAUSED: frozenset({Phase.RUNNING, Phase.CANCELED, Phase.FAILED}),
    Phase.FAILED: frozenset({Phase.RUNNING, Phase.SUCCEEDED}),
    Phase.BLOCKED: frozenset({Phase.PENDING, Phase.RUNNING, Phase.FAILED, Phase.CANCELED}),
    Phase.SCHEDULING: frozenset({Phase.RUNNING, Phase.FAILED, Phase.CANCELED}),
}


RESULTS: Final = frozenset(
    {
        Phase.SUCCEEDED,
        Phase.FAILED,
        Phase.CANCELED,
        Phase.TIMEOUT,
        Phase.ABORTED,
        Phase.FINISHED,
        Phase.SKIPPED,
        Phase.COMPENSATED,
    }
)
"""Phases of a step that has ended."""


def has_ended(current: Mapping[str, Any], after: str) -> bool:
    """Whether the step has ended in another way than ``after``, or the operator has recorded that it has ended so.

    A container reports phases, never conditions, so a phase without them may be its own report, whose answer was lost.
    """
    phase = str(current.get("phase") or "")
    if phase != after:
        return phase in RESULTS and not may_become(phase, after)
    conditions = current.get("conditions") or ()
    return any((each.get("type"), each.get("status")) == ("Progressing", "False") for each in conditions)


def may_become(before: str, after: str) -> bool:
    """Whether the SDK may change a StepRun's phase from ``before`` to ``after``."""
    return not before or before == after or after in TRANSITIONS.get(before, frozenset())


@dataclass(frozen=True)
class SignalEvent:
    """One signal event. If ``seq`` is 0, the merge assigns the next number (highest so far + 1)."""

    key: str
    emitted_at: datetime
    payload: Object | None = None
    seq: int = 0


@dataclass(frozen=True)
class EffectRecord:
    """One side effect that happened. If ``seq`` is 0, a known key is not recorded again."""

    key: str
    status: str
    emitted_at: datetime
    details: Object | None = None
    seq: int = 0


@dataclass(frozen=True)
class StatusUpdate:
    """Fields to merge into a status; empty ones change nothing."""

    fields: Object = field(default_factory=dict)
    """Fields to overwrite: phase, finishedAt, output, error, …"""
    cleared: tuple[str, ...] = ()
    """Fields to remove if present."""
    signals: Mapping[str, Object | None] = field(default_factory=dict)
    """Per key: the value to set, or ``None`` to delete the key."""
    signal_events: tuple[SignalEvent, ...] = ()
    effects: tuple[EffectRecord, ...] = ()

    @property
    def phase(self) -> str:
        """The phase to change to; empty for no change."""
        return str(self.fields.get("phase", ""))


def claimed(pod: str, status: Object, started_at: datetime) -> StatusUpdate:
    """The update with which this Pod takes the StepRun over: from then on, writes of an earlier Pod are refused."""
    fields: Object = {"podName": pod} if pod else {}
    if status.get("phase") in (None, "", Phase.PENDING, Phase.SCHEDULING, Phase.BLOCKED):  # the phase Failed stays
        fields["phase"] = str(Phase.RUNNING)
    if not status.get("startedAt"):
        fields["startedAt"] = instants.format_instant(started_at)
    return StatusUpdate(fields)


def succeeded(output: Any, *, started_at: datetime, finished_at: datetime) -> StatusUpdate:
    """The terminal update of a success."""
    fields = _finished(Phase.SUCCEEDED, started_at, finished_at, 0, ExitClass.SUCCESS)
    return StatusUpdate(fields | {"output": output}, cleared=("error", "lastFailureMsg"))


def failed(
    error: EngramError,
    *,
    output: Any,
    exit_code: int,
    exit_class: ExitClass,
    started_at: datetime,
    finished_at: datetime,
) -> StatusUpdate:
    """The terminal update of a failure; ``output`` is attached unless it is ``None``."""
    fields = _finished(Phase.FAILED, started_at, finished_at, exit_code, exit_class)
    fields["lastFailureMsg"] = redaction.public_message(error.message) or type(error).__name__
    fields["error"] = errors.structured(error, exit_code=exit_code, exit_class=exit_class) | errors.for_retries(error)
    return StatusUpdate(fields if output is None else fields | {"output": output})


def timed_out(error: EngramError, *, output: Any, started_at: datetime, finished_at: datetime) -> StatusUpdate:
    """The terminal update of a step that passed its deadline: exit code 124, class ``retry``."""
    fields = _finished(Phase.TIMEOUT, started_at, finished_at, 124, ExitClass.RETRY)
    fields["lastFailureMsg"] = redaction.public_message(error.message)
    fields["error"] = errors.structured(error, exit_code=124, exit_class=ExitClass.RETRY, type_=ErrorType.TIMEOUT)
    return StatusUpdate(fields if output is None else fields | {"output": output})


def merge(status: Object, update: StatusUpdate) -> Object:
    """``status`` after ``update``; the argument does not change."""
    after = {**status, **update.fields}
    after.setdefault("retries", 0)  # the schema requires it, even if the controller has not written it yet
    for name in update.cleared:
        after.pop(name, None)
    if update.signals:
        signals = {**status.get("signals", {}), **update.signals}
        after["signals"] = _with_room({key: value for key, value in signals.items() if value is not None}, update)
    if update.signal_events:
        after["signalEvents"] = _with_events(status.get("signalEvents", []), update.signal_events)
    if update.effects:
        after["effects"] = _with_effects(status.get("effects", []), update.effects)
    return after


def merge_patch(before: Any, after: Any) -> Object:
    """The JSON merge patch that turns ``before`` into ``after`` (RFC 7386); empty when they are equal."""
    patch: Object = {key: None for key in before if key not in after}
    for key, value in after.items():
        if key not in before:
            patch[key] = value
        elif isinstance(value, Mapping) and isinstance(before[key], Mapping):
            if inner := merge_patch(before[key], value):
                patch[key] = inner
        elif not _same(before[key], value):
            patch[key] = value
    return patch


def json_patch(before: Object, after: Object, *, had_status: bool) -> list[Object]:
    """The JSON patch for the same change, for values that a merge patch cannot carry (nulls)."""
    operations: list[Object] = [] if had_status else [{"op": "add", "path": "/status", "value": {}}]
    operations += [{"op": "remove", "path": f"/status/{key}"} for key in before if key not in after]
    changed = {key: value for key, value in after.items() if key not in before or not _same(before[key], value)}
    return operations + [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in changed.items()]


def holds_null(value: Any) -> bool:
    """Whether a merge patch would drop a part of ``value``."""
    if isinstance(value, Mapping):
        return any(item is None or holds_null(item) for item in value.values())
    return isinstance(value, list) and any(holds_null(item) for item in value)


def _finished(
    phase: Phase, started_at: datetime, finished_at: datetime, exit_code: int, exit_class: ExitClass
) -> Object:
    return {
        "phase": str(phase),
        "finishedAt": instants.format_instant(finished_at),
        "duration": durations.format_duration(finished_at - started_at),
        "exitCode": exit_code,
        "exitClass": str(exit_class),
    }


def _with_room(signals: Object, update: StatusUpdate) -> Object:
    """The signals without the new values, if all values together would take the room that the output needs."""
    values = [
        signal[SHOWN_VALUE] for signal in signals.values() if isinstance(signal, Mapping) and SHOWN_VALUE in signal
    ]
    if not values or len(canonical.encode(values)) <= MAX_SHOWN_VALUES_BYTES:
        return signals
    return {key: _redacted(signal) if key in update.signals else signal for key, signal in signals.items()}


def _redacted(signal: Any) -> Any:
    if not isinstance(signal, Mapping) or SHOWN_VALUE not in signal:
        return signal
    return {**{name: part for name, part in signal.items() if name != SHOWN_VALUE}, "redacted": True}


def _with_events(present: list[Object], added: tuple[SignalEvent, ...]) -> list[Object]:
    events = list(present)
    for event in added:
        taken = {entry.get("seq", 0) for entry in events}
        seq = event.seq or max(taken, default=0) + 1
        if seq in taken:
            continue
        entry: Object = {"seq": seq, "key": event.key, "emittedAt": instants.format_instant(event.emitted_at)}
        events.append(entry if event.payload is None else entry | {"payload": event.payload})
    return _newest(events)


def _with_effects(present: list[Object], added: tuple[EffectRecord, ...]) -> list[Object]:
    effects = list(present)
    for record in added:
        taken = {entry.get("seq", 0) for entry in effects}
        known = any(str(entry.get("key", "")).strip() == record.key.strip() for entry in effects)
        seq = record.seq or max(taken, default=0) + 1
        if (record.seq == 0 and known) or seq in taken:
            continue
        entry: Object = {"seq": seq, "key": record.key, "emittedAt": instants.format_instant(record.emitted_at)}
        entry |= {"status": record.status} if record.status else {}
        effects.append(entry if record.details is None else entry | {"details": record.details})
    return _newest(effects)


def _newest(entries: list[Object]) -> list[Object]:
    if len(entries) <= MAX_EVENTS:
        return entries
    return sorted(entries, key=lambda entry: int(entry.get("seq", 0)))[-MAX_EVENTS:]


def _same(left: Any, right: Any) -> bool:
    """Equality that distinguishes ``1`` from ``true``."""
    return type(left) is type(right) and bool(left == right)
