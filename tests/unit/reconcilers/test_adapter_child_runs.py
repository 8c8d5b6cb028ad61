"""Which StoryRun is the child that a step would create."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from reconcilers.adapters.child_runs import why_not_the_child
from tests.unit.reconcilers.reconciler_samples import run, stored

PARENT = run("parent")


def child(path: str = "call", owner: Object | None = PARENT, **spec: Any) -> Object:
    reference = {"name": "sub", "namespace": "team", "uid": "u"}
    meta = {"annotations": {"runs.bubustack.io/step-path": path}}
    return stored("StoryRun", "parent-call", owner=owner, meta=meta, spec={"storyRef": reference, **spec})


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        (child(), child()),
        (child(inputs={"a": 1}), child(inputs={"a": 1.0})),
        (child(inputs={}), child()),
        (child(), child(storyRef={"name": "sub", "uid": "u"})),
        (child(), child(cancelRequested=True)),
    ],
)
def test_the_child_is_known_by_parent_step_story_and_inputs(wanted: Object, there: Object) -> None:
    assert why_not_the_child(PARENT, wanted, there) is None


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (child(owner=None), "was started by another owner, not to StoryRun team/parent"),
        (child(owner=run("other")), "belongs to StoryRun other, not to StoryRun team/parent"),
        (child(owner=run("parent", meta={"uid": "of an earlier one"})), "belongs to StoryRun parent"),
        (child("fan/call"), "belongs to step 'fan/call' of StoryRun team/parent; rename step 'call'"),
        (
            child(storyRef={"name": "other"}),
            "runs Story team/other, but StoryRun team/parent calls Story team/sub",
        ),
        (child(storyRef={"name": "sub", "uid": "v"}), "runs Story team/sub (v)"),
        (child(storyRef={"name": "sub", "namespace": "b", "uid": "u"}), "runs Story b/sub (u)"),
        (child(inputs={"a": True}), "exists with other inputs than StoryRun team/parent gives it"),
    ],
)
def test_a_stranger_is_told_from_it_and_both_are_named(there: Object, told: str) -> None:
    why = why_not_the_child(PARENT, child(inputs={"a": 1}) if "inputs" in there["spec"] else child(), there)
    assert why is not None
    assert why.startswith("StoryRun team/parent-call ")
    assert told in why
