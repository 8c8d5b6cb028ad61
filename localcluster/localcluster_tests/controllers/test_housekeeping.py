from datetime import UTC, datetime, timedelta
from typing import Any

from localcluster.controllers.housekeeping import silent_status

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def node(status: str) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": status, "reason": "KubeletReady"}, {"type": "Other", "status": "False"}]
    return {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "status": {"conditions": conditions}}


def test_a_node_that_falls_silent_is_unknown_and_stays_marked_once() -> None:
    renewed = (NOW - timedelta(seconds=41)).isoformat()

    marked = silent_status(node("True"), renewed, NOW)

    assert marked is not None
    assert [(entry["type"], entry["status"]) for entry in marked["conditions"]] == [
        ("Ready", "Unknown"),
        ("Other", "False"),
    ]
    assert silent_status({**node("True"), "status": marked}, renewed, NOW) is None


def test_a_node_that_renewed_its_lease_in_time_is_left_alone() -> None:
    assert silent_status(node("True"), (NOW - timedelta(seconds=39)).isoformat(), NOW) is None
