"""The captured log."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime

from bubu_sdk import logs
from bubu_sdk.contract import Identity

IDENTITY = Identity(namespace="ns", story_run="run", step="step", step_run="run-step")


def record(message: str) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "engram", "levelname": "INFO", "msg": message})


def test_only_the_newest_mebibyte_is_kept() -> None:
    handler = logs.JsonLines(IDENTITY, io.StringIO())

    for number in range(1500):
        handler.emit(record(f"{number} {'x' * 1000}"))

    lines = handler.captured().splitlines()
    assert len(handler.captured()) <= logs.CAPTURE_BYTES
    assert json.loads(lines[-1])["msg"].startswith("1499 ")
    assert not json.loads(lines[0])["msg"].startswith("0 ")


def test_a_value_that_is_not_json_is_shown_by_its_repr() -> None:
    stream = io.StringIO()
    odd = record("m")
    odd.thing = {1, 2}

    logs.JsonLines(IDENTITY, stream).emit(odd)

    assert json.loads(stream.getvalue())["thing"] == "{1, 2}"


def test_the_key_of_a_log_names_its_step_and_instant() -> None:
    moment = datetime(2025, 1, 1, 0, 0, 0, 5, tzinfo=UTC)

    assert logs.object_key(IDENTITY, moment) == "ns/logs/run/step/run-step/1735689600000005000.log"


def test_loggers_are_as_before_when_the_run_is_over() -> None:
    logger = logging.getLogger(logs.USER_LOGGER)
    before = (logger.level, list(logger.handlers))

    with logs.Attached(logs.JsonLines(IDENTITY, io.StringIO()), debug=True, root=False):
        assert logger.isEnabledFor(logging.DEBUG)

    assert (logger.level, list(logger.handlers)) == before
