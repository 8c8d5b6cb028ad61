"""The loop of a cron Impulse over virtual time: restarts, replicas, outages, concurrency, both odd days.

(cron/listener.py, cron/ports.py)
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bubu_impulses.cron import __main__ as program
from bubu_impulses.cron import config
from bubu_impulses.cron.config import CronConfig
from bubu_impulses.cron.listener import listen
from bubu_impulses.cron.ports import ContextStarter, SystemWallClock
from bubu_impulses.cron.schedule import Schedule, Start
from bubu_sdk import (
    AsyncImpulseContext,
    Outcome,
    TriggerConflictError,
    TriggerDecision,
    TriggerPendingError,
    TriggerRejectedError,
    TriggerUnavailableError,
    decode,
    impulse,
)
from bubu_sdk.testing import ImpulseEnvironment

LOG = logging.getLogger("test-cron")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class VirtualWallClock:
    """A wall clock that follows Trio's virtual time."""

    def __init__(self, begins: datetime) -> None:
        self._begins = begins
        self._since = trio.current_time()

    def now(self) -> datetime:
        return self._begins + timedelta(seconds=trio.current_time() - self._since)

    async def sleep_until(self, when: datetime) -> None:
        await trio.sleep(max(0.0, (when - self.now()).total_seconds()))


class InMemoryStarts:
    """A cluster that remembers StoryTriggers by key; a run is active for ``lasts``."""

    def __init__(self, clock: VirtualWallClock, lasts: timedelta = timedelta()) -> None:
        self.clock = clock
        self.lasts = lasts
        self.created: datetime | None = None
        self.made: dict[str, datetime] = {}
        """Key → when it was submitted first."""
        self.submissions = 0
        self.stopped: list[str] = []
        self.ended: set[str] = set()
        self.before: Callable[[Start], None] = lambda _: None

    async def submit(self, start: Start) -> TriggerDecision:
        await trio.lowlevel.checkpoint()
        self.submissions += 1
        self.before(start)
        outcome = Outcome.REUSED if start.key in self.made else Outcome.CREATED
        self.made.setdefault(start.key, self.clock.now())
        return TriggerDecision(start.key, "default", outcome, f"run-{start.key}")

    async def was_submitted(self, start: Start) -> bool:
        await trio.lowlevel.checkpoint()
        return start.key in self.made

    async def created_at(self) -> datetime | None:
        await trio.lowlevel.checkpoint()
        return self.created

    async def active_instants(self, schedule: Schedule) -> list[datetime]:
        await trio.lowlevel.checkpoint()
        found = (schedule.instant_of(key) for key in self.made if self._is_active(key))
        return [one for one in found if one is not None]

    async def is_active(self, start: Start) -> bool:
        await trio.lowlevel.checkpoint()
        return self._is_active(start.key)

    async def stop(self, start: Start) -> None:
        await trio.lowlevel.checkpoint()
        self.stopped.append(start.key)
        self.ended.add(start.key)

    def _is_active(self, key: str) -> bool:
        return key in self.made and key not in self.ended and self.clock.now() < self.made[key] + self.lasts


def schedules(*given: dict[str, Any]) -> list[Schedule]:
    decoded: CronConfig = decode.decode({"schedules": list(given)}, CronConfig, "config")
    return config.schedules(decoded, "cron")


MINUTELY: dict[str, Any] = {"name": "m", "cron": "* * * * *"}


def times(starts: InMemoryStarts) -> list[str]:
    """The instants of the starts that were made, in order of their making."""
    return [key.partition("@")[2][11:16] for key in starts.made]


@asynccontextmanager
async def listening(starts: InMemoryStarts, *given: dict[str, Any]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, schedules(*given), starts, starts.clock, LOG)
        yield
        nursery.cancel_scope.cancel()


async def test_every_start_is_made_once_and_at_its_time(autojump_clock: MockClock) -> None:
    starts = InMemoryStarts(VirtualWallClock(NOON + timedelta(seconds=30)))
    starts.created = NOON

    async with listening(starts, MINUTELY, {"name": "q", "every": "2m"}):
        await trio.sleep(4 * 60)

    assert {key: when.strftime("%H:%M:%S") for key, when in starts.made.items()} == {
        "cron/m@2026-01-31T12:01:00Z": "12:01:00",
        "cron/m@2026-01-31T12:02:00Z": "12:02:00",
        "cron/q@2026-01-31T12:02:00Z": "12:02:00",
        "cron/m@2026-01-31T12:03:00Z": "12:03:00",
        "cron/m@2026-01-31T12:04:00Z": "12:04:00",
        "cron/q@2026-01-31T12:04:00Z": "12:04:00",
    }
    assert starts.submissions == 6


