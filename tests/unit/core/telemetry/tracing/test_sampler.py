"""Which traces are recorded follows from the trace id and the caller alone."""

from __future__ import annotations

from core.telemetry.tracing.run_trace import trace_id_of
from core.telemetry.tracing.sampler import Sampler
from core.telemetry.tracing.trace_parent import TraceParent

IDS = [trace_id_of(f"uid-{number}") for number in range(2000)]


def caller(sampled: bool) -> TraceParent:
    return TraceParent("a" * 32, "b" * 16, sampled)


def test_a_ratio_records_that_share_of_traces_and_always_the_same_ones() -> None:
    tenth, half = Sampler(0.1), Sampler(0.5)
    chosen = {trace_id for trace_id in IDS if tenth.is_sampled(trace_id, None)}
    assert 140 < len(chosen) < 260
    assert all(half.is_sampled(trace_id, None) for trace_id in chosen)


def test_the_bounds_record_all_and_nothing() -> None:
    assert all(Sampler(1.0).is_sampled(trace_id, None) for trace_id in (*IDS, "f" * 32))
    assert not any(Sampler(0.0).is_sampled(trace_id, None) for trace_id in (*IDS, "0" * 32))


def test_a_caller_decides_unless_the_sampler_ignores_callers() -> None:
    assert Sampler(0.0).is_sampled(IDS[0], caller(sampled=True))
    assert not Sampler(1.0).is_sampled(IDS[0], caller(sampled=False))
    assert not Sampler(0.0, follows_parent=False).is_sampled(IDS[0], caller(sampled=True))
