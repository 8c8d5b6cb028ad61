"""Whether a step may have been at work before this process starts it."""

from __future__ import annotations

from typing import Any

import pytest

from core.engine.step.past import may_have_a_past, may_have_begun, why_missing_in_backup

OBSERVED = "storyrun.bubustack.io/redrive-observed"


def _below(parent: str, name: str = "child") -> dict[str, Any]:
    owner = {"kind": "StoryRun", "name": parent, "uid": f"uid-{parent}", "controller": True}
    return {"metadata": {"name": name, "namespace": "team", "ownerReferences": [owner]}}


@pytest.mark.parametrize(
    ("above", "may"),
    [
        pytest.param({"top": {}}, False, id="nobody has run again"),
        pytest.param({"top": {OBSERVED: "t"}}, True, id="the top has"),
        pytest.param({}, True, id="it is not known"),
    ],
)
def test_a_called_run_may_have_a_past_when_one_above_it_has_run_again(above: dict[str, Any], may: bool) -> None:
    runs: dict[str, Any] = {
        name: {"metadata": {"name": name, "namespace": "team", "annotations": notes}} for name, notes in above.items()
    }
    runs["middle"] = _below("top", "middle")
    assert may_have_a_past(_below("middle"), lambda namespace, name: runs.get(name)) is may


@pytest.mark.parametrize(
    ("state", "may"),
    [
        pytest.param(None, False, id="no state"),
        pytest.param({"phase": "Pending", "reason": "Queued"}, False, id="waits for its first slot"),
        pytest.param(
            {"phase": "Pending", "reason": "Queued", "reasonSince": "2026-01-02T03:04:05Z"}, True, id="lost its slot"
        ),
        pytest.param({"phase": "Running", "reason": "Running"}, True, id="runs"),
        pytest.param({"phase": "Succeeded", "reason": "Completed"}, True, id="has ended"),
        pytest.param({"phase": "nonsense"}, False, id="damaged"),
    ],
)
def test_a_step_with_a_state_may_have_begun(state: Any, may: bool) -> None:
    states = {"a": state} if state is not None else {}

    assert may_have_begun({"status": {"stepStates": states}}, "a") is may
    assert not may_have_begun({}, "a")


@pytest.mark.parametrize(
    ("state", "restored_at", "missing"),
    [
        pytest.param(
            {"phase": "Running", "startedAt": "2026-01-01T10:00:00Z"}, "2026-01-02T00:00:00Z", True, id="begun"
        ),
        pytest.param({"phase": "Running", "startedAt": "2026-01-01T10:00:00Z"}, None, False, id="not restored"),
        pytest.param(
            {"phase": "Running", "startedAt": "2026-01-02T00:00:00Z"}, "2026-01-02T00:00:00Z", False, id="later"
        ),
        pytest.param(None, "2026-01-02T00:00:00Z", False, id="not begun"),
        pytest.param(
            {"phase": "Pending", "reason": "Queued"}, "2026-01-02T00:00:00Z", False, id="it waited for a slot"
        ),
    ],
)
def test_a_step_that_had_begun_in_a_backup_without_its_step_run_does_not_start(
    state: dict[str, Any] | None, restored_at: str | None, missing: bool
) -> None:
    annotations = {"runs.bubustack.io/restored-at": restored_at} if restored_at else {}
    run = {"metadata": {"annotations": annotations}, "status": {"stepStates": {"a": state} if state else {}}}
    assert (why_missing_in_backup(run, "a") is not None) is missing
