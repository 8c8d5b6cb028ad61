"""Lines of logs for people: what a JSON record says, in words, and everything else as it is. Pure.

Records of the SDKs, of zap, structlog and the common loggers are understood: they have the same few fields under
different names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bubu_contract.instants import parse_instant_or_none

_TIMES: Final = ("time", "timestamp", "ts", "@timestamp")
_LEVELS: Final = ("level", "severity", "levelname")
_MESSAGES: Final = ("msg", "message", "event")
_TRACES: Final = ("stacktrace", "exception", "exc_info", "traceback", "stack")
_NAMES_OF_STEP: Final = frozenset({"storyRun", "step", "stepRun", "trace_id", "span_id"})
"""Names that every record has; the line is shown behind those of the step."""
_NAMES_OF_ATTEMPT: Final = _NAMES_OF_STEP | {"attempt"}
"""The same, for records of our SDK."""
_USER_LOGGERS: Final = frozenset({"engram", "impulse"})
_PRINTED: Final = "output"
"""The logger of what a step in a warm worker has printed, which is no record of its own."""
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_PLAIN: Final = re.compile(r"[\w./:@+-]+")


@dataclass(frozen=True, slots=True)
class ReadableLine:
    """One line of a log."""

    at: datetime | None
    level: str
    """In lower case; empty for a line that is no record."""
    message: str
    fields: tuple[tuple[str, str], ...] = ()
    """Names and values, ready to be printed as ``name=value``."""
    trace: tuple[str, ...] = ()
    """The lines of a traceback."""


def readable(line: str, at: datetime | None = None) -> ReadableLine:
    """The line for people.

    Args:
        at: when the line was written; a record's own time has priority.
    """
    record = _record(line)
    message = next((record[name] for name in _MESSAGES if isinstance(record.get(name), str)), None)
    if message is None:
        return ReadableLine(at, "", _safe(line))
    if record.get("logger") == _PRINTED and "stepRun" in record:
        return ReadableLine(_instant(_taken(record, _TIMES)) or at, "", _safe(message))
    rest = dict(record)
    when = _taken(rest, _TIMES)
    level = _taken(rest, _LEVELS)
    _taken(rest, _MESSAGES)
    trace = _taken(rest, _TRACES)
    if rest.get("logger") in _USER_LOGGERS:
        del rest["logger"]
    known = _NAMES_OF_ATTEMPT if "stepRun" in record else _NAMES_OF_STEP
    fields = tuple((_safe(name), _value(value)) for name, value in rest.items() if name not in known)
    first, *more = _lines(message) or [""]
    lines = _lines(trace) if isinstance(trace, str) else []
    return ReadableLine(_instant(when) or at, _safe(str(level or "")).lower(), first, fields, (*more, *lines))


def _record(line: str) -> dict[str, Any]:
    if not line.startswith("{"):
        return {}
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _taken(record: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The first of the fields that exists, taken out of the record."""
    name = next((name for name in names if name in record), None)
    return record.pop(name) if name is not None else None


def _instant(value: Any) -> datetime | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, OSError, ValueError):
            return None
    return parse_instant_or_none(value)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _safe(value) if _PLAIN.fullmatch(value) else json.dumps(_safe(value), ensure_ascii=False)
    if isinstance(value, (list, Mapping)):
        return _safe(json.dumps(value, ensure_ascii=False))
    return json.dumps(value)


def _lines(text: str) -> list[str]:
    return [_safe(line) for line in text.splitlines()]


def _safe(text: str) -> str:
    """The text without escape sequences and other characters that move the cursor, with its spaces."""
    plain = _ESCAPES.sub("", text).expandtabs(4) if not text.isprintable() else text
    return "".join(letter if letter.isprintable() else " " for letter in plain).rstrip()
