"""Lines of logs as text: for people, for a pipe, for programs, or as they are. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final

from bubu_contract.instants import format_precise_instant
from cli.log_order import LogSource
from cli.render.output import json_text
from cli.render.progress import Styled
from views.log_lines import readable

_COLOURS: Final = {
    "error": "red",
    "critical": "red",
    "fatal": "red",
    "panic": "red",
    "warning": "yellow",
    "warn": "yellow",
    "debug": "bright_black",
}
_LEVEL_WIDTH: Final = 7


class LogForm(Enum):
    """How lines are printed."""

    PEOPLE = auto()
    """``load[1] 09:36:42.045 info    loaded rows=3``, and tracebacks in lines of their own."""
    LABELLED = auto()
    """As the container wrote them, behind step and attempt."""
    RAW = auto()
    """As the container wrote them."""
    JSON = auto()
    """``{"step": "load", "attempt": 1, "time": "2026-01-01T09:36:42.045000Z", "line": "…"}``; the time may be null."""


def lines_of(
    source: LogSource | None, text: str, at: datetime | None, form: LogForm, *, whole_time: bool = False
) -> Iterator[Styled]:
    """The lines to print for one line of a log.

    Args:
        source: the step and its attempt; None for a log that needs no such label.
        at: when the line was written, if known.
        whole_time: with the date; all times are UTC.
    """
    if form is LogForm.RAW:
        yield text, ""
    elif form is LogForm.LABELLED:
        yield f"{_lead(source)}{text}", ""
    elif form is LogForm.JSON:
        yield json_text({**_record(source), "time": at and format_precise_instant(at), "line": text}), ""
    else:
        yield from _for_people(_lead(source), text, at, whole_time)


def _lead(source: LogSource | None) -> str:
    return f"{source} " if source is not None else ""


def _record(source: LogSource | None) -> dict[str, Any]:
    return source._asdict() if source is not None else {}


def _for_people(lead: str, text: str, at: datetime | None, whole_time: bool) -> Iterator[Styled]:
    line = readable(text, at)
    when = _time(line.at, whole_time)
    level = f"{line.level:<{_LEVEL_WIDTH}} " if line.level or when else ""
    fields = "".join(f" {name}={value}" for name, value in line.fields)
    colour = _COLOURS.get(line.level, "")
    yield f"{lead}{when}{level}{line.message}{fields}".rstrip(), colour
    for each in line.trace:
        yield f"{lead}  {each}".rstrip(), colour


def _time(at: datetime | None, whole: bool) -> str:
    if at is None:
        return ""
    clock = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"
    return f"{at:%Y-%m-%d}T{clock}Z " if whole else f"{clock} "
