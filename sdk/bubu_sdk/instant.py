"""Durations and instants in the formats of Kubernetes and Go (``1m30s``, ``2025-01-02T03:04:05Z``).

Source: SDK contract 10, 13.1. The resolution is one microsecond; nanosecond digits are dropped.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(text: str) -> timedelta:
    """The duration in ``text``.

    Raises:
        ValueError: ``text`` is not a Go duration.
    """
    body = text.strip()
    sign = -1 if body.startswith("-") else 1
    body = body.removeprefix("-") if sign < 0 else body.removeprefix("+")
    if body == "0":
        return timedelta()
    total, position = 0.0, 0
    while term := _TERM.match(body, position):
        total += float(term[1]) * _UNIT_SECONDS[term[2]]
        position = term.end()
    if not body or position != len(body):
        raise ValueError(f"{text!r} is not a duration; write for example 30s, 5m or 1h30m")
    try:
        return sign * timedelta(seconds=total)
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long for a duration") from error


def format_duration(duration: timedelta) -> str:
    """A duration in Go's format: ``0s``, ``850ms``, ``1.234s``, ``1m2.5s``, ``1h0m0s``."""
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
    seconds = f"{_decimal(rest, 1_000_000)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def parse_instant(text: str) -> datetime:
    """The instant in an RFC 3339 string, with time zone UTC.

    Raises:
        ValueError: the string is not RFC 3339, or has no offset.
    """
    instant = datetime.fromisoformat(text.strip())
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; RFC 3339 requires one, for example a trailing Z")
    return instant.astimezone(UTC)


def format_seconds(instant: datetime) -> str:
    """RFC 3339 in UTC, whole seconds: the ``metav1.Time`` of a status."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micros(instant: datetime) -> str:
    """RFC 3339 in UTC with six fractional digits: the ``metav1.MicroTime`` of a lease."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def utc_now() -> datetime:
    """The wall clock. Only this function of the SDK reads it."""
    return datetime.now(UTC)


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    digits = str(fraction).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
