"""The trace of a run or step, as far as it is recorded. Pure. Source: ``status.trace``, StoryRun contract 3."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from core.api.objects import Object, ReadOnlyObject

_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class TraceView:
    """Where the trace is found in a tool for traces."""

    trace_id: str
    span_id: str
    """The span of this run or step; empty: not known."""
    sampled: bool
    """False: the operator does not export it."""

    @property
    def text(self) -> str:
        """The id, and why a tool for traces does not have it, if so."""
        return self.trace_id if self.sampled else f"{self.trace_id} (not exported: the sampler left it out)"

    def document(self) -> Object:
        """As in ``status.trace``."""
        return {"traceId": self.trace_id, "spanId": self.span_id, "sampled": self.sampled}


def trace_view(*objects: ReadOnlyObject | None) -> TraceView | None:
    """The trace of the first object that has one; None: none is traced, or what is recorded is damaged."""
    for obj in objects:
        recorded = ((obj or {}).get("status") or {}).get("trace")
        if not isinstance(recorded, dict) or not _TRACE_ID.fullmatch(str(recorded.get("traceId"))):
            continue
        span = str(recorded.get("spanId"))
        return TraceView(
            recorded["traceId"], span if _SPAN_ID.fullmatch(span) else "", recorded.get("sampled") is not False
        )
    return None
