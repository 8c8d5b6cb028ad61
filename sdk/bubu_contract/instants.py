"""Instants in wire form: RFC 3339 in UTC, parsed to aware datetimes. Nothing here reads a clock.

Source: SDK contract 13.1. The resolution is one microsecond.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_OFFSET_LENGTH: Final = len("+00:00")


def format_instant(instant: datetime) -> str:
    """Whole seconds, the format of ``metav1.Time``: ``2026-01-02T03:04:05Z``."""
    return f"{_utc(instant).isoformat(timespec='seconds')[:-_OFFSET_LENGTH]}Z"


def format_precise_instant(instant: datetime) -> str:
    """Microseconds, the format of ``metav1.MicroTime``: ``2026-01-02T03:04:05.000000Z``."""
    return f"{_utc(instant).isoformat(timespec='microseconds')[:-_OFFSET_LENGTH]}Z"


def parse_instant(text: str) -> datetime:
    """The aware UTC instant in ``text``; digits beyond microseconds are dropped.

    Raises:
        ValueError: not RFC 3339, or without a time zone.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an instant; write for example 2026-01-02T03:04:05Z") from None
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; end it with Z")
    return instant.astimezone(UTC)


def parse_instant_or_none(text: object) -> datetime | None:
    """``parse_instant`` for stored fields that may be absent or damaged: None instead of an error."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return parse_instant(text)
    except ValueError:
        return None


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("instants are aware; got a naive datetime")
    return instant.astimezone(UTC)
