from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cli.doctor.api_server import of_clock, of_version
from views.doctor.diagnosis import Health

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
QUICK = timedelta(milliseconds=8)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_a_server_of_a_supported_version_is_well() -> None:
    found = of_version({"gitVersion": "v1.34.1"}, QUICK)

    assert (found.health, found.text) == (Health.OK, "v1.34.1 answers within 8 ms")


def test_a_server_that_is_too_old_is_a_problem() -> None:
    assert of_version({"gitVersion": "v1.29.9+k3s1"}, QUICK).health is Health.PROBLEM


def test_a_slow_server_is_a_warning() -> None:
    assert of_version({"gitVersion": "v1.34.1"}, seconds(1.5)).health is Health.WARNING


@pytest.mark.parametrize(
    ("ahead", "health"),
    [(0, Health.OK), (1, Health.OK), (10, Health.WARNING), (-10, Health.WARNING), (60, Health.PROBLEM)],
)
def test_the_clocks_are_compared(ahead: float, health: Health) -> None:
    date = (NOON + seconds(ahead)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    found = of_clock(date, NOON, NOON + QUICK)

    assert found is not None
    assert found.health is health


def test_the_time_that_an_answer_took_is_no_difference_of_clocks() -> None:
    found = of_clock("Tue, 24 Nov 2026 12:00:02 GMT", NOON, NOON + seconds(5))

    assert found is not None
    assert found.health is Health.OK


def test_without_a_date_nothing_is_said_about_clocks() -> None:
    assert of_clock(None, NOON, NOON) is None
