"""The last signal of a step, for people. Pure. Source: SDK contract 17."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import ReadOnlyObject
from views.text import one_line

MOST_LETTERS: Final = 160
"""A longer value is cut: it stands in one line beside others."""


@dataclass(frozen=True, slots=True)
class SignalView:
    """What a step sent last."""

    key: str
    text: str
    """The value if the status has it, otherwise what it is."""
    at: datetime | None

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


def last_signal(status: ReadOnlyObject) -> SignalView | None:
    """The newest signal in the status of a StepRun that has not been deleted since; None if there is none."""
    return next(iter(signals_of(status)), None)


def signals_of(status: ReadOnlyObject) -> list[SignalView]:
    """The last signal of each key that has not been deleted since, the newest first."""
    signals = status.get("signals")
    if not isinstance(signals, Mapping):
        return []
    events = {key: event for event in _events(status) if (key := event.get("key")) in signals}
    known = sorted(events.values(), key=_number, reverse=True)
    silent = [key for key in reversed(list(signals)) if key not in events]
    return [
        *(SignalView(one_line(each["key"]), _text(signals[each["key"]]), _at(each)) for each in known),
        *(SignalView(one_line(key), _text(signals[key]), None) for key in silent),
    ]


def _events(status: ReadOnlyObject) -> list[ReadOnlyObject]:
    return sorted((each for each in status.get("signalEvents") or () if isinstance(each, Mapping)), key=_number)


def _number(event: ReadOnlyObject) -> int:
    return int(event.get("seq") or 0)


def _at(event: ReadOnlyObject) -> datetime | None:
    return parse_instant_or_none(event.get("emittedAt"))


def _text(signal: Any) -> str:
    if not isinstance(signal, Mapping):
        return _cut(json.dumps(signal, ensure_ascii=False))
    sample = signal.get("sample")
    if isinstance(sample, Mapping) and isinstance(sample.get("text"), str):
        return _cut(sample["text"])
    if "value" in signal:
        value = signal["value"]
        plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
        return _cut(plain)
    meta = signal.get("meta")
    about = meta if isinstance(meta, Mapping) else signal
    size = about.get("sizeBytes")
    kind = one_line(about.get("type") or about.get("format") or "value")
    return f"{kind} of {size} bytes, not shown" if isinstance(size, int) else f"{kind}, not shown"


def _cut(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= MOST_LETTERS else f"{line[: MOST_LETTERS - 1]}…"
