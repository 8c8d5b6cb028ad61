"""Durations on the command line: ``90s``, ``5m``, ``1h30m``."""

from __future__ import annotations

from datetime import timedelta

from bubu_contract.durations import parse_positive_duration
from cli.problem import UsageError


def duration_of(flag: str, text: str) -> timedelta | None:
    """The duration of a flag; None if the flag is not given.

    Raises:
        UsageError: not a positive duration.
    """
    if not text:
        return None
    try:
        return parse_positive_duration(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


def seconds_of(flag: str, text: str) -> float | None:
    """The result of ``duration_of``, in seconds."""
    duration = duration_of(flag, text)
    return None if duration is None else duration.total_seconds()
