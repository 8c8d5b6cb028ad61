"""The wall clock of a local cluster, and the two time formats of Kubernetes.

All other modules take ``now`` as an argument or a callable. Only the code that assembles a process calls this module.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], datetime]
"""A function that returns the current time, with timezone UTC."""


def utc_now() -> datetime:
    """The current time, with timezone UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the one place a local cluster reads the wall clock


def to_time(instant: datetime) -> str:
    """``metav1.Time``: whole seconds, e.g. ``2026-01-02T03:04:05Z``."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_micro_time(instant: datetime) -> str:
    """``metav1.MicroTime``: microseconds, e.g. ``2026-01-02T03:04:05.000006Z``."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
