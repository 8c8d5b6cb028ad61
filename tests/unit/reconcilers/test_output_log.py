"""Which ends are in the log. The data is not in the log."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from core.kube.store import Change, ChangeKind
from reconcilers.output_log import MAX_KEYS, OutputLog
from tests.unit.reconcilers.reconciler_samples import run, step_run

OUTPUT = {"password": "do not tell", "rows": [1, 2, 3]}


def is_on() -> bool:
    return True


def ended(obj: Object, output: Any = None, phase: str = "Succeeded") -> Change:
    status = {"phase": phase} | ({} if output is None else {"output": output})
    before, after = {**obj, "status": {"phase": "Running"}}, {**obj, "status": status}
    return Change(ChangeKind.UPDATED, before, after)


def fields_of(record: Any) -> Object:
    fields: Object = record.bobrapet_fields
    return fields


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", logger="bobrapet")
    return caplog


def test_the_end_of_a_step_is_logged_with_names_and_sizes_and_without_data(log: pytest.LogCaptureFixture) -> None:
    OutputLog(is_on).step_run_changed(ended(step_run(run()), OUTPUT))

    [record] = log.records
    assert record.getMessage() == "a step ended with an output"
    assert fields_of(record) == {
        "run": "team/one",
        "step": "fetch",
        "attempt": 1,
        "phase": "Succeeded",
        "bytes": 41,
        "keys": ["password (13 bytes)", "rows (7 bytes)"],
    }
    assert "do not tell" not in str(vars(record))


def test_the_end_of_a_run_is_logged_too(log: pytest.LogCaptureFixture) -> None:
    OutputLog(is_on).story_run_changed(ended(run(), ["secret"], "Failed"))

    [record] = log.records
    assert fields_of(record) == {"run": "team/one", "phase": "Failed", "bytes": 10, "keys": []}


def test_a_record_has_the_attempt_and_the_trace(log: pytest.LogCaptureFixture) -> None:
    change = ended(step_run(run()), OUTPUT)
    assert change.new is not None
    change.new["status"]["retries"] = 2
    OutputLog(is_on, trace_of=lambda run, path: {"trace_id": f"trace of {run}", "span_id": path}).step_run_changed(
        change
    )

    fields = fields_of(log.records[0])
    assert (fields["attempt"], fields["trace_id"], fields["span_id"]) == (3, "trace of team/one", "fetch")


def test_a_record_names_so_many_keys_and_so_much_of_each(log: pytest.LogCaptureFixture) -> None:
    output = {f"{number:03}{'k' * 100}": number for number in range(MAX_KEYS + 2)}
    OutputLog(is_on).step_run_changed(ended(step_run(run()), output))

    keys = fields_of(log.records[0])["keys"]
    assert keys[0] == f"000{'k' * 61} (1 bytes)"
    assert (len(keys), keys[-1]) == (MAX_KEYS + 1, "and 2 more")


def test_only_an_end_with_an_output_is_logged_and_only_once(log: pytest.LogCaptureFixture) -> None:
    outputs, step = OutputLog(is_on), step_run(run())
    outputs.step_run_changed(ended(step))
    outputs.step_run_changed(ended(step, OUTPUT, "Running"))
    final = ended(step, OUTPUT).new
    outputs.step_run_changed(Change(ChangeKind.UPDATED, final, final))
    outputs.step_run_changed(Change(ChangeKind.DELETED, final, None))

    assert log.records == []


def test_nothing_is_logged_unless_the_setting_says_so(log: pytest.LogCaptureFixture) -> None:
    outputs = OutputLog(lambda: False)
    outputs.step_run_changed(ended(step_run(run()), OUTPUT))
    outputs.story_run_changed(ended(run(), OUTPUT))

    assert log.records == []