@pytest.mark.parametrize(
    ("day", "expression", "expected"),
    [
        (datetime(2026, 3, 28, 23, tzinfo=UTC), "30 2 * * *", ["01:00"]),
        (datetime(2026, 3, 28, 23, tzinfo=UTC), "0 * * * *", [f"{hour % 24:02}:00" for hour in range(24, 46)]),
        (datetime(2026, 10, 24, 22, tzinfo=UTC), "30 2 * * *", ["00:30"]),
        (datetime(2026, 10, 24, 22, tzinfo=UTC), "30 * * * *", [f"{hour % 24:02}:30" for hour in range(22, 47)]),
    ],
    ids=["23 hours, fixed", "23 hours, hourly", "25 hours, fixed", "25 hours, hourly"],
)
async def test_on_both_odd_days_no_start_is_lost_or_doubled(
    autojump_clock: MockClock, day: datetime, expression: str, expected: list[str]
) -> None:
    """With two restarts in the night, within the hour that is skipped or repeated."""
    starts = InMemoryStarts(VirtualWallClock(day + timedelta(minutes=1)))
    starts.created = day
    given = {"name": "n", "cron": expression, "timeZone": "Europe/Berlin"}
    hours = 23 if day.month == 3 else 25

    for part in (2 * 3600 + 600, 4200, hours * 3600 - (2 * 3600 + 600 + 4200) - 90):
        async with listening(starts, given):
            await trio.sleep(part)

    assert times(starts) == expected
    assert starts.submissions == len(expected)


async def test_a_restart_across_the_minute_loses_and_doubles_nothing(autojump_clock: MockClock) -> None:
    starts = InMemoryStarts(VirtualWallClock(NOON))
    starts.created = NOON
    async with listening(starts, MINUTELY):
        await trio.sleep(2 * 60 + 55)  # ends at 12:02:55
    await trio.sleep(10)

    async with listening(starts, MINUTELY):
        await trio.sleep(60)

    assert times(starts) == ["12:01", "12:02", "12:03", "12:04"]
    assert starts.made["cron/m@2026-01-31T12:03:00Z"] == NOON + timedelta(minutes=3, seconds=5)
    assert starts.submissions == 4


async def test_a_second_replica_doubles_nothing(autojump_clock: MockClock) -> None:
    starts = InMemoryStarts(VirtualWallClock(NOON + timedelta(seconds=1)))
    starts.created = NOON

    async with listening(starts, MINUTELY), listening(starts, MINUTELY):
        await trio.sleep(3 * 60)

    assert times(starts) == ["12:01", "12:02", "12:03"]


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        ("all", ["12:01", "12:02", "12:03", "12:04", "12:05", "12:06"]),
        ("latest", ["12:01", "12:05", "12:06"]),
        ("skip", ["12:01", "12:06"]),
    ],
)
async def test_after_an_outage_missed_starts_are_made_as_the_policy_says(
    autojump_clock: MockClock, catch_up: str, expected: list[str]
) -> None:
    given = {**MINUTELY, "catchUp": catch_up}
    starts = InMemoryStarts(VirtualWallClock(NOON + timedelta(seconds=1)))
    starts.created = NOON
    async with listening(starts, given):
        await trio.sleep(65)
    await trio.sleep(4 * 60 + 10)  # until 12:05:16

    async with listening(starts, given):
        await trio.sleep(60)

    assert times(starts) == expected


async def test_a_new_impulse_makes_no_start_of_the_time_before_it(autojump_clock: MockClock) -> None:
    starts = InMemoryStarts(VirtualWallClock(NOON + timedelta(minutes=2, seconds=30)))
    starts.created = NOON + timedelta(minutes=2, seconds=10)

    async with listening(starts, {**MINUTELY, "catchUp": "all"}):
        await trio.sleep(40)

    assert times(starts) == ["12:03"]


async def test_a_schedule_whose_storytriggers_are_gone_looks_back_five_minutes(autojump_clock: MockClock) -> None:
    starts = InMemoryStarts(VirtualWallClock(NOON + timedelta(minutes=30, seconds=30)))
    starts.created = NOON - timedelta(days=300)

    async with listening(starts, {**MINUTELY, "catchUp": "all"}, {"name": "d", "cron": "0 12 * * *"}):
        await trio.sleep(1)

    assert times(starts) == ["12:26", "12:27", "12:28", "12:29", "12:30"]


