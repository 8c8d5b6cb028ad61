from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_contract.durations import (
    format_duration,
    format_seconds,
    parse_duration,
    parse_positive_duration,
    short_duration,
)

LONGEST = timedelta(microseconds=(2**63 - 1) // 1000)
durations = st.timedeltas(-LONGEST, LONGEST)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", timedelta()),
        ("0s", timedelta()),
        ("500ms", timedelta(milliseconds=500)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        (".5s", timedelta(milliseconds=500)),
        ("1.s", timedelta(seconds=1)),
        ("2h0.5m3s4ms5us", timedelta(hours=2, seconds=33, milliseconds=4, microseconds=5)),
        ("1m1m", timedelta(minutes=2)),
        ("-1m30s", timedelta(seconds=-90)),
        ("+3s", timedelta(seconds=3)),
        ("7µs", timedelta(microseconds=7)),
        ("7μs", timedelta(microseconds=7)),
        ("1500ns", timedelta(microseconds=2)),
        ("400ns", timedelta()),
        (" 5s ", timedelta(seconds=5)),
    ],
)
def test_go_durations_are_read(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "   ", "5", "s", "5 s", "1d", "1h 30m", "--1s", "1e3s", ".s", "5sx", "٣s"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write for example 30s, 5m or 1h30m"):
        parse_duration(text)


def test_durations_beyond_gos_range_are_refused() -> None:
    assert parse_duration("2562047h") == timedelta(hours=2562047)
    with pytest.raises(ValueError, match="longer than the longest duration"):
        parse_duration("2562048h")
    with pytest.raises(ValueError, match="longer than the longest duration"):
        parse_duration("9" * 400 + "h")


@pytest.mark.parametrize("text", ["0", "0s", "-1s"])
def test_where_time_must_pass_zero_and_less_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be greater than zero"):
        parse_positive_duration(text)


@given(durations)
def test_printing_and_parsing_gives_the_same_duration(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(durations)
def test_the_printed_form_is_a_fixed_point(duration: timedelta) -> None:
    printed = format_duration(duration)
    assert format_duration(parse_duration(printed)) == printed


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(), "0s"),
        (timedelta(microseconds=7), "7µs"),
        (timedelta(milliseconds=850), "850ms"),
        (timedelta(microseconds=1500), "1.5ms"),
        (timedelta(seconds=1, milliseconds=500), "1.5s"),
        (timedelta(seconds=59), "59s"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(hours=1), "1h0m0s"),
        (timedelta(days=2), "48h0m0s"),
        (timedelta(seconds=-90), "-1m30s"),
    ],
)
def test_durations_are_printed_as_go_prints_them(duration: timedelta, expected: str) -> None:
    assert format_duration(duration) == expected


@pytest.mark.parametrize(("milliseconds", "expected"), [(400, "0s"), (59_600, "1m0s"), (90_400, "1m30s")])
def test_the_duration_of_a_status_is_in_whole_seconds(milliseconds: int, expected: str) -> None:
    assert format_seconds(timedelta(milliseconds=milliseconds)) == expected


@pytest.mark.parametrize("text", ["0s", "30s", "10s", "10m", "1m30s", "24h", "1h30m", "1h0m5s", "500ms", "1.5s"])
def test_the_short_form_has_no_zeros_at_the_end_and_reads_back(text: str) -> None:
    assert short_duration(parse_duration(text)) == text
