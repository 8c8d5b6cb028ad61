"""When a step counts as started. Only one module may decide this."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import core.engine
from core.api.phases import Phase
from core.engine.context.step_start import found_begun
from core.engine.status.state import RunState

ENGINE: Final = Path(core.engine.__file__).parent
RECORDERS: Final = (ENGINE / "context" / "step_start.py", ENGINE / "status" / "state.py")
EARLIER: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER: Final = datetime(2026, 1, 2, 3, 4, 9, tzinfo=UTC)


def nothing_begun() -> RunState:
    return RunState.from_stored({"metadata": {"name": "run", "namespace": "team"}, "spec": {}})


def test_only_one_module_records_that_a_step_has_started() -> None:
    elsewhere = [
        f"{path.relative_to(ENGINE)}:{node.lineno}"
        for path in sorted(ENGINE.rglob("*.py"))
        if path not in RECORDERS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("step_started", "step_queued", "step_launched")
    ]
    assert not elsewhere, "call core.engine.context.step_start instead"


def test_what_is_around_a_step_that_has_begun_has_begun_too() -> None:
    state = found_begun(nothing_begun(), "fan/inner/call", EARLIER, Phase.PAUSED, child_run="child")

    assert {name: step.phase for name, step in (state.steps or {}).items()} == {
        "fan": Phase.RUNNING,
        "fan/inner": Phase.RUNNING,
        "fan/inner/call": Phase.PAUSED,
    }
    assert {name: step.child_run for name, step in (state.steps or {}).items() if step.child_run} == {
        "fan/inner/call": "child"
    }


def test_a_start_that_is_recorded_stays() -> None:
    state = found_begun(nothing_begun(), "fan/a", EARLIER)

    assert found_begun(state, "fan/a", LATER) is state
    again = found_begun(state, "fan/b", LATER)
    assert [step.started_at for step in (again.steps or {}).values()] == [EARLIER, EARLIER, LATER]
