"""Dates and durations. The local zone is UTC. Source: templating contract 10.5; also ``ago`` of 11.

When a string or a fraction is given instead of a time, the reference implementation uses *now*. So do these functions,
unless results must be repeatable: then the missing clock is an error. An integral number means seconds since 1970,
whatever its type is.
"""

from __future__ import annotations

import re
from datetime import UTC, tzinfo
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from core.expressions.sprig import layouts, moments
from core.expressions.sprig.conversion import read_decimal
from core.expressions.sprig.moments import Moment
from core.expressions.template import values
from core.expressions.template.functions import ANY, STRING, TIME, Context, FunctionTable
from core.expressions.template.values import Int, Int64, Value, ValueKind

FUNCTIONS: Final = FunctionTable()
CLOCKED: Final = frozenset(
    ("now", "ago", "date", "htmlDate", "dateInZone", "date_in_zone", "htmlDateInZone", "durationRound")
)
"""Functions that may use the clock, most of them only for arguments that are not a time."""

_INT64_END: Final = float(1 << 63)
_HTML_DATE: Final = "2006-01-02"
_TERM: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": moments.SECOND,
    "m": 60 * moments.SECOND,
    "h": 3_600 * moments.SECOND,
}
_MAX_SPAN_CHARACTERS: Final = 200
_ROUND_UNITS: Final = (
    ("y", 365 * 86_400 * moments.SECOND),
    ("mo", 30 * 86_400 * moments.SECOND),
    ("d", 86_400 * moments.SECOND),
    ("h", 3_600 * moments.SECOND),
    ("m", 60 * moments.SECOND),
    ("s", moments.SECOND),
)


@FUNCTIONS.add("now", with_context=True, deterministic=False)
def _now(context: Context) -> Moment:
    return Moment.of(context.now())


@FUNCTIONS.add("date", takes=(STRING, ANY), with_context=True)
def _date(context: Context, layout: str, value: Value) -> str:
    return layouts.format_layout(_instant(context, value), layout, context.meter, UTC)


@FUNCTIONS.add("htmlDate", takes=(ANY,), with_context=True)
def _html_date(context: Context, value: Value) -> str:
    return layouts.format_layout(_instant(context, value), _HTML_DATE, context.meter, UTC)


@FUNCTIONS.add("dateInZone", "date_in_zone", takes=(STRING, ANY, STRING), with_context=True)
def _date_in_zone(context: Context, layout: str, value: Value, zone: str) -> str:
    return layouts.format_layout(_instant(context, value), layout, context.meter, _zone(zone))


@FUNCTIONS.add("htmlDateInZone", takes=(ANY, STRING), with_context=True)
def _html_date_in_zone(context: Context, value: Value, zone: str) -> str:
    return layouts.format_layout(_instant(context, value), _HTML_DATE, context.meter, _zone(zone))


@FUNCTIONS.add("toDate", takes=(STRING, STRING), with_context=True)
def _to_date(context: Context, layout: str, text: str) -> Moment:
    try:
        return layouts.parse_layout(layout, text, context.meter)
    except ValueError:
        return moments.ZERO


@FUNCTIONS.add("mustToDate", takes=(STRING, STRING), with_context=True)
def _must_to_date(context: Context, layout: str, text: str) -> Moment:
    return layouts.parse_layout(layout, text, context.meter)


@FUNCTIONS.add("dateModify", "date_modify", takes=(STRING, TIME))
def _date_modify(span: str, at: Moment) -> Moment:
    try:
        return at.shifted(parse_span(span))
    except ValueError:
        return at


@FUNCTIONS.add("mustDateModify", "must_date_modify", takes=(STRING, TIME))
def _must_date_modify(span: str, at: Moment) -> Moment:
    return at.shifted(parse_span(span))


@FUNCTIONS.add("unixEpoch", takes=(TIME,))
def _unix_epoch(at: Moment) -> str:
    return str(at.seconds)


@FUNCTIONS.add("duration", takes=(ANY,))
def _duration(value: Value) -> str:
    seconds = read_decimal(value) if isinstance(value, str) else int(value) if isinstance(value, Int64) else 0
    return moments.span_text(values.wrap64(seconds * moments.SECOND))


@FUNCTIONS.add("durationRound", takes=(ANY,), with_context=True)
def _duration_round(context: Context, value: Value) -> str:
    """The largest whole unit that the duration strictly exceeds; the sign is dropped."""
    span = abs(_span_of(context, value))
    return next((f"{span // size}{unit}" for unit, size in _ROUND_UNITS if span > size), "0s")


@FUNCTIONS.add("ago", takes=(ANY,), with_context=True, deterministic=False)
def _ago(context: Context, value: Value) -> str:
    span = _since(context, _instant(context, value))
    return moments.span_text(round(span / moments.SECOND) * moments.SECOND)


def parse_span(text: str) -> int:
    """Nanoseconds of a Go duration such as ``-1h30m``.

    Raises:
        ValueError: not a duration.
    """
    body = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if body == "0":
        return 0
    total, position = Fraction(0), 0
    while len(body) <= _MAX_SPAN_CHARACTERS and (term := _TERM.match(body, position)):
        total += Fraction(term[1]) * _UNITS[term[2]]
        position = term.end()
    if not body or position != len(body) or total >= 1 << 63:
        raise ValueError("the string is not a duration; write for example 30s, 5m or 1h30m")
    return -int(total) if text.startswith("-") else int(total)


def _instant(context: Context, value: Value) -> Moment:
    if isinstance(value, Moment):
        return value
    if type(value) in (Int, Int64):
        return Moment(int(value))
    if values.kind_of(value) is ValueKind.FLOAT:
        number = values.as_float(value)
        if number.is_integer() and abs(number) < _INT64_END:
            return Moment(int(number))
    return Moment.of(context.now())


def _zone(name: str) -> tzinfo:
    if name in ("", "UTC", "Local"):
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return UTC


def _span_of(context: Context, value: Value) -> int:
    if isinstance(value, str):
        try:
            return parse_span(value)
        except ValueError:
            return 0
    if isinstance(value, Int64):
        return int(value)
    return _since(context, value) if isinstance(value, Moment) else 0


def _since(context: Context, moment: Moment) -> int:
    return Moment.of(context.now()).nanoseconds - moment.nanoseconds
