"""When schedules are due, on ordinary days and on days with 23 and 25 hours. (cron/timing.py)"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bubu_impulses.cron import timing

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = "2026-03-28T23:00:00+00:00"
"""Midnight in Berlin before the day on which 02:00 becomes 03:00."""
AUTUMN = "2026-10-24T22:00:00+00:00"
"""Midnight in Berlin before the day on which 03:00 becomes 02:00."""


def instants(expression: str, after: str, count: int) -> list[str]:
    """Local time and offset of the next instants."""
    found = timing.cron(expression, BERLIN).after(datetime.fromisoformat(after))
    return [one.astimezone(BERLIN).strftime("%d %H:%M %z") for one in islice(found, count)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["29 03:00 +0200", "30 02:30 +0200"]),
        ("0,30 2 * * *", ["29 03:00 +0200", "30 02:00 +0200", "30 02:30 +0200"]),
        ("15 1-3 * * *", ["29 01:15 +0100", "29 03:00 +0200", "29 03:15 +0200", "30 01:15 +0200"]),
        ("*/30 2 * * *", ["30 02:00 +0200", "30 02:30 +0200"]),
        ("0 * * * *", ["29 01:00 +0100", "29 03:00 +0200", "29 04:00 +0200"]),
    ],
)
def test_on_the_day_with_23_hours(expression: str, expected: list[str]) -> None:
    assert instants(expression, SPRING, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["25 02:30 +0200", "26 02:30 +0100"]),
        ("0,30 2 * * *", ["25 02:00 +0200", "25 02:30 +0200", "26 02:00 +0100"]),
        ("*/30 2 * * *", ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100", "26 02:00 +0100"]),
        ("0 */1 * * *", ["25 01:00 +0200", "25 02:00 +0200", "25 02:00 +0100", "25 03:00 +0100"]),
    ],
)
def test_on_the_day_with_25_hours(expression: str, expected: list[str]) -> None:
    assert instants(expression, AUTUMN, len(expected)) == expected


@pytest.mark.parametrize("asked_at", ["2026-10-25T00:45:00+00:00", "2026-10-25T01:10:00+00:00"])
def test_a_fixed_time_is_not_due_again_in_the_repeated_hour(asked_at: str) -> None:
    assert instants("30 2 * * *", asked_at, 1) == ["26 02:30 +0100"]


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["30 2 * * *", "*/20 1-4 * * *", "0 3 * * SUN", "5,55 0-5 * * *", "* * * * *"]),
    st.sampled_from([SPRING, AUTUMN]),
    st.integers(0, 30 * 3600),
)
def test_the_next_instant_is_always_later_and_the_same_whenever_it_is_asked_for(
    expression: str, night: str, seconds: int
) -> None:
    asked_at = datetime.fromisoformat(night) + timedelta(seconds=seconds)
    schedule = timing.cron(expression, BERLIN)

    found = list(islice(schedule.after(asked_at), 8))

    assert all(earlier < later for earlier, later in pairwise([asked_at, *found]))
    for earlier, later in pairwise(found):
        assert next(schedule.after(earlier)) == later


def test_an_interval_knows_no_time_zone_and_no_start() -> None:
    night = datetime.fromisoformat(AUTUMN)
    schedule = timing.every(timedelta(minutes=90))

    found = list(islice(schedule.after(night), 3))

    assert [one.strftime("%H:%M") for one in found] == ["22:30", "00:00", "01:30"]
    assert next(schedule.after(found[0])) == found[1]
    assert next(timing.every(timedelta(seconds=7)).after(datetime(1969, 12, 31, tzinfo=UTC))).year == 1969


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "* * * * * *", "60 * * * *", "0 0 30 2 *", "@daily", "0 0 * * FUNDAY"]
)
def test_what_is_no_expression_with_five_fields_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"five fields|not a cron expression"):
        timing.cron(expression, BERLIN)


@pytest.mark.parametrize("interval", [timedelta(0), timedelta(seconds=-1), timedelta(milliseconds=1500)])
def test_an_interval_has_whole_seconds(interval: timedelta) -> None:
    with pytest.raises(ValueError, match="whole number of seconds"):
        timing.every(interval)
