"""What ``check_stream`` accepts, and what it finds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from bubu_sdk import Binary, EngramError, ExitClass, Messages, Packet, StreamContext, StreamFunction, stream
from bubu_sdk.errors import Object
from bubu_sdk.testing import ConformanceError, StreamOutput, check_stream


@dataclass
class Voice:
    volume: int


MESSAGES = [{"n": 1}, {"n": 2}, {"n": 3}]


@stream
def relay(messages: Messages[dict[str, int]]) -> Iterator[Any]:
    for message in messages:
        yield {"n": message.data["n"]}


@stream
def counting(ctx: StreamContext) -> Iterator[Any]:
    for number in range(ctx.config["count"]):
        yield {"n": number}


def test_a_function_that_keeps_the_contract_passes() -> None:
    seen: list[StreamOutput] = []

    outcome = check_stream(relay, MESSAGES, min_outputs=3, validate_output=seen.append)

    assert [output.payload for output in seen] == MESSAGES
    assert sorted(outcome.receipts) == [1, 2, 3]


def test_a_source_passes() -> None:
    assert check_stream(counting, config={"count": 3}, min_outputs=3).exit_code == 0


def keeps() -> StreamFunction:
    @stream
    def keeper(messages: Messages) -> None:
        for message in messages:
            message.hold()

    return keeper


def fails() -> StreamFunction:
    @stream
    def failing(messages: Messages) -> Iterator[Any]:
        for message in messages:
            yield message.data
            raise RuntimeError("no more paper")

    return failing


@pytest.mark.parametrize(
    ("work", "reason", "more"),
    [
        (keeps(), "not every message is done", {"timeout": 0.3}),
        (fails(), "the exit code is 1", {}),
        (relay, "at least 7 are expected", {"min_outputs": 7}),
    ],
    ids=["holds for ever", "fails", "says too little"],
)
def test_violations_are_found(work: StreamFunction, reason: str, more: dict[str, Any]) -> None:
    with pytest.raises(ConformanceError, match=reason):
        check_stream(work, MESSAGES, **more)


def test_messages_that_do_not_fit_are_a_violation_unless_they_may_be() -> None:
    with pytest.raises(ConformanceError, match=r"messages \[2\] were refused"):
        check_stream(relay, [{"n": 1}, b"bytes"])

    check_stream(relay, [{"n": 1}, b"bytes"], may_refuse=True)


def test_a_function_that_ignores_sigterm_is_found() -> None:
    release = threading.Event()

    @stream
    def deaf(messages: Messages) -> None:
        for _ in messages:
            pass
        release.wait(60)

    with pytest.raises(ConformanceError, match="ignored SIGTERM"):
        check_stream(deaf, MESSAGES, grace="100ms")
    release.set()


def test_an_error_that_is_sent_must_be_a_structured_one() -> None:
    @stream
    def apologises(messages: Messages) -> Iterator[Any]:
        for _ in messages:
            yield EngramError("no such voice", code="VOICE")

    outcome = check_stream(apologises, MESSAGES, min_outputs=3)

    assert {output.kind for output in outcome.outputs} == {"error"}


@stream
def declines(messages: Messages) -> Iterator[Any]:
    for message in messages:
        yield message.data
        raise EngramError("the card is declined", code="DECLINED", exit_class=ExitClass.TERMINAL)


def test_an_error_that_is_expected_is_checked_and_so_are_the_outputs_before_it() -> None:
    errors: list[Object] = []
    outputs: list[StreamOutput] = []

    outcome = check_stream(
        declines,
        MESSAGES,
        min_outputs=1,
        expect_error=True,
        require_structured_error=True,
        validate_error=errors.append,
        validate_output=outputs.append,
    )

    assert outcome.exit_code == 1
    assert [(error["code"], error["message"]) for error in errors] == [("DECLINED", "the card is declined")]
    assert [output.payload for output in outputs] == [{"n": 1}]


def test_a_source_that_is_expected_to_fail_passes() -> None:
    @stream
    def exhausted() -> Iterator[Any]:
        yield {"n": 1}
        raise RuntimeError("no more paper")

    assert check_stream(exhausted, expect_error=True, min_outputs=1).error is not None
    with pytest.raises(ConformanceError, match="plain exception"):
        check_stream(exhausted, expect_error=True, require_structured_error=True)


def test_a_configuration_that_does_not_fit_is_an_error_that_can_be_expected() -> None:
    @stream
    def tuned(ctx: StreamContext[Voice], messages: Messages) -> None:
        for _ in messages:
            pass

    errors: list[Object] = []
    check_stream(tuned, MESSAGES, config={"volume": "loud"}, expect_error=True, validate_error=errors.append)
    assert errors[0]["type"] == "validation_error"
    assert "volume" in errors[0]["message"]


def test_a_success_where_an_error_is_expected_is_found() -> None:
    with pytest.raises(ConformanceError, match=r"raised nothing .*; an error was expected"):
        check_stream(relay, MESSAGES, expect_error=True)


def badly(packet: Any) -> StreamFunction:
    """Answers with this packet, and fails."""

    @stream
    def failing(messages: Messages) -> Iterator[Any]:
        for _ in messages:
            yield packet
            raise EngramError("no more paper", code="PAPER")

    return failing


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (Packet({"n": 1}, message_id=" 7 "), "its id ' 7 ' must not have blanks around it"),
        (Packet({"message": "no"}, kind="error"), "an output of kind error: version is None"),
        (Packet(frame=Binary(b"no"), kind="error"), "it must have no frame"),
    ],
    ids=["id", "an error that is not structured", "an error with a frame"],
)
def test_outputs_before_an_expected_error_must_be_valid_messages(packet: Packet, reason: str) -> None:
    with pytest.raises(ConformanceError, match=reason):
        check_stream(badly(packet), MESSAGES, expect_error=True)

    check_stream(badly(packet), MESSAGES, expect_error=True, require_valid_messages=False)


def test_an_output_without_content_is_found_if_that_is_asked_for() -> None:
    with pytest.raises(ConformanceError, match="1 outputs have neither a payload or inputs with fields, nor a frame"):
        check_stream(badly({}), MESSAGES, expect_error=True, require_nonempty_output=True)

    check_stream(badly({}), MESSAGES, expect_error=True)
    check_stream(badly(b"bytes"), MESSAGES, expect_error=True, require_nonempty_output=True)
