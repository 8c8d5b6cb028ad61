"""How long an assignment takes: from the operator's instant, and only for what begins while it is measured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bench.warm import Assignments
from core.api.objects import Object
from core.engine.clock import system_now
from core.engine.step.assignment import Assignment, assignment_patch
from core.kube.informer import Change
from core.kube.store import ChangeKind


def step_run(name: str, assigned_at: float, entered_at: float) -> Change:
    deadline = datetime.fromtimestamp(assigned_at, UTC) + timedelta(minutes=5)
    patch = assignment_patch(Assignment(0, "w1", "u1", deadline, environment={"BUBU_STEP_TIMEOUT": "5m0s"}))
    made: Object = {"metadata": {"name": name, **patch}, "status": {"output": {"entered": entered_at}}}
    return Change(ChangeKind.ADDED, None, made)


def test_the_delay_begins_when_the_operator_assigns() -> None:
    seen, now = Assignments(), system_now().timestamp()
    seen.note(step_run("one", now - 2.0, now - 1.5))
    assert seen.delays() == [pytest.approx(0.5, abs=0.001)]
    assert seen.delays_as_seen()[0] < -1.4, "the observer was late"


def test_what_was_there_before_is_not_counted() -> None:
    seen, now = Assignments(frozenset({"earlier"})), system_now().timestamp()
    for name in ("earlier", "one"):
        seen.note(step_run(name, now, now + 0.1))
    assert len(seen.delays()) == len(seen.delays_as_seen()) == 1
