"""Durations and instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bubu_sdk import instant


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m0s", 1800),
        ("1.5s", 1.5),
        ("500ms", 0.5),
        ("1h0m0s", 3600),
        ("0", 0),
        ("-2s", -2),
        (" 5s ", 5),
        (".5s", 0.5),
    ],
)
def test_go_durations_are_read(text: str, seconds: float) -> None:
    assert instant.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "5 s", "s", "1x", "1h-3m", "99999999999h"])
def test_other_texts_are_not_durations(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        instant.parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.234, "1.234s"),
        (62.5, "1m2.5s"),
        (0.85, "850ms"),
        (3600, "1h0m0s"),
        (0, "0s"),
        (0.000012, "12µs"),
        (-1.5, "-1.5s"),
    ],
)
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    assert instant.format_duration(timedelta(seconds=seconds)) == text


def test_nanoseconds_of_an_instant_are_dropped() -> None:
    assert instant.parse_instant("2025-01-02T03:04:05.123456789Z") == datetime(2025, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        instant.parse_instant("2025-01-02T03:04:05")


def test_instants_are_written_in_utc() -> None:
    moment = datetime.fromisoformat("2025-01-02T05:04:05.25+02:00")

    assert instant.format_seconds(moment) == "2025-01-02T03:04:05Z"
    assert instant.format_micros(moment) == "2025-01-02T03:04:05.250000Z"
