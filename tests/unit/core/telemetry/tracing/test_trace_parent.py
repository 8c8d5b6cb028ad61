"""A traceparent is read as W3C Trace Context says, and anything else counts as absent."""

from __future__ import annotations

import pytest

from core.telemetry.tracing.trace_parent import TraceParent, parse_trace_parent, passed_on

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f" 00-{TRACE}-{SPAN}-00 ", False),
        (f"00-{TRACE}-{SPAN}-ff", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", True),
    ],
)
def test_a_traceparent_names_a_span(text: str, sampled: bool) -> None:
    assert parse_trace_parent(text) == TraceParent(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "text",
    [
        *("", None, 7, "garbage", f"00-{TRACE}-{SPAN}", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-more"),
        *(f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}-{SPAN}-0x"),
    ],
)
def test_what_is_no_traceparent_counts_as_absent(text: object) -> None:
    assert parse_trace_parent(text) is None


def test_a_span_is_written_as_it_is_read() -> None:
    span = TraceParent(TRACE, SPAN, sampled=False)
    assert parse_trace_parent(span.header) == span


def test_only_short_printable_text_is_passed_on() -> None:
    assert passed_on(" a=1,b=2 ", 512) == "a=1,b=2"
    assert [passed_on(text, 8) for text in ("x" * 9, "a\nb", "ä", None, 3)] == [""] * 5
