"""Durations and ages in few characters: ``4.1s``, ``1m12s``, ``3h05m``, ``2d4h``.

Kubernetes writes most instants in whole seconds; tenths are only shown if they were measured.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bubu_contract.instants import format_instant


def short_duration(duration: timedelta | None) -> str:
    """The duration as text; empty if there is none."""
    if duration is None:
        return ""
    seconds = duration.total_seconds()
    if not seconds:
        return "<1s"
    if seconds < 10:
        return f"{seconds:.1f}s" if duration.microseconds else f"{seconds:.0f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600}h"


def age(instant: datetime | None, now: datetime, *, iso: bool = False) -> str:
    """How long ago it was, in kubectl's form, or the instant itself."""
    if instant is None:
        return "<unknown>"
    if iso:
        return format_instant(instant)
    seconds = max(int((now - instant).total_seconds()), 0)
    if seconds < 120:
        return f"{seconds}s"
    if seconds < 7200:
        return f"{seconds // 60}m"
    if seconds < 172800:
        return f"{seconds // 3600}h"
    return f"{seconds // 86400}d"


def time_left(instant: datetime | None, now: datetime, *, iso: bool = False) -> str:
    """The time until then, or the instant itself; ``never`` if there is no instant."""
    if instant is None:
        return "never"
    if iso:
        return format_instant(instant)
    return f"in {short_duration(instant - now)}" if instant > now else "now"
