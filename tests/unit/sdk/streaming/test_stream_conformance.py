"""What ``check_stream`` accepts, and what it finds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bubu_sdk import EngramError, Messages, StreamContext, StreamFunction, stream
from bubu_sdk.testing import ConformanceError, StreamOutput, check_stream

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
