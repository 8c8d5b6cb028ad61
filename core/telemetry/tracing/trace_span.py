"""One finished span, as it is exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias

AttributeValue: TypeAlias = str | int | bool | float


@dataclass(frozen=True, slots=True)
class TraceSpan:
    """Ids are lower-case hexadecimal digits; instants are aware, and ``ended_at`` is never before ``started_at``."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty: the span begins its trace."""
    started_at: datetime
    ended_at: datetime
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    error: str | None = None
    """Why it failed; None: it did not."""
    succeeded: bool = False
    state: str = ""
    """``tracestate``."""
    is_entry: bool = False
    """Whether it is the work for a caller outside (span kind SERVER)."""


class SpanSink(Protocol):
    """Takes finished spans; never blocks, never fails."""

    def put(self, span: TraceSpan) -> None: ...
