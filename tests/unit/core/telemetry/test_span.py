"""A span reports how its work ended, once to each observer."""

from __future__ import annotations

import logging

import pytest
import trio

from core.telemetry.logs import get_logger
from core.telemetry.span import Span, SpanOutcome, open_span

LOG = get_logger("test")


def test_a_finished_block_is_complete_and_timed() -> None:
    seen: list[Span] = []

    with open_span(LOG, "brewing", observe=seen.append, pot="blue") as span:
        span.fields["cups"] = 2

    assert [(span.outcome, span.fields) for span in seen] == [(SpanOutcome.COMPLETE, {"pot": "blue", "cups": 2})]
    assert seen[0].seconds >= 0


def test_an_error_passes_through_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Span] = []
    with (
        caplog.at_level(logging.WARNING, logger="bobrapet"),
        pytest.raises(ValueError, match="cold"),
        open_span(LOG, "brewing", observe=seen.append, failure_level=logging.WARNING),
    ):
        raise ValueError("cold")

    assert seen[0].outcome is SpanOutcome.FAILED
    assert [record.getMessage() for record in caplog.records] == ["brewing failed"]


async def test_cancellation_is_not_a_failure() -> None:
    seen: list[Span] = []

    with trio.CancelScope() as scope:
        scope.cancel()
        with open_span(LOG, "brewing", observe=seen.append):
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert seen[0].outcome is SpanOutcome.CANCELLED
