from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_contract import instants

MOMENTS = st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds UTC


@given(MOMENTS)
def test_printing_precisely_and_parsing_gives_the_same_instant(moment: datetime) -> None:
    assert instants.parse_instant(instants.format_precise_instant(moment)) == moment


@given(MOMENTS)
def test_printing_drops_fractions_of_a_second(moment: datetime) -> None:
    assert instants.parse_instant(instants.format_instant(moment)) == moment.replace(microsecond=0)


def test_instants_of_other_zones_are_written_in_utc() -> None:
    moment = datetime(2026, 1, 2, 3, 0, tzinfo=timezone(timedelta(hours=2)))
    assert instants.format_instant(moment) == "2026-01-02T01:00:00Z"
    assert instants.parse_instant("2026-01-02T03:00:00+02:00") == moment


def test_digits_beyond_microseconds_are_dropped() -> None:
    assert instants.parse_instant("2026-01-02T03:04:05.123456789Z").microsecond == 123456


@pytest.mark.parametrize("text", ["today", "", "2026-13-01T00:00:00Z", "2026-01-02T25:00:00Z"])
def test_what_is_no_instant_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not an instant; write for example 2026-01-02T03:04:05Z"):
        instants.parse_instant(text)


def test_an_instant_without_zone_is_refused_in_both_directions() -> None:
    with pytest.raises(ValueError, match="has no time zone; end it with Z"):
        instants.parse_instant("2026-01-02T03:04:05")
    with pytest.raises(ValueError, match="naive"):
        instants.format_instant(datetime(2026, 1, 2))  # noqa: DTZ001 - the point of the test


@pytest.mark.parametrize("stored", [None, "", 5, "yesterday"])
def test_damaged_stored_instants_read_as_none(stored: object) -> None:
    assert instants.parse_instant_or_none(stored) is None
