"""How a restored object is recognized."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.api.objects import Object
from core.workloads.restored import created_mark, is_alien, is_restored_child, is_restored_run, was_created_before

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MADE = "2026-01-02T03:04:05Z"
LONG_AGO = "2026-01-01T03:04:05Z"


def run(status: Object | None = None, **metadata: Any) -> Object:
    return {"metadata": {"name": "one", "uid": "new", "creationTimestamp": MADE, **metadata}, "status": status or {}}


@pytest.mark.parametrize(
    ("stored", "restored"),
    [
        pytest.param(run(), False, id="a new run"),
        pytest.param(run({"phase": "Running", "observedUid": "new"}), False, id="at work"),
        pytest.param(run({"phase": "Running", "observedUid": "old"}), True, id="its status is of another UID"),
        pytest.param(run(labels={"velero.io/restore-name": "r"}), True, id="Velero has labelled it"),
        pytest.param(
            run({"observedUid": "new"}, labels={"velero.io/restore-name": "r"}), False, id="it was taken over since"
        ),
        pytest.param(run(annotations={"bubustack.io/created": f"one {LONG_AGO}"}), True, id="created a day earlier"),
        pytest.param(
            run(annotations={"bubustack.io/created": "one 2026-01-02T03:00:05Z"}), False, id="clocks may differ"
        ),
        pytest.param(run(annotations={"bubustack.io/created": f"two {LONG_AGO}"}), False, id="a copy by a user"),
        pytest.param(
            run(annotations={"bubustack.io/created": f"on- {LONG_AGO}"}), False, id="of another generated name"
        ),
        pytest.param(
            run(name="on-e1x2z", annotations={"bubustack.io/created": f"on- {LONG_AGO}"}), True, id="a generated name"
        ),
        pytest.param(run(annotations={"bubustack.io/created": "garbage"}), False, id="a damaged mark"),
        pytest.param(run(annotations={"runs.bubustack.io/created-by-run": "u"}), True, id="a child run without parent"),
        pytest.param(run({"startedAt": LONG_AGO}), True, id="an operator that recorded no UID has started it"),
    ],
)
def test_a_restored_run_is_recognized(stored: Object, restored: bool) -> None:
    assert is_restored_run(stored) is restored


def test_a_request_that_was_accepted_before_it_was_created_is_restored() -> None:
    assert was_created_before(run({"acceptedAt": LONG_AGO}))
    assert not was_created_before(run({"acceptedAt": MADE}))


@pytest.mark.parametrize(
    ("metadata", "mark"),
    [
        ({"name": "one"}, f"one {MADE}"),
        ({"generateName": "on-"}, f"on- {MADE}"),
        ({"name": "one", "annotations": {"bubustack.io/created": f"one {LONG_AGO}"}}, f"one {LONG_AGO}"),
        ({"name": "one", "annotations": {"bubustack.io/created": f"two {LONG_AGO}"}}, f"one {MADE}"),
        ({"name": "on-e1", "annotations": {"bubustack.io/created": f"on- {LONG_AGO}"}}, f"on- {LONG_AGO}"),
    ],
)
def test_the_mark_of_the_first_creation_stays_with_the_name(metadata: Object, mark: str) -> None:
    assert created_mark(metadata, NOW) == mark
    later = {**metadata, "annotations": {"bubustack.io/created": mark}}
    assert created_mark(later, NOW + timedelta(days=1)) == mark


def child(created_by: str, controlled_by: str, **annotations: str) -> Object:
    owners = [{"uid": controlled_by, "controller": True}] if controlled_by else []
    by = {"runs.bubustack.io/created-by-run": created_by} if created_by else {}
    return {"metadata": {"name": "one-a", "ownerReferences": owners, "annotations": by | annotations}}


def test_a_child_whose_creator_does_not_control_it_is_alien() -> None:
    assert [is_alien(child("old", owner)) for owner in ("old", "new", "")] == [False, True, True]
    assert not is_alien(child("", "new"))  # by an operator that did not record it


def test_a_child_that_was_taken_over_is_known_as_restored() -> None:
    assert is_restored_child(child("new", "new", **{"runs.bubustack.io/restored-at": MADE}))
    assert not is_restored_child(child("new", "new"))
