"""Go durations (``1h30m``, ``500ms``): parse, print.

Source: StoryRun contract 2.1, SDK contract 10; the grammar is that of Go's ``time.ParseDuration``. Resolution is one
microsecond; nanosecond digits are rounded to it.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_UNIT_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_TERM: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DIGITS: Final = 20
"""More digits of a number, before or behind its point, than any duration needs."""
_SCALE: Final = 10**_DIGITS
_LONGEST: Final = (2**63 - 1) * _SCALE


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
    total, position = 0, 0
    while term := _TERM.match(body, position):
        total += _scaled(term[1]) * _UNIT_NANOSECONDS[term[2]]
        position = term.end()
    if not body or position != len(body):
        raise ValueError(f"{text!r} is not a duration; write for example 30s, 5m or 1h30m")
    if total > _LONGEST:
        raise ValueError(f"{text!r} is longer than the longest duration (about 292 years)")
    return timedelta(microseconds=sign * _rounded(total, 1_000 * _SCALE))


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


def _scaled(number: str) -> int:
    """The number times ``_SCALE``; one that is too long for any duration is as long as it needs to be refused."""
    whole, _, fraction = number.partition(".")
    whole = whole.lstrip("0")
    if len(whole) > _DIGITS:
        return _SCALE**2
    return int(whole or "0") * _SCALE + int(fraction[:_DIGITS].ljust(_DIGITS, "0"))


def _rounded(value: int, unit: int) -> int:
    """``value`` in whole units; a half is rounded to the even one."""
    whole, rest = divmod(value, unit)
    return whole + (2 * rest > unit or (2 * rest == unit and whole % 2 == 1))


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    digits = str(fraction).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
