"""Keys, jitter, inputs, and which due starts are made. (cron/schedule.py, cron/config.py)"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bubu_impulses.cron import config
from bubu_impulses.cron.config import ConfigurationError, CronConfig
from bubu_impulses.cron.schedule import MAX_MISSED, Schedule
from bubu_sdk import decode

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def schedule(**options: Any) -> Schedule:
    given = {"name": "hourly", "cron": "0 * * * *"} | options
    decoded: CronConfig = decode.decode({"schedules": [given]}, CronConfig, "config")
    (found,) = config.schedules(decoded, "cron")
    return found


def hours(*numbers: int) -> list[datetime]:
    return [NOON.replace(hour=number) for number in numbers]


def test_a_start_is_named_by_impulse_schedule_and_instant() -> None:
    found = schedule(inputs={"at": "{{ start.time }}", "n": 1}, timeZone="Europe/Berlin", story="report")

    start = found.start(NOON)

    assert start.key == "cron/hourly@2026-01-31T12:00:00Z"
    assert found.instant_of(start.key) == NOON
    assert (start.inputs, start.story) == ({"at": "2026-01-31T12:00:00Z", "n": 1}, "report")


@pytest.mark.parametrize("key", ["", "cron/nightly@2026-01-31T12:00:00Z", "cron/hourly@noon", "order-42"])
def test_keys_of_others_have_no_instant(key: str) -> None:
    assert schedule().instant_of(key) is None


def test_a_key_fits_whatever_the_impulse_is_called() -> None:
    decoded: CronConfig = decode.decode({"schedules": [{"name": "s" * 63, "every": "1h"}]}, CronConfig, "config")
    (found,) = config.schedules(decoded, "i" * 253)

    assert len(found.key(NOON)) <= 256
    assert found.instant_of(found.key(NOON)) == NOON


def test_inputs_know_the_local_time_of_their_start() -> None:
    found = schedule(
        timeZone="Asia/Tokyo",
        inputs={"day": "{{ start.date }}", "text": "{{ start.schedule }} at {{ start.localTime }}", "list": ["x"]},
    )

    assert found.start(datetime(2026, 1, 31, 16, tzinfo=UTC)).inputs == {
        "day": "2026-02-01",
        "text": "hourly at 2026-02-01T01:00:00+09:00",
        "list": ["x"],
    }


def test_jitter_delays_every_start_by_its_own_share_and_always_by_the_same() -> None:
    found = schedule(jitter="10m")

    delays = [found.due_at(one) - one for one in hours(*range(24))]

    assert delays == [found.due_at(one) - one for one in hours(*range(24))]
    assert all(timedelta() <= delay < timedelta(minutes=10) for delay in delays)
    assert len(set(delays)) == 24
    assert schedule().due_at(NOON) == NOON


def test_a_start_that_waits_for_its_jitter_keeps_back_the_next_ones() -> None:
    found = schedule(cron="* * * * *", jitter="30m")
    after = NOON - timedelta(minutes=10)

    due = found.due(after, NOON)

    assert due == found.newest(after, NOON)[: len(due)]
    assert all(found.due_at(one) <= NOON for one in due)
    following = found.next_after(due[-1] if due else after)
    assert following is not None
    assert found.due_at(following) > NOON


@pytest.mark.parametrize(
    ("catch_up", "late", "made"),
    [
        ("all", timedelta(), [10, 11, 12]),
        ("latest", timedelta(), [12]),
        ("skip", timedelta(), [12]),
        ("all", timedelta(minutes=30), [10, 11, 12]),
        ("latest", timedelta(minutes=30), [12]),
        ("skip", timedelta(seconds=10), [12]),
        ("skip", timedelta(seconds=11), []),
        ("all", timedelta(minutes=61), [11, 12]),
        ("latest", timedelta(hours=4), []),
    ],
)
def test_missed_starts_are_made_as_the_policy_says_and_only_within_the_deadline(
    catch_up: str, late: timedelta, made: list[int]
) -> None:
    found = schedule(catchUp=catch_up, startingDeadlineSeconds=3 * 3600)

    plan = found.plan(hours(10, 11, 12), NOON + late)

    assert list(plan.starts) == hours(*made)
    assert plan.dropped == 3 - len(made)


def test_of_very_many_missed_starts_the_newest_are_considered() -> None:
    newest = schedule(cron="* * * * *").newest(NOON - timedelta(hours=5), NOON)

    assert len(newest) == MAX_MISSED
    assert newest[-1] == NOON


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"schedules": []}, "schedules: must not be empty"),
        ({"schedules": [{"name": "A b", "every": "1h"}]}, r"schedules\[0\].name"),
        ({"schedules": [{"name": "a" * 64, "every": "1h"}]}, r"schedules\[0\].name"),
        ({"schedules": [{"name": "a", "every": "1h"}, {"name": "a", "every": "2h"}]}, r"\[1\].name: 'a' is used twice"),
        ({"schedules": [{"name": "a"}]}, "either cron or every"),
        ({"schedules": [{"name": "a", "cron": "0 * * * *", "every": "1h"}]}, "either cron or every"),
        ({"schedules": [{"name": "a", "cron": "0 25 * * *"}]}, r"schedules\[0\].cron"),
        ({"schedules": [{"name": "a", "every": "10ms"}]}, r"schedules\[0\].every"),
        ({"schedules": [{"name": "a", "every": "1h", "timeZone": "Mars/Base"}]}, "Mars/Base"),
        ({"schedules": [{"name": "a", "every": "1h"}], "timeZone": "../x"}, "timeZone"),
        ({"schedules": [{"name": "a", "every": "1h", "jitter": "-1s"}]}, "jitter"),
        ({"schedules": [{"name": "a", "every": "1h", "startingDeadlineSeconds": 9}]}, "10 to 604800"),
        ({"schedules": [{"name": "a", "every": "1h", "inputs": {"x": {"y": "{{ now }}"}}}]}, r"inputs.x.y"),
        ({"schedules": [{"name": "a", "every": "1h", "inputs": {"x": "{{ start.moment }}"}}]}, "start.moment"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_path(given: dict[str, Any], named: str) -> None:
    decoded: CronConfig = decode.decode(given, CronConfig, "config")

    with pytest.raises(ConfigurationError, match=named):
        config.schedules(decoded, "cron")


def test_all_problems_are_reported_at_once() -> None:
    given = {"schedules": [{"name": "A", "cron": "x"}, {"name": "b", "timeZone": "Mars"}]}
    decoded: CronConfig = decode.decode(given, CronConfig, "config")

    with pytest.raises(ConfigurationError) as refused:
        config.schedules(decoded, "cron")

    assert [part.partition(":")[0] for part in str(refused.value).split("; ")] == [
        "schedules[0].name",
        "schedules[0].cron",
        "schedules[1].timeZone",
    ]