async def test_after_a_very_long_outage_the_newest_hundred_starts_are_made(autojump_clock: MockClock) -> None:
    starts = InMemoryStarts(VirtualWallClock(NOON + timedelta(seconds=30)))
    starts.created = NOON - timedelta(days=300)
    for minute in range(300, 180, -1):
        before = NOON - timedelta(minutes=minute)
        starts.made[f"cron/m@{before:%Y-%m-%dT%H:%M:%SZ}"] = before
    known = len(starts.made)

    async with listening(starts, {**MINUTELY, "catchUp": "all", "startingDeadlineSeconds": 24 * 3600}):
        await trio.sleep(1)

    made = times(starts)[known:]
    assert (len(made), made[0], made[-1]) == (100, "10:21", "12:00")


async def test_a_start_that_is_older_than_its_deadline_is_dropped(autojump_clock: MockClock) -> None:
    starts = InMemoryStarts(VirtualWallClock(NOON))
    starts.created = NOON - timedelta(days=1)
    starts.made["cron/h@2026-01-31T10:00:00Z"] = NOON
    given = {"name": "h", "cron": "0 * * * *", "catchUp": "all"}

    starts.clock = VirtualWallClock(NOON + timedelta(minutes=20))
    async with listening(starts, {**given, "startingDeadlineSeconds": 600}):
        await trio.sleep(1)
    assert times(starts) == ["10:00"]

    async with listening(starts, {**given, "startingDeadlineSeconds": 4 * 3600}):
        await trio.sleep(1)
    assert times(starts) == ["10:00", "11:00", "12:00"]


async def test_while_the_api_server_is_away_a_start_is_repeated_until_its_deadline(autojump_clock: MockClock) -> None:
    starts = InMemoryStarts(VirtualWallClock(NOON + timedelta(seconds=1)))
    starts.created = NOON
    away = [NOON, NOON + timedelta(minutes=12)]

    def refuse(start: Start) -> None:
        if away[0] <= starts.clock.now() < away[1]:
            raise TriggerUnavailableError("no answer")

    starts.before = refuse
    async with listening(
        starts, {"name": "f", "cron": "*/5 * * * *", "startingDeadlineSeconds": 240, "catchUp": "all"}
    ):
        await trio.sleep(16 * 60)

    assert times(starts) == ["12:10", "12:15"]
    assert starts.made["cron/f@2026-01-31T12:10:00Z"] - away[1] < timedelta(seconds=31)


@pytest.mark.parametrize(
    "error",
    [
        TriggerRejectedError("no such Story", trigger="t", reason="StoryNotFound"),
        TriggerConflictError("other inputs", trigger="t"),
        TriggerPendingError("still pending", trigger="t"),
    ],
)
async def test_a_start_that_ends_in_another_way_is_not_repeated(autojump_clock: MockClock, error: Exception) -> None:
    starts = InMemoryStarts(VirtualWallClock(NOON + timedelta(seconds=1)))
    starts.created = NOON

    def fail_once(start: Start) -> None:
        if starts.submissions == 1:
            raise error

    starts.before = fail_once
    async with listening(starts, MINUTELY):
        await trio.sleep(2 * 60)

    assert times(starts) == ["12:02"]
    assert starts.submissions == 2


@pytest.mark.parametrize(
    ("policy", "made", "stopped"),
    [
        ("Allow", ["12:01", "12:02", "12:03", "12:04", "12:05", "12:06"], 0),
        ("Forbid", ["12:01", "12:04"], 0),
        ("Replace", ["12:01", "12:02", "12:03", "12:04", "12:05", "12:06"], 5),
    ],
)
async def test_an_active_run_of_an_earlier_start_is_left_respected_or_replaced(
    autojump_clock: MockClock, policy: str, made: list[str], stopped: int
) -> None:
    starts = InMemoryStarts(VirtualWallClock(NOON + timedelta(seconds=1)), lasts=timedelta(minutes=2, seconds=30))
    starts.created = NOON

    async with listening(starts, {**MINUTELY, "concurrencyPolicy": policy}):
        await trio.sleep(6 * 60)

    assert times(starts) == made
    assert len(starts.stopped) == stopped


