"""The last signal of a step, and how it is shown. (views/signals.py, cli/render/signals.py)"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.display import SignalLines
from cli.render.progress import tree
from core.api.objects import Object
from views.run_view import RunView, view_run
from views.signals import MOST_LETTERS, last_signal

NOW = datetime(2026, 1, 1, 12, 0, 10, tzinfo=UTC)
STORY = {"metadata": {"name": "report"}, "spec": {"steps": [{"name": "load", "ref": {"name": "http"}}]}}


def sent(*events: tuple[str, Any]) -> Object:
    """The status after these signals, one a second."""
    recorded = [
        {"seq": number, "key": key, "emittedAt": f"2026-01-01T12:00:0{number}Z"}
        for number, (key, _) in enumerate(events, start=1)
    ]
    latest = {key: {"type": "int", "sizeBytes": 1, "value": value} for key, value in events if value is not None}
    return {"signals": latest, "signalEvents": recorded}


def text_of(value: Any) -> str:
    signal = last_signal({"signals": {"k": value}})
    assert signal is not None
    return signal.text


def test_the_newest_signal_is_the_one_with_the_highest_number() -> None:
    status = sent(("rows", 1), ("files", 2), ("rows", 3))
    status["signalEvents"].reverse()

    signal = last_signal(status)

    assert signal is not None
    assert (str(signal), signal.at) == ("rows: 3", datetime(2026, 1, 1, 12, 0, 3, tzinfo=UTC))


def test_a_signal_that_was_deleted_is_not_shown() -> None:
    assert str(last_signal(sent(("rows", 1), ("gone", None)))) == "rows: 1"
    assert last_signal(sent(("gone", None))) is None
    assert last_signal({}) is None


def test_signals_without_events_are_shown_too() -> None:
    assert str(last_signal({"signals": {"a": {"value": 1}, "b": {"value": 2}}})) == "b: 2"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"value": {"percent": 50}, "type": "map"}, '{"percent": 50}'),
        ({"value": "half\nway\x1b[2J"}, "half way [2J"),
        ({"value": None}, "null"),
        ({"meta": {"format": "text", "sizeBytes": 8}, "sample": {"text": "half way"}}, "half way"),
        ({"meta": {"format": "markdown", "sizeBytes": 9000}}, "markdown of 9000 bytes, not shown"),
        ({"type": "map", "sizeBytes": 9000, "redacted": True}, "map of 9000 bytes, not shown"),
        ({"odd": 1}, "value, not shown"),
        (7, "7"),
        ({"value": "x" * 500}, "x" * (MOST_LETTERS - 1) + "…"),
    ],
)
def test_a_signal_is_one_line(value: Any, text: str) -> None:
    assert text_of(value) == text


def view_of(status: Object, phase: str = "Running") -> RunView:
    run = {
        "metadata": {"namespace": "team", "name": "report-1", "creationTimestamp": "2026-01-01T12:00:00Z"},
        "spec": {"storyRef": {"name": "report"}},
        "status": {"phase": "Running", "stepStates": {"load": {"phase": phase, "startedAt": "2026-01-01T12:00:05Z"}}},
    }
    return view_run(run, STORY, [{"spec": {"stepId": "load"}, "metadata": {"name": "s"}, "status": status}])


def test_the_row_of_a_step_has_its_last_signal() -> None:
    rows = [line for line, _ in tree(view_of(sent(("rows", 3))), NOW, width=80)]

    assert rows[1] == "● load  Running         5s  rows: 3"


def test_a_pipe_has_a_line_for_each_new_signal_but_not_more_than_one_a_second() -> None:
    lines = SignalLines()
    first, second, third = (view_of(sent(*[("rows", n) for n in range(1, last + 1)])) for last in (1, 2, 3))

    assert lines.lines(first, NOW) == ["2026-01-01T12:00:01Z report-1 load Running  rows: 1"]
    assert lines.lines(first, NOW + timedelta(seconds=5)) == []
    assert lines.lines(second, NOW + timedelta(seconds=0.5)) == []
    assert lines.lines(third, NOW + timedelta(seconds=1)) == ["2026-01-01T12:00:03Z report-1 load Running  rows: 3"]


def test_the_last_signal_of_a_step_that_ends_is_printed_at_once() -> None:
    lines = SignalLines()
    lines.lines(view_of(sent(("rows", 1))), NOW)

    assert lines.lines(view_of(sent(("rows", 1), ("rows", 2)), "Succeeded"), NOW) == [
        "2026-01-01T12:00:02Z report-1 load Succeeded  rows: 2"
    ]
