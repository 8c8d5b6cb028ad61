"""Go durations (``1h30m``, ``500ms``): parse, print.

Source: StoryRun contract 2.1; the grammar is that of Go's ``time.ParseDuration``. Resolution is one microsecond;
nanosecond digits are rounded to it.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal, InvalidOperation

_UNITS_IN_MICROSECONDS: dict[str, Decimal] = {
    "ns": Decimal("0.001"),
    "us": Decimal(1),
    "µs": Decimal(1),
    "μs": Decimal(1),
    "ms": Decimal(1_000),
    "s": Decimal(1_000_000),
    "m": Decimal(60_000_000),
    "h": Decimal(3_600_000_000),
}
_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_MAX_MICROSECONDS = Decimal(2**63 - 1) / 1000


def parse_duration(text: str) -> timedelta:
    """The duration in ``text``; ``0`` needs no unit.

    Raises:
        ValueError: not a Go duration, or longer than about 292 years.
    """
    body = text.strip()
    sign = -1 if body.startswith("-") else 1
    body = body.removeprefix("-") if sign < 0 else body.removeprefix("+")
    if body == "0":
        return timedelta()
    total, position = Decimal(0), 0
    while position < len(body):
        term = _TERM.match(body, position)
        if term is None:
            break
        try:
            total += Decimal(term[1]) * _UNITS_IN_MICROSECONDS[term[2]]
        except InvalidOperation:
            break
        position = term.end()
    if not body or position != len(body):
        raise ValueError(f"{text!r} is not a duration; write for example 30s, 5m or 1h30m")
    if total > _MAX_MICROSECONDS:
        raise ValueError(f"{text!r} is longer than the longest duration (about 292 years)")
    return timedelta(microseconds=sign * int(total.to_integral_value()))


def parse_positive_duration(text: str) -> timedelta:
    """Like ``parse_duration``, and greater than zero.

    Raises:
        ValueError: not a Go duration, or not greater than zero.
    """
    duration = parse_duration(text)
    if duration <= timedelta():
        raise ValueError(f"{text!r} must be greater than zero")
    return duration


def format_duration(duration: timedelta) -> str:
    """The format of Go: ``0s``, ``850ms``, ``1m30s``, ``1h0m0s``, ``1.5s``."""
    microseconds = duration // timedelta(microseconds=1)
    sign, microseconds = ("-", -microseconds) if microseconds < 0 else ("", microseconds)
    if microseconds == 0:
        return "0s"
    if microseconds < 1_000:
        return f"{sign}{microseconds}µs"
    if microseconds < 1_000_000:
        return f"{sign}{_decimal(microseconds, 1_000)}ms"
    minutes, rest = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 1_000_000)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else f"{sign}{text}"


def short_duration(duration: timedelta) -> str:
    """``format_duration`` without units that are zero at the end, as people write it: ``30m``, ``24h``, ``1m30s``."""
    text = format_duration(duration)
    text = text.removesuffix("0s") if text.endswith("m0s") else text
    return text.removesuffix("0m") if text.endswith("h0m") else text


def format_seconds(duration: timedelta) -> str:
    """``format_duration`` after rounding to whole seconds, the format of ``status.duration``."""
    return format_duration(timedelta(seconds=round(duration.total_seconds())))


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    digits = str(fraction).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
