"""What a live run has in its metadata."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.api.objects import Object
from core.engine.run_marks import marked, missing_marks, needed_marks
from core.policy.settings import OperatorSettings, QueueSettings, RunSettings, StorageProvider, StorageSettings
from tests.unit.reconcilers.reconciler_samples import controlled, run, story

FINALIZER = "storyrun.bubustack.io/finalizer"
KEEP = {"bubustack.io/keep-stored-data": "true"}
SETTINGS = OperatorSettings()
WITH_STORE = OperatorSettings(storage=StorageSettings(StorageProvider.FILE, file_path="/volume"))
LABELS = {"bubustack.io/queue": "default", "bubustack.io/queue-priority": "0"}


def test_a_new_run_gets_everything_in_one_patch() -> None:
    new = run(meta={"annotations": {"bubustack.io/correlation-id": " Order 42 "}, "finalizers": ["x/y"]})
    everything = {
        "finalizers": ["x/y", FINALIZER],
        "labels": {**LABELS, "bubustack.io/correlation-id": "order-42"},
    }
    assert missing_marks(new, story(), WITH_STORE) == everything
    assert needed_marks(new, story(), WITH_STORE) == everything


def test_a_marked_run_needs_no_patch() -> None:
    made = run(meta={"finalizers": [FINALIZER], "labels": {**LABELS, "other": "x"}})
    assert missing_marks(made, story(), WITH_STORE) == {}


def test_only_what_differs_is_patched() -> None:
    made = run(meta={"finalizers": [FINALIZER], "labels": {**LABELS, "bubustack.io/queue": "slow"}})
    assert needed_marks(made, story(), WITH_STORE) == {"labels": {"bubustack.io/queue": "default"}}


def test_a_run_without_its_story_gets_the_finalizer_only() -> None:
    assert missing_marks(run(), None, WITH_STORE) == {"finalizers": [FINALIZER]}


@pytest.mark.parametrize(
    ("settings", "of_story", "of_run"),
    [
        (SETTINGS, {}, {}),
        (replace(WITH_STORE, storage=replace(WITH_STORE.storage, delete_with_run=False)), {}, {}),
        (WITH_STORE, {}, KEEP),
        (WITH_STORE, KEEP, {}),
    ],
    ids=["no store", "the operator keeps it", "the run keeps it", "the Story keeps it"],
)
def test_a_run_without_stored_data_to_delete_needs_no_finalizer(
    settings: OperatorSettings, of_story: Object, of_run: Object
) -> None:
    keeping = story()
    keeping["metadata"]["annotations"] = of_story
    assert "finalizers" not in missing_marks(run(meta={"annotations": of_run}), keeping, settings)


def test_a_run_notes_that_its_story_keeps_stored_data() -> None:
    keeping = story()
    keeping["metadata"]["annotations"] = KEEP
    assert needed_marks(run(), keeping, WITH_STORE)["annotations"] == KEEP


def test_the_usual_labels_alone_are_no_reason_for_a_patch() -> None:
    assert missing_marks(run(), story(), SETTINGS) == {"labels": LABELS}
    assert needed_marks(run(), story(), SETTINGS) == {}


@pytest.mark.parametrize("labels", [{"bubustack.io/queue": "slow"}, {"bubustack.io/queue-priority": "9"}])
def test_wrong_labels_are_corrected(labels: Object) -> None:
    corrected = LABELS.items() - labels.items()
    assert needed_marks(run(meta={"labels": labels}), story(), SETTINGS) == {"labels": dict(corrected)}


@pytest.mark.parametrize("annotation", ["", "   "])
def test_a_blank_correlation_id_is_none(annotation: str) -> None:
    new = run(meta={"annotations": {"bubustack.io/correlation-id": annotation}})
    assert missing_marks(new, None, SETTINGS) == {}


@pytest.mark.parametrize(
    ("policy", "queue", "priority"), [({"queue": " Fast "}, "fast", "7"), ({"priority": 2}, "default", "2")]
)
def test_queue_and_priority_are_the_runs(policy: dict[str, Any], queue: str, priority: str) -> None:
    settings = replace(SETTINGS, runs=RunSettings(queues={"fast": QueueSettings(default_priority=7)}))
    assert needed_marks(run(), story(policy=policy), settings)["labels"] == {
        "bubustack.io/queue": queue,
        "bubustack.io/queue-priority": priority,
    }


def test_a_child_keeps_what_its_parent_gave_it() -> None:
    meta = {
        "labels": {"bubustack.io/queue": "gpu", "bubustack.io/queue-priority": "5"},
        "annotations": {"runs.bubustack.io/parent-scheduling": "gpu/5"},
        "ownerReferences": [controlled(run("parent"))],
    }
    assert missing_marks(run("child", meta=meta), story(), SETTINGS) == {}


def test_a_run_that_has_begun_keeps_its_queue_when_the_story_gets_another() -> None:
    edited = story(policy={"queue": "fast", "priority": 3})
    meta = {"labels": LABELS}
    assert needed_marks(run(meta=meta), edited, SETTINGS)["labels"]["bubustack.io/queue"] == "fast"
    begun = run(meta=meta, status={"startedAt": "2025-01-02T03:00:00Z"})
    assert missing_marks(begun, edited, SETTINGS) == {}


def test_a_run_that_began_without_labels_gets_them() -> None:
    begun = run(status={"startedAt": "2025-01-02T03:00:00Z"})
    assert needed_marks(begun, story(policy={"priority": 3}), SETTINGS)["labels"]["bubustack.io/queue-priority"] == "3"


def test_a_run_that_is_about_to_be_created_gets_all_of_it_once() -> None:
    new = run(meta={"labels": {"mine": "kept"}, "finalizers": ["x/y"]})
    made = marked(new, story(), WITH_STORE)
    assert made["metadata"]["labels"] == {"mine": "kept", **LABELS}
    assert made["metadata"]["finalizers"] == ["x/y", FINALIZER]
    assert (new["metadata"]["labels"], new["metadata"]["finalizers"]) == ({"mine": "kept"}, ["x/y"])
    assert marked(made, story(), WITH_STORE) == made
