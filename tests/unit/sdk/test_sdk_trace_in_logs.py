"""The lines of a container have the ids of its attempt, if the operator has handed them over."""

from __future__ import annotations

import pytest

from bubu_sdk.contract import Identity
from bubu_sdk.logs import names_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_each_line_has_trace_and_span_of_the_attempt() -> None:
    names = names_of(Identity.of({"TRACEPARENT": f"00-{TRACE}-{SPAN}-01", "BUBU_STEP_NAME": "fetch"}))
    assert names == {"storyRun": "", "step": "fetch", "stepRun": "", "trace_id": TRACE, "span_id": SPAN}


@pytest.mark.parametrize(
    "text", ["", "garbage", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}"]
)
def test_without_a_context_lines_are_as_before(text: str) -> None:
    assert names_of(Identity.of({"TRACEPARENT": text})) == {"storyRun": "", "step": "", "stepRun": ""}
