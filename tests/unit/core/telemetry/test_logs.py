"""What a log line contains, and what it must not contain."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import orjson
import pytest
import trio

from core.telemetry.logs import (
    REDACTED,
    LogFormat,
    configure_logging,
    get_logger,
    log_fields,
    log_traces,
    redact,
    set_level,
)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root, ours = logging.getLogger(), logging.getLogger("bobrapet")
    before = (root.level, ours.level, list(root.handlers))
    configure_logging(LogFormat.JSON, level="debug", stream=stream)
    yield stream
    root.setLevel(before[0])
    ours.setLevel(before[1])
    root.handlers[:] = before[2]


def records(stream: io.StringIO) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_json_line_with_the_fields_of_the_contract(lines: io.StringIO) -> None:
    get_logger("storyrun").bind(namespace="team", storyrun="demo").info("step ready", step="fetch", attempts=2)

    [record] = records(lines)
    assert list(record)[:4] == ["level", "ts", "logger", "msg"]
    assert str(record.pop("ts")).endswith("Z")
    assert record == {
        "level": "info",
        "logger": "storyrun",
        "msg": "step ready",
        "namespace": "team",
        "storyrun": "demo",
        "step": "fetch",
        "attempts": 2,
    }


def test_an_error_carries_its_text_and_stack_trace(lines: io.StringIO) -> None:
    try:
        int("kettle")
    except ValueError as error:
        get_logger("setup").error("cannot start", error=error)

    [record] = records(lines)
    assert record["error"] == "invalid literal for int() with base 10: 'kettle'"
    assert "Traceback" in str(record["stacktrace"])


def test_a_percent_sign_in_a_message_is_no_format(lines: io.StringIO) -> None:
    get_logger("setup").info("100 %s sure")

    assert records(lines)[0]["msg"] == "100 %s sure"


def test_library_records_come_out_in_the_same_form(lines: io.StringIO) -> None:
    logging.getLogger("somebody.else").warning("careful: %s", "Bearer abcdefghijklmnop")

    [record] = records(lines)
    assert record["logger"] == "somebody.else"
    assert record["msg"] == f"careful: Bearer {REDACTED}"


def test_configuring_twice_does_not_write_twice(lines: io.StringIO) -> None:
    configure_logging(LogFormat.CONSOLE, level="info", stream=lines)
    get_logger("setup").info("once", answer=42)

    assert lines.getvalue().count("once") == 1
    assert "answer" in lines.getvalue()


def test_a_terminal_obeys_nothing_that_a_record_contains(lines: io.StringIO) -> None:
    configure_logging(LogFormat.CONSOLE, level="info", stream=lines)
    error = ValueError("\x1b[2Jcleared")
    get_logger("setup").error("run \x1b[31mred", error=error, run="a\x1b]0;title\x07b")

    written = lines.getvalue()
    assert "".join(filter(str.isprintable, written)) == written.replace("\n", "")
    assert "run \\x1b[31mred" in written
    assert "\\x1b[2Jcleared" in written


def test_the_level_can_be_changed_live(lines: io.StringIO) -> None:
    log = get_logger("setup")
    set_level("warning")
    log.info("hidden")
    set_level("debug")
    log.debug("shown")

    assert [record["msg"] for record in records(lines)] == ["shown"]
    with pytest.raises(ValueError, match="use debug, info"):
        set_level("loud")


async def test_bound_fields_follow_a_task_into_its_children_only(lines: io.StringIO) -> None:
    log = get_logger("storyrun")

    async def child(name: str) -> None:
        log.info(name)

    async with trio.open_nursery() as nursery:
        with log_fields(reconcileID="r-1"):
            nursery.start_soon(child, "inside")
        nursery.start_soon(child, "outside")

    assert {str(record["msg"]): record.get("reconcileID") for record in records(lines)} == {
        "inside": "r-1",
        "outside": None,
    }


def test_a_record_about_a_run_has_the_ids_of_its_trace(lines: io.StringIO) -> None:
    logger = get_logger("test")
    with log_traces(lambda run, step: {"trace_id": f"of {run}", "span_id": step} if run != "team/plain" else {}):
        logger.info("one", run="team/one", step="fetch")
        logger.info("known", run="team/one", trace_id="ab")
        logger.info("plain", run="team/plain")
        logger.info("other", key="team/one")
    logger.info("later", run="team/one")
    one, known, plain, other, later = map(orjson.loads, lines.getvalue().splitlines())
    assert (one["trace_id"], one["span_id"]) == ("of team/one", "fetch")
    assert known["trace_id"] == "ab"
    assert not any("trace_id" in each for each in (plain, other, later))


@pytest.mark.parametrize(
    "key",
    ["token", "accessToken", "client_secret", "Password", "Authorization", "db-credentials", "api_key", "Set-Cookie"],
)
def test_values_under_secret_sounding_keys_never_reach_the_log(lines: io.StringIO, key: str) -> None:
    get_logger("setup").info("connecting", **{key: "hunter2"}, nested={"deep": [{key: "hunter2"}]})

    assert "hunter2" not in lines.getvalue()


def test_names_of_secrets_are_not_secret() -> None:
    assert redact({"secretName": "db", "tokenFile": "/var/run/token", "token": ""}) == {
        "secretName": "db",
        "tokenFile": "/var/run/token",
        "token": "",
    }


def test_what_is_nested_too_deep_to_check_is_blanked() -> None:
    value: object = {"password": "hunter2"}
    for _ in range(10):
        value = {"inner": value}

    assert "hunter2" not in repr(redact(value))
