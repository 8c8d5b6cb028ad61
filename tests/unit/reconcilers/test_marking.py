"""What a live run carries in its metadata."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from reconciler_samples import run, story

from core.policy.settings import OperatorSettings, QueueSettings, RunSettings
from reconcilers.marking import marking_patch, scheduling_labels

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
    ("policy", "queue", "priority"),
    [
        ({}, "default", "0"),
        ({"queue": " Fast "}, "fast", "7"),
        ({"queue": "fast", "priority": 0}, "fast", "0"),
        ({"queue": "fast", "priority": -3}, "fast", "-3"),
        ({"queue": "unknown"}, "unknown", "0"),
        ({"queue": "  "}, "default", "0"),
    ],
)
def test_queue_and_priority_come_from_the_story_then_from_the_queue(
    policy: dict[str, Any], queue: str, priority: str
) -> None:
    settings = replace(SETTINGS, runs=RunSettings(queues={"fast": QueueSettings(default_priority=7)}))
    assert scheduling_labels(story(policy=policy), settings) == {
        "bubustack.io/queue": queue,
        "bubustack.io/queue-priority": priority,
    }
