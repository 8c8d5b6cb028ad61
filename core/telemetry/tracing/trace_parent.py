"""The context of a trace as text: ``traceparent``, ``tracestate``, ``baggage``. Pure.

What cannot be read counts as absent: a sender must not be able to stop a run. Source: W3C Trace Context 1 and
W3C Baggage; operator contract 9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_STATE_CHARACTERS: Final = 512
"""What each receiver of ``tracestate`` must accept (Trace Context 3.3.1.5); a longer one is dropped."""
MAX_BAGGAGE_CHARACTERS: Final = 8192
"""The same for ``baggage`` (Baggage 3.3.2)."""

_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 1


@dataclass(frozen=True, slots=True)
class TraceParent:
    """A span, as its children know it. Both ids are lower-case hexadecimal digits, and not zero."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def header(self) -> str:
        """
        >>> TraceParent("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7").header
        '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
        """
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse_trace_parent(text: object) -> TraceParent | None:
    """The span that ``text`` names; None if it is not a ``traceparent``."""
    found = _PARENT.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not (trace_id.strip("0") and span_id.strip("0")):
        return None
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def passed_on(text: object, most_characters: int) -> str:
    """A ``tracestate`` or ``baggage`` as it is handed down; empty if it is none, or too long."""
    text = text.strip() if isinstance(text, str) else ""
    return text if len(text) <= most_characters and text.isascii() and text.isprintable() else ""
