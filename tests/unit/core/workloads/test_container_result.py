"""From a message or a log to an output."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.phases import ExitClass
from core.workloads.container_result import (
    LOG_LINES,
    MESSAGE_BYTES,
    ResultFormat,
    ResultReading,
    ResultSource,
    UnusableResultError,
    output_of_log,
    output_of_message,
    output_of_success,
)

AUTO, JSON, TEXT = (ResultReading(ResultSource.STDOUT, each) for each in ResultFormat)


def test_the_reading_survives_as_an_annotation() -> None:
    spec = {
        "result": {"from": "file", "path": "/x", "format": "json"},
        "exitCodes": {"retry": [75], "rateLimited": [29], "terminal": [2, 3]},
    }
    reading = ResultReading.of(spec)

    assert (reading.source, reading.format) == (ResultSource.FILE, ResultFormat.JSON)
    assert reading.exit_codes == {
        75: ExitClass.RETRY,
        29: ExitClass.RATE_LIMITED,
        2: ExitClass.TERMINAL,
        3: ExitClass.TERMINAL,
    }
    assert ResultReading.decoded(reading.encoded()) == reading


def test_without_a_result_the_output_is_the_exit_code() -> None:
    assert ResultReading.of({}) == ResultReading(ResultSource.EXIT_CODE, ResultFormat.AUTO, {})
    assert output_of_success() == {"exitCode": 0}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"from":"x","format":"auto","exitCodes":{}}', '{"from":"stdout"}'])
def test_another_annotation_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ResultReading.decoded(text)


@pytest.mark.parametrize(
    ("reading", "message", "output"),
    [
        (AUTO, '{"a": 1}', {"a": 1}),
        (AUTO, " [1, 2]\n", {"result": [1, 2]}),
        (AUTO, "null", {"result": None}),
        (AUTO, "sunny\n", {"text": "sunny"}),
        (AUTO, "", {"text": ""}),
        (JSON, '"x"', {"result": "x"}),
        (TEXT, '{"a": 1}', {"text": '{"a": 1}'}),
        (TEXT, "two\nlines\r\n\n", {"text": "two\nlines"}),
    ],
)
def test_a_message_becomes_an_output(reading: ResultReading, message: str, output: dict[str, Any]) -> None:
    assert output_of_message(reading, message) == output


@pytest.mark.parametrize(
    ("message", "words"), [("", "is empty"), ("sunny", "is not JSON"), ('{"a": 1} {}', "is not JSON")]
)
def test_a_message_that_must_be_json_says_what_is_wrong(message: str, words: str) -> None:
    with pytest.raises(UnusableResultError, match=words):
        output_of_message(JSON, message)


@pytest.mark.parametrize("reading", [AUTO, JSON, TEXT])
def test_a_message_that_the_node_has_cut_names_the_limit(reading: ResultReading) -> None:
    for message in ("x" * (MESSAGE_BYTES - 2) + '"}', "ü" * (MESSAGE_BYTES // 2), "7".rjust(MESSAGE_BYTES)):
        with pytest.raises(UnusableResultError, match=f"only {MESSAGE_BYTES}.*from: stdout"):
            output_of_message(reading, message)


def test_a_message_of_the_largest_size_that_is_json_was_not_cut() -> None:
    text = '"' + "x" * (MESSAGE_BYTES - 2) + '"'

    assert output_of_message(JSON, text) == {"result": "x" * (MESSAGE_BYTES - 2)}


@pytest.mark.parametrize(
    ("reading", "log", "output"),
    [
        (AUTO, '{\n  "a": 1\n}\n', {"a": 1}),
        (AUTO, 'warning: old\n{"a": 1}\n', {"a": 1}),
        (AUTO, '{"a": 1}\n{"a": 2}\nwarning: late\n\n', {"a": 2}),
        (AUTO, "[1]\nbye", {"result": [1]}),
        (AUTO, "total\n42\ndone\n", {"text": "total\n42\ndone"}),
        (AUTO, "42\n", {"result": 42}),
        (AUTO, "", {"text": ""}),
        (JSON, "total\n42\ndone\n", {"result": 42}),
        (JSON, 'x\n"y"\r\n', {"result": "y"}),
        (TEXT, '{"a": 1}\n', {"text": '{"a": 1}'}),
    ],
)
def test_a_log_becomes_an_output(reading: ResultReading, log: str, output: dict[str, Any]) -> None:
    assert output_of_log(reading, log, is_whole=True) == output


def test_of_the_end_of_a_log_only_a_line_of_json_counts() -> None:
    assert output_of_log(AUTO, '}\n{"a": 1}\n', is_whole=False) == {"a": 1}
    assert output_of_log(JSON, "7\n", is_whole=False) == {"result": 7}
    for reading in (AUTO, TEXT):
        with pytest.raises(UnusableResultError, match=f"larger than {LOG_LINES} lines"):
            output_of_log(reading, "7\n", is_whole=False)


@pytest.mark.parametrize("log", ["", "sunny\n", "NaN\n", "1e999\n", "[" * 2000 + "]" * 2000])
def test_a_log_without_json_says_so(log: str) -> None:
    with pytest.raises(UnusableResultError, match="no line that is JSON"):
        output_of_log(JSON, log, is_whole=True)


@pytest.mark.parametrize("reading", [AUTO, JSON])
@pytest.mark.parametrize("result", ['{"loss": NaN}', "[1, Infinity]", '{"a": {"b": [-Infinity]}}'])
def test_a_result_with_a_number_that_json_lacks_is_refused(reading: ResultReading, result: str) -> None:
    for log in (result, f'{{"loss": 1}}\n{result}\n'):
        with pytest.raises(
            UnusableResultError, match=r"contains (NaN|Infinity|-Infinity), which is not JSON: write null"
        ):
            output_of_log(reading, log, is_whole=True)
    with pytest.raises(UnusableResultError, match="which is not JSON"):
        output_of_message(reading, result)


def test_such_a_number_before_the_last_line_and_in_a_text_changes_nothing() -> None:
    assert output_of_log(AUTO, '{"loss": NaN}\n{"loss": 1}\n', is_whole=True) == {"loss": 1}
    assert output_of_log(AUTO, '{"loss": NaN}\ndone\n', is_whole=True) == {"text": '{"loss": NaN}\ndone'}
    assert output_of_log(TEXT, '{"loss": NaN}\n', is_whole=True) == {"text": '{"loss": NaN}'}
    assert output_of_message(AUTO, "NaN") == {"text": "NaN"}
