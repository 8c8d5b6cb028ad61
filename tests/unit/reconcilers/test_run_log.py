"""Ends are logged with the ids of their trace."""

from __future__ import annotations

from typing import Any, cast

import pytest

from core.api.objects import Object
from core.kube.store import Change, ChangeKind
from core.telemetry.tracing.run_trace import TraceRules, run_trace, untraced
from reconcilers.adapters.world import World
from reconcilers.run_log import RunLog
from tests.unit.reconcilers.reconciler_samples import run, step_run

TIMES = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:07Z"}
FINAL = [{"type": "Progressing", "status": "False"}, {"type": "Degraded", "status": "True"}]


class _Runs:
    def get(self, namespace: str, name: str) -> Object:
        return run()


class _World:
    """The part of a World that the meter needs."""

    story_runs = _Runs()


def meter(rules: TraceRules | None = None) -> RunLog:
    return RunLog(cast("World", _World()), untraced if rules is None else lambda: rules)


def changed(obj: Object, old: Object, new: Object) -> Change:
    return Change(ChangeKind.UPDATED, {**obj, "status": old}, {**obj, "status": new})


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


def test_a_record_about_a_run_gets_the_ids_of_its_trace() -> None:
    traced = meter(TraceRules(records=True))
    trace = run_trace(run(), TraceRules(records=True))
    assert traced.trace_of("team/one", "") == {"trace_id": trace.trace_id, "span_id": trace.root_id}
    assert traced.trace_of("team/one", "fetch")["span_id"] == trace.step_id("fetch")
    assert meter().trace_of("team/one", "") == {}


def test_a_damaged_run_costs_no_record() -> None:
    class Damaged(_World):
        class story_runs:  # noqa: N801 - the attribute of a World
            @staticmethod
            def get(namespace: str, name: str) -> Object:
                return {"metadata": {}}

    log = RunLog(cast("World", Damaged()), lambda: TraceRules(records=True))
    assert log.trace_of("team/one", "") == {}
