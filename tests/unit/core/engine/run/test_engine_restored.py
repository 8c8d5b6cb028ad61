"""What becomes of a restored run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from core.api.conditions import find_condition
from core.api.objects import Object
from core.engine.run.restored import adoption_patch, ended_status, own_children, why_not_resumable
from core.engine.status.state import RunState
from kubewire import apply_merge_patch

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CREATED_BY = "runs.bubustack.io/created-by-run"
LOST = "runs.bubustack.io/lost-attempt"
UNDER_WAY: Object = {
    "phase": "Running",
    "observedUid": "old",
    "startedAt": "2026-01-01T10:00:00Z",
    "attempts": 1,
    "stepsTotal": 5,
    "active": ["b", "nap"],
    "stepStates": {
        "a": {"phase": "Succeeded", "startedAt": "2026-01-01T10:00:00Z", "finishedAt": "2026-01-01T10:00:01Z"},
        "b": {"phase": "Running", "startedAt": "2026-01-01T10:00:01Z"},
        "nap": {"phase": "Paused", "startedAt": "2026-01-01T10:00:01Z"},
    },
}


def run(status: Object | None = None, **annotations: str) -> Object:
    metadata = {"name": "one", "namespace": "team", "uid": "new", "annotations": annotations}
    return {"metadata": metadata, "spec": {"storyRef": {"name": "story"}}, "status": status or {}}


def child(created_by: str = "old", status: Object | None = None, **metadata: Any) -> Object:
    annotations = {CREATED_BY: created_by} if created_by else {}
    metadata = {"name": "one-a", "namespace": "team", "annotations": annotations, **metadata}
    return {"metadata": metadata, "spec": {"stepId": "a"}, "status": status or {}}


def ended(stored: Object) -> Object:
    return {**stored, "status": apply_merge_patch(stored["status"], ended_status(stored, "why", NOW))}


def test_a_run_under_way_ends_with_its_steps_and_says_what_to_do() -> None:
    after = ended(run(UNDER_WAY))
    status = after["status"]
    assert (status["phase"], status["error"]["type"], status["observedUid"]) == ("Failed", "Restored", "new")
    assert {name: state["phase"] for name, state in status["stepStates"].items()} == {
        "a": "Succeeded",
        "b": "Canceled",
        "nap": "Canceled",
    }
    assert (status["stepsTotal"], status["stepsComplete"], "active" in status) == (5, 1, False)
    assert "Steps under way in the backup: b, nap." in status["message"]
    assert "bobrapet resubmit one" in status["message"]
    assert "bobrapet retry one --from STEP" in status["message"]
    condition = find_condition(status["conditions"], "Ready")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "Restored")
    assert RunState.from_stored(after).stored_terminal


def test_a_run_without_status_ends_too() -> None:
    status = ended(run())["status"]
    assert (status["phase"], "startedAt" in status, "finishedAt" in status) == ("Failed", False, True)
    assert "bobrapet resubmit one" in status["message"]
    assert "bobrapet retry" not in status["message"]


def test_what_its_former_self_created_belongs_to_it_and_nothing_else() -> None:
    mine, other, nameless = child(), child("another"), child("")
    assert own_children(run(UNDER_WAY), [mine, other, nameless]) == [mine]


def test_without_its_former_uid_all_must_agree_on_one() -> None:
    assert len(own_children(run(), [child(), child(name="one-b")])) == 2
    assert own_children(run(), [child(), child("another")]) == []


@pytest.mark.parametrize(
    ("status", "lost"),
    [
        pytest.param({}, "unknown", id="without status"),
        pytest.param({"phase": "Running", "retries": 1}, "1", id="at work"),
        pytest.param({"phase": "Pending", "retries": 2, "nextRetryAt": "2026-01-01T10:00:00Z"}, None, id="retry waits"),
        pytest.param(
            {
                "phase": "Succeeded",
                "conditions": [{"type": "Progressing", "status": "False"}, {"type": "Ready", "status": "True"}],
            },
            None,
            id="ended",
        ),
    ],
)
def test_an_adopted_step_run_knows_which_attempt_was_lost(status: Object, lost: str | None) -> None:
    claims = {"kind": "Secret", "name": "s", "uid": "x"}
    before = {"kind": "StoryRun", "name": "one", "uid": "old", "controller": True}
    found = child(status=status, ownerReferences=[before, claims])
    patch = adoption_patch(run(UNDER_WAY), found, NOW, is_step_run=True)
    assert [owner["uid"] for owner in patch["ownerReferences"]] == ["new", "x"]
    assert patch["annotations"][CREATED_BY] == "new"
    assert patch["annotations"].get(LOST) == lost


def test_a_child_run_has_no_lost_attempt() -> None:
    assert LOST not in adoption_patch(run(UNDER_WAY), child(), NOW, is_step_run=False)["annotations"]


def test_a_run_continues_only_from_a_status_and_without_streams() -> None:
    stream = {**child(), "spec": {"stepId": "a", "executor": "stream"}}
    assert why_not_resumable(run(UNDER_WAY), [child()]) == ""
    assert "no status" in why_not_resumable(run(), [])
    assert "streams" in why_not_resumable(run(UNDER_WAY), [stream])
    live = run(UNDER_WAY, **{"storyrun.bubustack.io/live-story-uid": "s"})
    assert "streams" in why_not_resumable(live, [])
