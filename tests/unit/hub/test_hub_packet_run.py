"""The StoryRun that a packet starts. (hub/packet_run.py)"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.api import keys
from core.api.keys import RUN_ANNOTATIONS_OF_OPERATOR
from core.api.objects import NamespacedName, Object, controller_of
from core.policy.settings import RunSettings
from hub.child_runs import ChildOrder, ChildRunError
from hub.packet_run import MAX_DEPTH, packet_run_manifest, packet_run_name, result_of, trimmed, why_not_the_run
from reconcilers.adapters.world import owner_uid, packet_parent
from webhooks.caller import Caller
from webhooks.cluster_view import InMemoryView
from webhooks.validate import author

HUB = Caller("system:serviceaccount:bobrapet-system:bobrapet-hub", is_hub=True)
RUN = NamespacedName("team", "run-1")
ORDER = ChildOrder(RUN, "call", "m-1", {"name": "child"}, {"text": "a"}, waits=True, parent_uid="u1")


def parent(status: Object | None = None, **spec: Any) -> Object:
    metadata = {"name": "run-1", "namespace": "team", "uid": "u1", "annotations": {}}
    return {
        "kind": "StoryRun",
        "metadata": metadata,
        "spec": {"storyRef": {"name": "s"}, **spec},
        "status": status or {},
    }


def test_the_run_is_named_by_its_packet_and_belongs_to_the_stream() -> None:
    made = packet_run_manifest(ORDER, parent())
    metadata = made["metadata"]

    assert metadata["name"] == packet_run_name(ORDER)
    assert metadata["name"].startswith("run-1-call-")
    assert metadata["labels"] == {
        "app.kubernetes.io/managed-by": "bobrapet-hub",
        "bubustack.io/parent-storyrun": "run-1",
        "bubustack.io/parent-step": "call",
    }
    assert metadata["ownerReferences"][0]["uid"] == "u1"
    assert made["spec"] == {"storyRef": {"name": "child", "namespace": "team"}, "inputs": {"text": "a"}}


def test_a_job_is_a_run_of_one_step_in_the_name_of_the_stream_and_of_its_depth() -> None:
    order = replace(ORDER, story={}, runs_step=True)
    calling = parent(storyRef={"name": "s", "namespace": "far", "version": "2"})
    calling["metadata"]["annotations"] = {keys.ANNOTATION_STORY_DEPTH: str(MAX_DEPTH)}
    made = packet_run_manifest(order, calling)

    assert made["spec"] == {"storyRef": {"name": "s", "namespace": "far"}, "inputs": {"text": "a"}}
    assert made["metadata"]["annotations"] == {
        keys.ANNOTATION_PACKET_STEP: "call",
        keys.ANNOTATION_PACKET_DEPTH: str(MAX_DEPTH),
    }
    assert why_not_the_run(made, packet_run_manifest(order, calling)) == ""


def test_only_the_hub_starts_single_steps() -> None:
    made = packet_run_manifest(replace(ORDER, story={}, runs_step=True), parent())
    bare = {**made, "metadata": {**made["metadata"], "annotations": {}}}

    def problems(new: Object, old: Object | None, caller: Caller) -> list[str]:
        return [found.path for found in author.validate(new, old, caller, InMemoryView())]

    path = f'metadata.annotations["{keys.ANNOTATION_PACKET_STEP}"]'
    assert problems(made, None, HUB) == []
    assert path in problems(made, None, Caller("ann"))
    assert path in problems(made, bare, HUB)
    assert path in problems(bare, made, Caller("ann"))


def test_another_packet_step_or_stream_has_another_name() -> None:
    others = [
        replace(ORDER, key="M-1"),
        replace(ORDER, key="../m-1"),
        replace(ORDER, step="other"),
        replace(ORDER, parent_uid="u2"),
    ]
    assert len({packet_run_name(each) for each in [ORDER, *others]}) == 5
    assert packet_run_name(replace(ORDER, inputs={})) == packet_run_name(ORDER)


def test_the_engine_takes_it_for_no_step_of_the_run_and_finds_it_to_cancel_it() -> None:
    made = packet_run_manifest(ORDER, parent())

    assert controller_of(made) is None
    assert (owner_uid(made), packet_parent(made)) == ([], ["u1"])
    made["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
    assert packet_parent(made) == []


def test_a_hub_without_any_trust_may_create_it() -> None:
    made = packet_run_manifest(ORDER, parent())

    assert author.validate(made, None, HUB, InMemoryView()) == []
    assert not set(RUN_ANNOTATIONS_OF_OPERATOR) & made["metadata"]["annotations"].keys()


@pytest.mark.parametrize("annotation", RUN_ANNOTATIONS_OF_OPERATOR)
def test_a_hub_that_was_taken_over_marks_no_run_as_the_operator_does(annotation: str) -> None:
    made = packet_run_manifest(ORDER, parent())
    made["metadata"]["annotations"][annotation] = "x"

    assert [found.rule for found in author.validate(made, None, HUB, InMemoryView())] == [author.MARK]


@pytest.mark.parametrize("kind", ["StoryRun", "StepRun"])
def test_a_hub_that_was_taken_over_makes_no_child_of_a_run(kind: str) -> None:
    made = packet_run_manifest(ORDER, parent())
    made["metadata"]["ownerReferences"] = [{"kind": kind, "name": "run", "uid": "u1", "controller": True}]

    assert [found.rule for found in author.validate(made, None, HUB, InMemoryView())] == [author.CONTROLLER]


def test_the_story_is_that_of_the_step_beside_the_calling_one_unless_it_says_otherwise() -> None:
    calling = parent(storyRef={"name": "s", "namespace": "shared"})
    there = replace(ORDER, story={"name": "child", "namespace": "far", "version": "2", "uid": "x"}, inputs={})

    assert packet_run_manifest(ORDER, calling)["spec"]["storyRef"] == {"name": "child", "namespace": "shared"}
    assert packet_run_manifest(there, calling)["spec"] == {
        "storyRef": {"name": "child", "namespace": "far", "version": "2"}
    }


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        (parent() | {"metadata": {**parent()["metadata"], "uid": "u2"}}, "does not exist any more"),
        (parent() | {"metadata": {**parent()["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}, "is ending"),
        (parent({"phase": "Failed"}), "is ending"),
        (parent(cancelRequested=True), "is ending"),
    ],
)
def test_a_stream_that_ends_starts_nothing(stored: Object, why: str) -> None:
    with pytest.raises(ChildRunError, match=why):
        packet_run_manifest(ORDER, stored)


def test_stories_that_call_each_other_in_a_circle_stop() -> None:
    assert RunSettings().max_story_depth == MAX_DEPTH
    calling = parent()
    for _ in range(MAX_DEPTH):
        calling["metadata"]["annotations"] = packet_run_manifest(ORDER, calling)["metadata"]["annotations"]
    with pytest.raises(ChildRunError, match="cycle of calls"):
        packet_run_manifest(ORDER, calling)
    calling["metadata"]["annotations"] = {keys.ANNOTATION_STORY_DEPTH: "3"}
    assert packet_run_manifest(ORDER, calling)["metadata"]["annotations"] == {keys.ANNOTATION_PACKET_DEPTH: "4"}


def test_a_run_of_that_name_is_taken_only_if_it_is_the_same() -> None:
    wanted = packet_run_manifest(ORDER, parent())
    stored = packet_run_manifest(ORDER, parent())
    other = packet_run_manifest(replace(ORDER, inputs={"text": "b"}), parent())

    assert why_not_the_run(wanted, stored) == ""
    assert "does not belong to this run" in why_not_the_run(wanted, {**stored, "metadata": {"name": "x"}})
    assert "other inputs" in why_not_the_run(wanted, other)
    stored["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert "being deleted" in why_not_the_run(wanted, stored)


def ended(phase: str, **status: Any) -> Object:
    return {"metadata": {"name": "r", "uid": "u"}, "spec": {}, "status": {"phase": phase, **status}}


def test_its_output_goes_on_and_anything_else_says_why() -> None:
    assert result_of(ended("Succeeded", output={"a": [1]})) == {"a": [1]}
    assert result_of(ended("Succeeded")) == {}
    of_step = ended("Succeeded", output={"output": {"a": 1}})
    of_step["metadata"]["annotations"] = {keys.ANNOTATION_PACKET_STEP: "call"}
    assert result_of(of_step) == {"a": 1}
    with pytest.raises(ChildRunError, match=r"StoryRun r has ended as Failed: no luck"):
        result_of(ended("Failed", message="no luck"))


def test_what_is_in_object_storage_is_in_the_output_as_a_reference() -> None:
    reference = {"$bubuStorageRef": "outputs/team/r/a", "$bubuStorageContentType": "application/json"}
    called = ended("Succeeded", output={"a": [reference]})
    assert result_of(called) == {"a": [reference]}

    def of_step(output: Object | None) -> Object:
        run = ended("Succeeded", message="All steps completed; output was left out", output=output)
        run["metadata"]["annotations"] = {keys.ANNOTATION_PACKET_STEP: "call"}
        return run

    assert result_of(of_step({"output": reference})) == reference
    assert result_of(of_step(reference)) == {**reference, "$bubuStoragePath": "output"}
    with pytest.raises(ChildRunError, match="StoryRun r has no output: All steps completed; output was left out"):
        result_of(of_step(None))


def test_of_a_run_its_phase_is_kept() -> None:
    kept = trimmed({**ended("Running", output={"a": 1}), "spec": {"inputs": {"secret": "x"}}})

    assert kept == {"metadata": {"name": "r", "uid": "u"}, "status": {"phase": "Running"}}
