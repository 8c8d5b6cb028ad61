"""Which traces are recorded. A pure function of the trace id and of the caller, so every process decides alike.

Source: OpenTelemetry, Environment Variable Specification (``OTEL_TRACES_SAMPLER``) and Tracing SDK (TraceIdRatioBased).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.telemetry.tracing.trace_parent import TraceParent

_RANDOM_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class Sampler:
    """``ratio``: the share of traces to record, 0 to 1. ``follows_parent``: a caller's decision counts, if there is
    one.
    """

    ratio: float = 1.0
    follows_parent: bool = True

    def is_sampled(self, trace_id: str, parent: TraceParent | None) -> bool:
        if parent is not None and self.follows_parent:
            return parent.sampled
        return int(trace_id[-_RANDOM_BITS // 4 :], 16) < round(self.ratio * (1 << _RANDOM_BITS))


ALWAYS: Final = Sampler()