async def test_after_a_restart_and_beside_a_replica_an_active_run_is_still_respected(autojump_clock: MockClock) -> None:
    given = {**MINUTELY, "concurrencyPolicy": "Forbid"}
    starts = InMemoryStarts(VirtualWallClock(NOON + timedelta(seconds=1)), lasts=timedelta(minutes=5, seconds=30))
    starts.created = NOON
    async with listening(starts, given):
        await trio.sleep(2 * 60)

    async with listening(starts, given), listening(starts, given):
        await trio.sleep(10 * 60)

    assert times(starts) == ["12:01", "12:07"]


async def test_a_failure_to_look_back_is_repeated(autojump_clock: MockClock) -> None:
    starts = InMemoryStarts(VirtualWallClock(NOON + timedelta(seconds=1)))
    calls = 0

    class Flaky(InMemoryStarts):
        async def created_at(self) -> datetime | None:
            nonlocal calls
            calls += 1
            if calls < 3:
                raise TriggerUnavailableError("no answer")
            return await super().created_at()

    starts = Flaky(starts.clock)
    starts.created = NOON
    async with listening(starts, MINUTELY):
        await trio.sleep(60)

    assert (calls, times(starts)) == (3, ["12:01"])


async def test_a_schedule_without_a_further_start_ends_and_the_others_go_on(autojump_clock: MockClock) -> None:
    starts = InMemoryStarts(VirtualWallClock(NOON + timedelta(seconds=1)))
    starts.created = NOON

    async with listening(starts, MINUTELY, {"name": "never", "cron": "0 0 29 2 MON#5"}):
        await trio.sleep(60)

    assert times(starts) == ["12:01"]


async def test_the_system_clock_looks_again_after_a_minute(autojump_clock: MockClock) -> None:
    del autojump_clock
    clock = SystemWallClock()

    await clock.sleep_until(clock.now() - timedelta(seconds=1))

    assert clock.now().tzinfo is UTC


# With the SDK.


def test_the_program_starts_a_story_and_a_restart_does_not_start_it_again() -> None:
    given = {"schedules": [{"name": "s", "every": "1s", "inputs": {"at": "{{ start.time }}"}}]}
    environment = ImpulseEnvironment(config=given)

    first = environment.run(program.main, until=lambda: len(environment.story_runs) == 1)
    second = environment.run(program.main, until=lambda: len(environment.story_runs) == 2)

    assert (first.exit_code, second.exit_code) == (0, 0)
    keys = [trigger["spec"]["deliveryIdentity"]["key"] for trigger in environment.triggers]
    assert len(set(keys)) == len(keys)
    assert [f"impulse/s@{trigger['spec']['inputs']['at']}" for trigger in environment.triggers] == keys


def test_a_wrong_configuration_ends_the_program_with_all_problems() -> None:
    outcome = ImpulseEnvironment(config={"schedules": [{"name": "a", "cron": "x"}]}).run(program.main)

    assert outcome.exit_code == 1
    assert any("schedules[0].cron" in line["msg"] for line in outcome.logs)


def test_runs_are_found_and_stopped_through_the_context() -> None:
    environment = ImpulseEnvironment(story="report", story_namespace="shop")
    (schedule,) = schedules(MINUTELY)
    schedule = config.schedules(decode.decode({"schedules": [MINUTELY]}, CronConfig, "config"), "impulse")[0]
    start = schedule.start(NOON)
    seen: list[Any] = []

    @impulse(backend="trio")
    async def main(ctx: AsyncImpulseContext) -> None:
        cluster = ContextStarter(ctx)
        seen.append(await cluster.was_submitted(start))
        environment.operator.holds = True
        with pytest.raises(TriggerPendingError):
            await cluster.submit(start)
        seen.append(await cluster.is_active(start))
        environment.operator.decide_pending()
        seen.append((await cluster.submit(start)).outcome)
        seen.append([await cluster.was_submitted(start), await cluster.is_active(start)])
        seen.append(await cluster.active_instants(schedule))
        await cluster.stop(start)
        environment.end_story_run(environment.story_runs[0]["metadata"]["name"], "Canceled")
        seen.append([await cluster.is_active(start), await cluster.active_instants(schedule)])
        seen.append(await cluster.created_at())

    outcome = environment.run(main)

    assert outcome.exit_code == 0, outcome.logs
    created = datetime(2025, 1, 1, tzinfo=UTC)
    assert seen == [False, True, Outcome.CREATED, [True, True], [NOON], [False, []], created]
    assert environment.story_runs[0]["spec"]["cancelRequested"] is True
