"""Lines of several logs in order of time. (cli/log_order.py)"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cli.log_order import LinesInOrder, LogSource

START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_lines_of_two_pods_are_merged_and_keep_their_own_order() -> None:
    lines = LinesInOrder()
    lines.add(
        LogSource("a", 1),
        [(at(1), "a1"), (at(4), "a2"), (None, "a2, continued"), (at(3), "a3, by a clock that went back")],
    )
    lines.add(LogSource("b", 1), [(at(2), "b1"), (at(4), "b2")])

    assert [line.text for line in lines.rest()] == [
        "a1",
        "b1",
        "a2",
        "a2, continued",
        "a3, by a clock that went back",
        "b2",
    ]


def test_only_what_is_older_than_the_next_pod_is_printed_before_it_is_read() -> None:
    lines = LinesInOrder()
    lines.add(LogSource("a", 1), [(at(1), "a1"), (at(5), "a2")])

    assert [line.text for line in lines.older_than(at(3))] == ["a1"]
    lines.add(LogSource("b", 1), [(at(3), "b1")])
    assert [line.text for line in lines.older_than(None)] == []
    assert [(line.source.step, line.text) for line in lines.rest()] == [("b", "b1"), ("a", "a2")]


def test_lines_before_the_first_time_come_first() -> None:
    lines = LinesInOrder()
    lines.add(LogSource("a", 1), [(at(1), "a1")])
    lines.add(LogSource("b", 1), [(None, "b0"), (at(2), "b1")])

    assert [line.text for line in lines.rest()] == ["b0", "a1", "b1"]
