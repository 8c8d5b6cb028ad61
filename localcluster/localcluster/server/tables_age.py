"""Times as ages: ``3m4s``, ``5h``, ``2d3h``, in exactly the steps that kubectl shows.

Not here: which table shows which age (tables*.py). Source: apimachinery ``duration.HumanDuration``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

UNKNOWN = "<unknown>"
INVALID = "<invalid>"

_HOURS_PER_YEAR = 24 * 365


def age(timestamp: Any, now: datetime) -> str:
    """How long ago ``timestamp`` (RFC 3339) was; ``<unknown>`` when absent, ``<invalid>`` when it cannot be read."""
    if not timestamp:
        return UNKNOWN
    at = instant(timestamp)
    return INVALID if at is None else human_duration(now - at)


def instant(timestamp: Any) -> datetime | None:
    """An RFC 3339 string as a datetime with timezone; None for anything else."""
    if not isinstance(timestamp, str):
        return None
    try:
        parsed = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def human_duration(duration: timedelta) -> str:
    """A length of time in at most two units; the longer it is, the coarser they are."""
    seconds = int(duration.total_seconds())
    if seconds < -1:
        return INVALID
    if seconds < 0:
        return "0s"
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(hours // 24, "d", hours % 24, "h")
    if hours < _HOURS_PER_YEAR * 2:
        return f"{hours // 24}d"
    if hours < _HOURS_PER_YEAR * 8:
        return _two(hours // _HOURS_PER_YEAR, "y", hours // 24 % 365, "d")
    return f"{hours // _HOURS_PER_YEAR}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"
