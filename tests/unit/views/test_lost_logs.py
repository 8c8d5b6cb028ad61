"""Which steps can have a log. (views/lost_logs.py)"""

from __future__ import annotations

from typing import Any

import pytest

from core.api.phases import Phase
from views.lost_logs import may_have_logged, never_begins
from views.run_view import StepView


def ended(reason: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Progressing", "status": "False", "reason": reason}]}


def retried(obstacle: str) -> dict[str, Any]:
    return {"retries": 1, "failedAttempts": [{"number": 0, "exitCode": 124, "obstacle": obstacle}]}


@pytest.mark.parametrize(
    ("status", "may"),
    [
        ({"phase": "Running"}, True),
        ({"phase": "Failed", **ended("ExecutionFailed"), "exitCode": 1}, True),
        ({"phase": "Failed", **ended("InputSchemaFailed")}, False),
        ({"phase": "Failed", **ended("ExpressionFailed")}, False),
        ({"phase": "Failed", **ended("ExpressionFailed"), "attempt": {"number": 0}}, True),
        ({"phase": "Failed", **ended("InputSchemaFailed"), "retries": 1}, True),
        ({"phase": "Failed", **ended("ReferenceNotFound"), "attempt": {"number": 0}}, True),
        ({"phase": "Succeeded", "cached": True}, False),
        ({"phase": "Timeout", "error": {"details": {"obstacle": "ImageNotPulled"}}}, False),
        ({"phase": "Timeout", "error": {"details": {"obstacle": "ImageNotPulled"}}, "retries": 2}, True),
        (
            {"phase": "Timeout", "error": {"details": {"obstacle": "ImageNotPulled"}}, **retried("ImageNotPulled")},
            False,
        ),
        ({"phase": "Timeout", "error": {"details": {"obstacle": "ImageNotPulled"}}, **retried("")}, True),
        ({"phase": "Running", **retried("ImageNotPulled")}, True),
        ({"phase": "Timeout", "error": {"details": {"obstacle": "ContainerFailsAgain"}}}, True),
        ({"phase": "Timeout", "error": {"details": {"timeout": "9s"}}}, True),
    ],
)
def test_a_step_whose_program_never_ran_has_no_log(status: dict[str, Any], may: bool) -> None:
    assert may_have_logged({"status": status}) is may


def test_a_step_without_a_step_run_has_no_log() -> None:
    assert not may_have_logged(None)


@pytest.mark.parametrize(
    ("kind", "phase", "never"),
    [("gate", None, True), ("engram", None, False), ("engram", Phase.RUNNING, False), ("engram", Phase.SKIPPED, True)],
)
def test_only_what_has_ended_or_has_no_container_never_begins(kind: str, phase: Phase | None, never: bool) -> None:
    step = StepView("load", kind, phase, None, None, "", allow_failure=False)

    assert never_begins(step, None) is never
