"""The mark of the first creation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from core.api.objects import Object
from webhooks.defaults.created import with_created_mark

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def new(kind: str = "StoryRun", **metadata: Any) -> Object:
    return {"kind": kind, "metadata": {"name": "one", **metadata}}


@pytest.mark.parametrize("kind", ["StoryRun", "StoryTrigger"])
def test_a_new_run_or_request_is_marked_once(kind: str) -> None:
    marked = with_created_mark(new(kind, annotations={"mine": "x"}), NOW)
    assert marked["metadata"]["annotations"] == {
        "mine": "x",
        "bubustack.io/created": "one 2026-01-02T03:04:05Z",
        "velero.io/restore-status": "true",
    }
    assert with_created_mark(marked, NOW.replace(year=2027)) == marked


def test_a_user_may_exclude_the_status() -> None:
    marked = with_created_mark(new(annotations={"velero.io/restore-status": "false"}), NOW)
    assert marked["metadata"]["annotations"]["velero.io/restore-status"] == "false"


@pytest.mark.parametrize("obj", [new("Story"), {"kind": "StoryRun"}, new(annotations="damaged")])
def test_others_stay_as_they_are(obj: Object) -> None:
    assert with_created_mark(obj, NOW) == obj
