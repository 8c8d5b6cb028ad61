"""What a live run has in its metadata."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.policy.settings import OperatorSettings, QueueSettings, RunSettings
from reconcilers.marking import marking_patch
from tests.unit.reconcilers.reconciler_samples import controlled, run, story

FINALIZER = "storyrun.bubustack.io/finalizer"
SETTINGS = OperatorSettings()
LABELS = {"bubustack.io/queue": "default", "bubustack.io/queue-priority": "0"}


def test_a_new_run_gets_everything_in_one_patch() -> None:
    new = run(meta={"annotations": {"bubustack.io/correlation-id": " Order 42 "}, "finalizers": ["x/y"]})
    assert marking_patch(new, story(), SETTINGS) == {
        "finalizers": ["x/y", FINALIZER],
        "labels": {**LABELS, "bubustack.io/correlation-id": "order-42"},
    }


def test_a_marked_run_needs_no_patch() -> None:
    marked = run(meta={"finalizers": [FINALIZER], "labels": {**LABELS, "other": "x"}})
    assert marking_patch(marked, story(), SETTINGS) == {}


def test_only_what_differs_is_patched() -> None:
    marked = run(meta={"finalizers": [FINALIZER], "labels": {**LABELS, "bubustack.io/queue": "slow"}})
    assert marking_patch(marked, story(), SETTINGS) == {"labels": {"bubustack.io/queue": "default"}}


def test_a_run_without_its_story_gets_the_finalizer_only() -> None:
    assert marking_patch(run(), None, SETTINGS) == {"finalizers": [FINALIZER]}


@pytest.mark.parametrize("annotation", ["", "   "])
def test_a_blank_correlation_id_is_none(annotation: str) -> None:
    new = run(meta={"annotations": {"bubustack.io/correlation-id": annotation}})
    assert marking_patch(new, None, SETTINGS) == {"finalizers": [FINALIZER]}


@pytest.mark.parametrize(
    ("policy", "queue", "priority"), [({"queue": " Fast "}, "fast", "7"), ({"priority": 2}, "default", "2")]
)
def test_queue_and_priority_are_the_runs(policy: dict[str, Any], queue: str, priority: str) -> None:
    settings = replace(SETTINGS, runs=RunSettings(queues={"fast": QueueSettings(default_priority=7)}))
    assert marking_patch(run(), story(policy=policy), settings)["labels"] == {
        "bubustack.io/queue": queue,
        "bubustack.io/queue-priority": priority,
    }


def test_a_child_keeps_what_its_parent_gave_it() -> None:
    meta = {
        "finalizers": [FINALIZER],
        "labels": {"bubustack.io/queue": "gpu", "bubustack.io/queue-priority": "5"},
        "annotations": {"runs.bubustack.io/parent-scheduling": "gpu/5"},
        "ownerReferences": [controlled(run("parent"))],
    }
    assert marking_patch(run("child", meta=meta), story(), SETTINGS) == {}


def test_a_run_that_has_begun_keeps_its_queue_when_the_story_gets_another() -> None:
    edited = story(policy={"queue": "fast", "priority": 3})
    meta = {"finalizers": [FINALIZER], "labels": LABELS}
    assert marking_patch(run(meta=meta), edited, SETTINGS)["labels"]["bubustack.io/queue"] == "fast"
    begun = run(meta=meta, status={"startedAt": "2025-01-02T03:00:00Z"})
    assert marking_patch(begun, edited, SETTINGS) == {}


def test_a_run_that_began_without_labels_gets_them() -> None:
    begun = run(meta={"finalizers": [FINALIZER]}, status={"startedAt": "2025-01-02T03:00:00Z"})
    assert marking_patch(begun, story(), SETTINGS) == {"labels": LABELS}
