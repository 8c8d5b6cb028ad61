"""The configuration of a cron Impulse: its ``with``, and the schedules that follow from it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bubu_impulses.cron import timing
from bubu_impulses.cron.schedule import START_ROOTS, CatchUp, Concurrency, Schedule
from bubu_impulses.cron.timing import Timing
from bubu_impulses.filling import Filling
from bubu_sdk.text_template import TemplateDataError

DEFAULT_DEADLINE_SECONDS: Final = 3600
MIN_DEADLINE_SECONDS: Final = 10
MAX_DEADLINE_SECONDS: Final = 7 * 24 * 3600
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_MAX_NAME: Final = 63


class ConfigurationError(ValueError):
    """*user*: the configuration cannot be used; lists all problems, each with its path."""


@dataclass
class ScheduleConfig:
    """One entry of ``schedules``."""

    name: str
    cron: str = ""
    """Five fields; or ``every``."""
    every: timedelta | None = None
    """An interval, as a Go duration; or ``cron``."""
    time_zone: str = ""
    """IANA name; default: ``timeZone`` of the configuration."""
    jitter: timedelta = timedelta()
    """Every start is delayed by a part of it, always by the same part."""
    starting_deadline_seconds: int = DEFAULT_DEADLINE_SECONDS
    """How late a start may be."""
    concurrency_policy: Concurrency = Concurrency.ALLOW
    catch_up: CatchUp = CatchUp.LATEST
    story: str = ""
    """Default: the Story of the Impulse."""
    inputs: dict[str, Any] = field(default_factory=dict)
    """May contain ``{{ start.time }}``, ``start.localTime``, ``start.date`` and ``start.schedule``."""


@dataclass
class CronConfig:
    """The Impulse's ``with``."""

    schedules: list[ScheduleConfig]
    time_zone: str = "UTC"


def schedules(config: CronConfig, impulse: str) -> list[Schedule]:
    """The checked schedules.

    Raises:
        ConfigurationError: lists all problems.
    """
    problems: list[str] = []
    found = []
    names: set[str] = set()
    for index, entry in enumerate(config.schedules):
        path = f"schedules[{index}]"
        if entry.name in names:
            problems.append(f"{path}.name: {entry.name!r} is used twice")
        names.add(entry.name)
        schedule = _schedule(entry, config, impulse, path, problems)
        if schedule is not None:
            found.append(schedule)
    if not config.schedules:
        problems.append("schedules: must not be empty")
    if problems:
        raise ConfigurationError("; ".join(problems))
    return found


def _schedule(
    entry: ScheduleConfig, config: CronConfig, impulse: str, path: str, problems: list[str]
) -> Schedule | None:
    before = len(problems)
    if len(entry.name) > _MAX_NAME or not _NAME.fullmatch(entry.name):
        problems.append(f"{path}.name: {entry.name!r} must consist of a-z, 0-9 and '-', at most {_MAX_NAME} characters")
    if not MIN_DEADLINE_SECONDS <= entry.starting_deadline_seconds <= MAX_DEADLINE_SECONDS:
        problems.append(f"{path}.startingDeadlineSeconds: must be {MIN_DEADLINE_SECONDS} to {MAX_DEADLINE_SECONDS}")
    if entry.jitter < timedelta():
        problems.append(f"{path}.jitter: must not be negative")
    zone = _zone(entry.time_zone or config.time_zone, path, problems)
    when = None if zone is None else _timing(entry, zone, path, problems)
    inputs = _inputs(entry, path, problems)
    if zone is None or when is None or inputs is None or len(problems) > before:
        return None
    return Schedule(
        impulse=impulse,
        name=entry.name,
        timing=when,
        zone=zone,
        inputs=inputs,
        story=entry.story or None,
        jitter=entry.jitter,
        deadline=timedelta(seconds=entry.starting_deadline_seconds),
        concurrency=entry.concurrency_policy,
        catch_up=entry.catch_up,
    )


def _zone(name: str, path: str, problems: list[str]) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        problems.append(f"{path}.timeZone: {name!r} is not an IANA time zone such as Europe/Berlin")
        return None


def _timing(entry: ScheduleConfig, zone: ZoneInfo, path: str, problems: list[str]) -> Timing | None:
    if bool(entry.cron) == (entry.every is not None):
        problems.append(f"{path}: give either cron or every")
        return None
    try:
        return timing.cron(entry.cron, zone) if entry.every is None else timing.every(entry.every)
    except ValueError as error:
        problems.append(f"{path}.{'cron' if entry.every is None else 'every'}: {error}")
        return None


def _inputs(entry: ScheduleConfig, path: str, problems: list[str]) -> Filling | None:
    try:
        filling = Filling(entry.inputs, START_ROOTS, f"{path}.inputs")
        filling.fill({"start": {"schedule": "s", "time": "t", "localTime": "l", "date": "d"}})
    except TemplateDataError as error:
        problems.append(f"{path}.inputs: {error}")
        return None
    except ValueError as error:
        problems.append(str(error))
        return None
    return filling
