"""When a schedule is due: a cron expression in a time zone, or a fixed interval. Pure.

Days with 23 and 25 hours are handled as in Debian's cron. A start at a fixed time (neither minute nor hour begin with
``*``) that falls into the skipped hour happens at the end of that hour; several of them happen once. In the repeated
hour it happens the first time only. Starts with ``*`` follow the hours that pass: none in the skipped hour, and one in
each of the two repeated hours. An interval knows no time zone: it counts from 1970-01-01T00:00:00Z.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_FIELDS: Final = 5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


class Timing(Protocol):
    """The instants of a schedule."""

    def after(self, instant: datetime) -> Iterator[datetime]:
        """The instants after ``instant``, ascending, in UTC; it may end."""


@dataclass(frozen=True)
class CronTiming:
    """A cron expression with five fields, in a time zone."""

    expression: str
    zone: ZoneInfo

    def after(self, instant: datetime) -> Iterator[datetime]:
        last = instant.astimezone(UTC)
        for local in CronSim(self.expression, last.astimezone(self.zone)):
            found = local.astimezone(UTC)
            # In the repeated hour, the first occurrence of a fixed time may lie before the instant asked for.
            if found > last:
                last = found
                yield found


@dataclass(frozen=True)
class IntervalTiming:
    """A fixed interval, in whole seconds."""

    interval: timedelta

    def after(self, instant: datetime) -> Iterator[datetime]:
        count = (instant - _EPOCH) // self.interval
        while True:
            count += 1
            yield _EPOCH + count * self.interval


def cron(expression: str, zone: ZoneInfo) -> CronTiming:
    """The timing of an expression.

    Raises:
        ValueError: it is not a cron expression with five fields, or it names no day at all.
    """
    fields = expression.split()
    if len(fields) != _FIELDS:
        raise ValueError(f"{expression!r} must have five fields: minute, hour, day of month, month, day of week")
    try:
        CronSim(expression, _EPOCH)
    except CronSimError as error:
        raise ValueError(f"{expression!r} is not a cron expression: {error}") from error
    return CronTiming(" ".join(fields), zone)


def every(interval: timedelta) -> IntervalTiming:
    """The timing of an interval.

    Raises:
        ValueError: it is shorter than a second, or has fractions of a second.
    """
    if interval < _SECOND or interval % _SECOND:
        raise ValueError("an interval must be a whole number of seconds, at least 1s")
    return IntervalTiming(interval)
