from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core.engine.plan import StepPlan
from core.engine.ports import Binding
from core.engine.slots.scheduling import Scheduling
from core.engine.step.manifest import (
    idempotency_key,
    is_edited,
    merged_input,
    size_bytes,
    step_run_manifest,
    why_not_the_work,
)
from core.policy.retry import RetryPolicy
from core.story.kinds import StepKind

BINDING = Binding(
    engram_namespace="prod",
    engram_name="charge",
    engram_version="",
    template_name="http",
    template_generation=4,
    default_with=None,
    retry_spec={"maxRetries": 2},
    retry=RetryPolicy(),
    timeout=timedelta(minutes=30),
    max_inline_size_bytes=4096,
    input_schema=None,
    output_schema=None,
    declared_output_keys=None,
    executor="job",
)
RUN: dict[str, Any] = {"metadata": {"name": "order-run", "namespace": "prod", "uid": "u1"}, "spec": {}}
STORY: dict[str, Any] = {"metadata": {"name": "order"}, "spec": {}}
STEP: dict[str, Any] = {
    "name": "charge",
    "ref": {"name": "charge", "namespace": "prod"},
    "execution": {"timeout": "5m"},
}


QUEUE = Scheduling("bulk-jobs", 7)


def planned(step: dict[str, Any]) -> StepPlan:
    return StepPlan(step["name"], StepKind.ENGRAM, step)


def test_a_step_run_is_created_as_the_contract_says() -> None:
    manifest = step_run_manifest(RUN, STORY, planned(STEP), BINDING, {"n": "{{ steps.a.output.n }}"}, "key", QUEUE, "")

    assert manifest == {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "StepRun",
        "metadata": {
            "name": "order-run-charge",
            "namespace": "prod",
            "labels": {
                "bubustack.io/storyrun": "order-run",
                "bubustack.io/story-name": "order",
                "bubustack.io/queue": "bulk-jobs",
                "bubustack.io/queue-priority": "7",
            },
            "annotations": {"runs.bubustack.io/created-by-run": "u1", "velero.io/restore-status": "true"},
            "ownerReferences": [
                {
                    "apiVersion": "runs.bubustack.io/v1alpha1",
                    "kind": "StoryRun",
                    "name": "order-run",
                    "uid": "u1",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "storyRunRef": {"name": "order-run"},
            "stepId": "charge",
            "idempotencyKey": "key",
            "engramRef": {"name": "charge", "namespace": "prod"},
            "templateGeneration": 4,
            "executor": "job",
            "input": {"n": "{{ steps.a.output.n }}"},
            "timeout": "5m",
            "retry": {"maxRetries": 2},
        },
    }


def test_a_step_run_that_names_no_executor_stands_for_the_same_work_as_one_for_jobs() -> None:
    wanted = step_run_manifest(RUN, STORY, planned(STEP), BINDING, {"n": 1}, "key", QUEUE, "")
    nameless = {**wanted, "spec": {key: value for key, value in wanted["spec"].items() if key != "executor"}}
    other = {**wanted, "spec": {**wanted["spec"], "executor": "worker"}}

    assert why_not_the_work(wanted, nameless) is None
    assert why_not_the_work(wanted, other) == "spec.executor"


def test_a_correlation_id_is_carried_on_as_label_and_annotation() -> None:
    run = {**RUN, "metadata": {**RUN["metadata"], "annotations": {"bubustack.io/correlation-id": "Trace 7"}}}
    metadata = step_run_manifest(run, STORY, planned(STEP), BINDING, None, "key", QUEUE, "")["metadata"]

    assert metadata["labels"]["bubustack.io/correlation-id"] == "trace-7"
    assert metadata["annotations"]["bubustack.io/correlation-id"] == "Trace 7"


def test_a_story_name_too_long_for_a_label_is_shortened() -> None:
    story = {**STORY, "metadata": {"name": "s" * 80}}
    labels = step_run_manifest(RUN, story, planned(STEP), BINDING, None, "key", QUEUE, "")["metadata"]["labels"]

    assert len(labels["bubustack.io/story-name"]) == 63


@pytest.mark.parametrize(
    ("base", "overlay", "merged"),
    [
        (None, None, None),
        ({"a": 1}, None, {"a": 1}),
        (None, {"a": 1}, {"a": 1}),
        ({"a": {"x": 1, "y": 1}, "l": [1, 2]}, {"a": {"y": 2}, "l": [3]}, {"a": {"x": 1, "y": 2}, "l": [3]}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}),
    ],
)
def test_inputs_merge_objects_and_replace_the_rest(base: Any, overlay: Any, merged: Any) -> None:
    assert merged_input(base, overlay) == merged


def test_merging_changes_neither_side() -> None:
    base, overlay = {"a": {"x": [1]}}, {"a": {"y": [2]}}
    result = merged_input(base, overlay)
    assert result is not None
    result["a"]["x"].append(9)
    result["a"]["y"].append(9)

    assert (base, overlay) == ({"a": {"x": [1]}}, {"a": {"y": [2]}})


@pytest.mark.parametrize(
    ("rendered", "key"),
    [
        (None, "ns/prod/storyrun/order-run/step/charge"),
        ("  ", "ns/prod/storyrun/order-run/step/charge"),
        (" order-7 ", "order-7"),
        (7, "7"),
        (True, "true"),
        ("x" * 300, "x" * 256),
        ("ä" * 200, "ä" * 128),
        ("x" + "ä" * 200, "x" + "ä" * 127),
    ],
)
def test_a_rendered_key_is_trimmed_and_cut_between_characters(rendered: object, key: str) -> None:
    assert idempotency_key("prod", "order-run", "charge", rendered) == key


def test_sizes_are_of_compact_json() -> None:
    assert size_bytes({"a": [1, "ä"]}) == len('{"a":[1,"ä"]}'.encode())


def test_a_script_takes_the_place_of_the_engram_and_is_part_of_the_work() -> None:
    step = {"name": "count", "run": "echo {{", "image": "busybox", "shell": ["sh"], "with": {"n": 1}}
    wanted = step_run_manifest(RUN, STORY, planned(step), BINDING, {"n": 1}, "key", QUEUE, "")
    other = {**wanted, "spec": {**wanted["spec"], "script": {"run": "evil", "image": "busybox", "shell": ["sh"]}}}

    assert wanted["spec"]["script"] == {"run": "echo {{", "image": "busybox", "shell": ["sh"]}
    assert wanted["spec"].keys().isdisjoint({"engramRef", "templateGeneration"})
    assert why_not_the_work(wanted, wanted) is None
    assert why_not_the_work(wanted, other) == "spec.script"


def test_the_go_operator_changes_the_spec_of_its_step_runs() -> None:
    ours: dict[str, Any] = {"metadata": {"generation": 2}, "spec": {"executor": "job"}}
    theirs: dict[str, Any] = {
        "metadata": {"generation": 2, "finalizers": ["steprun.bubustack.io/finalizer"]},
        "spec": {"retry": {"maxRetries": 1}},
    }

    assert is_edited(ours)
    assert is_edited({**ours, "metadata": {**theirs["metadata"]}})
    assert not is_edited(theirs)
