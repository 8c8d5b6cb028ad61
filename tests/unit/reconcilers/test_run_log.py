"""Ends are logged with the ids of their trace; StepRuns are counted once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from core.api.objects import Object
from core.kube.store import Change, ChangeKind
from core.telemetry import metrics
from core.telemetry.tracing.run_trace import TraceRules, run_trace, untraced
from reconcilers.adapters.world import World
from reconcilers.run_log import RunLog
from tests.unit.reconcilers.reconciler_samples import run, step_run

BEGAN = datetime(2020, 1, 1, tzinfo=UTC)
TIMES = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:07Z"}
FINAL = [{"type": "Progressing", "status": "False"}, {"type": "Degraded", "status": "True"}]


class _Runs:
    def get(self, namespace: str, name: str) -> Object:
        return run()


class _World:
    """The part of a World that the meter needs."""

    story_runs = _Runs()


@pytest.fixture(autouse=True)
def recorded() -> Iterator[None]:
    with metrics.recording():
        yield


def meter(rules: TraceRules | None = None) -> RunLog:
    return RunLog(cast("World", _World()), BEGAN, untraced if rules is None else lambda: rules)


def changed(obj: Object, old: Object, new: Object) -> Change:
    return Change(ChangeKind.UPDATED, {**obj, "status": old}, {**obj, "status": new})


def test_step_runs_of_this_process_are_counted_and_earlier_ones_are_not() -> None:
    counted = meter()
    for at in ("2019-12-31T23:59:59Z", "2026-01-01T00:00:00Z"):
        obj = step_run(run())
        obj = {**obj, "metadata": {**obj["metadata"], "creationTimestamp": at}}
        counted.step_run_changed(Change(ChangeKind.ADDED, None, obj))
    assert [value for _, value in _samples("bobrapet_child_stepruns_created_total")] == [1]


def test_a_record_has_run_step_attempt_and_trace(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="bobrapet")
    reported = {"phase": "Failed", "retries": 2, **TIMES}
    change = changed(step_run(run()), reported, {**reported, "conditions": FINAL})
    meter(TraceRules(records=True)).step_run_changed(change)
    meter().step_run_changed(change)

    traced, plain = (cast("Any", record).bobrapet_fields for record in caplog.records)
    trace = run_trace(run(), TraceRules(records=True))
    assert plain == {"run": "team/one", "step": "fetch", "attempt": 3, "phase": "Failed"}
    assert traced == {**plain, "trace_id": trace.trace_id, "span_id": trace.step_id("fetch")}


def _samples(name: str) -> list[tuple[dict[str, str], float]]:
    recorder = metrics.start_recording()
    return [
        (sample.labels, sample.value)
        for family in recorder.registry.collect()
        for sample in family.samples
        if sample.name == name
    ]
