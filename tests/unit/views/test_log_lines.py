"""Lines of logs for people. (views/log_lines.py, cli/render/log_lines.py)"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from cli.log_order import LogSource
from cli.render.log_lines import LogForm, lines_of
from views.log_lines import ReadableLine, readable

WRITTEN = datetime(2026, 1, 1, 12, 0, 0, 5000, tzinfo=UTC)
NAMES = {"storyRun": "run", "step": "load", "stepRun": "run-load", "attempt": 1}


def shown(record: dict[str, Any] | str, *, whole_time: bool = False) -> list[str]:
    text = record if isinstance(record, str) else json.dumps(record)
    return [line for line, _ in lines_of(LogSource("load", 1), text, WRITTEN, LogForm.PEOPLE, whole_time=whole_time)]


def test_a_record_of_the_sdk_is_time_level_message_and_fields() -> None:
    record = {
        "time": "2026-01-01T11:59:58.045Z",
        "level": "info",
        "logger": "engram",
        "msg": "loaded",
        **NAMES,
        "rows": 3,
        "file": "s3://b/k-1.csv",
        "why": "as asked",
        "parts": [1, None],
        "done": True,
    }

    assert shown(record) == [
        'load[1] 11:59:58.045 info    loaded rows=3 file=s3://b/k-1.csv why="as asked" parts=[1, null] done=true'
    ]
    assert shown(record, whole_time=True)[0].startswith("load[1] 2026-01-01T11:59:58.045Z info ")


def test_a_traceback_has_its_own_lines() -> None:
    trace = 'Traceback (most recent call last):\n  File "step.py", line 6, in main\nValueError: bad'
    record = {"level": "ERROR", "logger": "bubu_sdk", "msg": "the engram failed: bad", "stacktrace": trace}

    assert shown(record) == [
        "load[1] 12:00:00.005 error   the engram failed: bad logger=bubu_sdk",
        "load[1]   Traceback (most recent call last):",
        'load[1]     File "step.py", line 6, in main',
        "load[1]   ValueError: bad",
    ]


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({"severity": "WARNING", "ts": 1767268800.5, "message": "slow"}, "load[1] 12:00:00.500 warning slow"),
        ({"msg": "of others", "attempt": 2}, "load[1] 12:00:00.005         of others attempt=2"),
        ({"event": "got\nit", "n": 1}, "load[1] 12:00:00.005         got n=1"),
        ({"msg": "late", "ts": 1e300}, "load[1] 12:00:00.005         late"),
        ({"rows": 3}, 'load[1] 12:00:00.005         {"rows": 3}'),
        ("{broken", "load[1] 12:00:00.005         {broken"),
        ("  plain\ttext\x1b[31m red\x1b[0m\x1b[2J  ", "load[1] 12:00:00.005           plain text red"),
        ("[" * 100_000, "load[1] 12:00:00.005         " + "[" * 100_000),
        ('{"a":' * 100_000, "load[1] 12:00:00.005         " + '{"a":' * 100_000),
    ],
)
def test_other_records_and_plain_lines_are_readable_too(record: Any, line: str) -> None:
    assert shown(record)[0] == line


def test_a_pipe_gets_lines_as_they_were_written() -> None:
    text = '{"msg": "x\\u001b"}'

    assert list(lines_of(LogSource("load", 1), text, WRITTEN, LogForm.LABELLED)) == [(f"load[1] {text}", "")]
    assert list(lines_of(LogSource("load", 1), text, WRITTEN, LogForm.RAW)) == [(text, "")]


@pytest.mark.parametrize(("at", "time"), [(WRITTEN, "2026-01-01T12:00:00.005000Z"), (None, None)])
def test_a_program_gets_each_line_as_one_record(at: datetime | None, time: str | None) -> None:
    text = 'a "b"\t\x1b[2J\x9b1A\u202e é'

    [(line, colour)] = lines_of(LogSource("fan/left", 2), text, at, LogForm.JSON)

    assert json.loads(line) == {"step": "fan/left", "attempt": 2, "time": time, "line": text}
    assert line.isprintable()
    assert colour == ""


def test_a_record_has_its_own_time() -> None:
    assert readable('{"msg": "x", "time": "2026-01-01T11:00:00Z"}').at == datetime(2026, 1, 1, 11, tzinfo=UTC)
    assert readable('{"msg": "x", "time": "noon"}', WRITTEN).at == WRITTEN


def test_what_a_step_in_a_worker_printed_is_shown_as_it_was_printed() -> None:
    line = '{"time": "2026-01-01T00:00:00Z", "level": "info", "logger": "output", "msg": "a\\tb", "stepRun": "r-a"}'

    assert readable(line) == ReadableLine(datetime(2026, 1, 1, tzinfo=UTC), "", "a   b")
