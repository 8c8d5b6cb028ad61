"""One schedule: its instants, the key of each start, and which of the due starts are made. Pure.

A start is identified by Impulse, schedule and instant in UTC. So a restart, a second replica and a backfill submit the
same request, and the Story runs once.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import takewhile
from typing import Any, Final
from zoneinfo import ZoneInfo

from bubu_contract import instants
from bubu_contract.submission import MAX_KEY_CHARACTERS
from bubu_impulses.cron.timing import Timing
from bubu_impulses.filling import Filling

MAX_MISSED: Final = 100
"""Of the missed starts of one schedule, the newest ones that are considered."""
ON_TIME: Final = timedelta(seconds=10)
"""A start that is late by no more than this has not been missed."""
UNKNOWN_PAST: Final = timedelta(minutes=5)
"""How far a schedule looks back if none of its StoryTriggers is left. Long enough for a restart of the Pod; short,
because an operator may have removed the StoryTriggers of starts that were made, and because a schedule may be new.
"""
START_ROOTS: Final = ("start",)


class Concurrency(StrEnum):
    """What happens to a start while the run of an earlier start of the same schedule is active."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


class CatchUp(StrEnum):
    """Which missed starts are made later."""

    ALL = "all"
    LATEST = "latest"
    SKIP = "skip"


@dataclass(frozen=True)
class Start:
    """One start of one schedule."""

    schedule: str
    instant: datetime
    """In UTC, whole seconds."""
    key: str
    inputs: dict[str, Any]
    story: str | None = None
    """``None``: the Story of the Impulse."""


@dataclass(frozen=True)
class Plan:
    """What becomes of the due starts."""

    starts: tuple[datetime, ...]
    dropped: int
    """How many are not made."""


@dataclass(frozen=True)
class Schedule:
    """A checked schedule."""

    impulse: str
    """Name of the Impulse, for the keys."""
    name: str
    timing: Timing
    zone: ZoneInfo
    inputs: Filling
    story: str | None = None
    jitter: timedelta = timedelta()
    deadline: timedelta = timedelta(hours=1)
    """How late a start may be."""
    concurrency: Concurrency = Concurrency.ALLOW
    catch_up: CatchUp = CatchUp.LATEST
    key_prefix: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_prefix", _key_prefix(self.impulse, self.name))

    def next_after(self, instant: datetime) -> datetime | None:
        """The first instant after ``instant``; ``None`` if there is none."""
        return next(iter(self.timing.after(instant)), None)

    def newest(self, after: datetime, until: datetime) -> list[datetime]:
        """The instants after ``after``, up to and with ``until``; the newest ``MAX_MISSED``, ascending."""
        return list(deque(takewhile(lambda one: one <= until, self.timing.after(after)), maxlen=MAX_MISSED))

    def samples(self, before: datetime, after: datetime) -> Iterator[datetime]:
        """A few instants between ``after`` and ``before``, newest first; the distance between them doubles."""
        distance = timedelta(minutes=1)
        while before - distance > after:
            if (found := self.next_after(before - distance)) is not None and found < before:
                yield found
            distance *= 2
        if (oldest := self.next_after(after)) is not None and oldest < before:
            yield oldest

    def due(self, after: datetime, now: datetime) -> list[datetime]:
        """The instants after ``after`` whose starts can be made, ascending; the newest ``MAX_MISSED``.

        In order: a start that waits for its jitter also keeps back those behind it.
        """
        return list(takewhile(lambda one: self.due_at(one) <= now, self.newest(after, now)))

    def all_between(self, start: datetime, end: datetime, limit: int) -> list[datetime]:
        """The instants from ``start``, up to but without ``end``, ascending; at most ``limit`` + 1 of them."""
        found: list[datetime] = []
        for one in self.timing.after(start - timedelta(microseconds=1)):
            if one >= end or len(found) > limit:
                break
            found.append(one)
        return found

    def due_at(self, instant: datetime) -> datetime:
        """When the start of ``instant`` is made: with its share of the jitter, which is always the same."""
        if not self.jitter:
            return instant
        digest = hashlib.sha256(self.key(instant).encode()).digest()
        return instant + self.jitter * (int.from_bytes(digest[:8], "big") / 2**64)

    def key(self, instant: datetime) -> str:
        """The business key of a start: ``cron/nightly@2026-01-31T01:00:00Z``."""
        return f"{self.key_prefix}{instants.format_instant(instant)}"

    def instant_of(self, key: str) -> datetime | None:
        """The instant of a key of this schedule; ``None`` for other keys."""
        if not key.startswith(self.key_prefix):
            return None
        try:
            return instants.parse_instant(key.removeprefix(self.key_prefix))
        except ValueError:
            return None

    def start(self, instant: datetime) -> Start:
        """The start of ``instant``, with its inputs.

        Raises:
            TemplateDataError: a template in the inputs names a value that does not exist.
        """
        local = instant.astimezone(self.zone)
        values = {
            "schedule": self.name,
            "time": instants.format_instant(instant),
            "localTime": local.isoformat(),
            "date": local.date().isoformat(),
        }
        return Start(self.name, instant, self.key(instant), self.inputs.fill({"start": values}), self.story)

    def earliest(self, now: datetime) -> datetime:
        """Starts of this instant and before are too late at ``now``."""
        return now - self.deadline - self.jitter - timedelta(microseconds=1)

    def plan(self, due: Sequence[datetime], now: datetime) -> Plan:
        """Which of the due starts are made; ``due`` is ascending, and each has reached its ``due_at``."""
        timely = [one for one in due if now - self.due_at(one) <= self.deadline]
        if self.catch_up is CatchUp.LATEST:
            timely = timely[-1:]
        elif self.catch_up is CatchUp.SKIP:
            timely = [one for one in timely[-1:] if now - self.due_at(one) <= ON_TIME]
        return Plan(tuple(timely), len(due) - len(timely))


def _key_prefix(impulse: str, schedule: str) -> str:
    """Everything before the instant. A very long name of an Impulse is replaced by its hash."""
    ending = f"/{schedule}@"
    if len(impulse) + len(ending) + len("2026-01-31T01:00:00Z") > MAX_KEY_CHARACTERS:
        impulse = hashlib.sha256(impulse.encode()).hexdigest()
    return f"{impulse}{ending}"
