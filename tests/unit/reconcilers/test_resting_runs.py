"""What a note says of a finished run is what a look at the run says, whatever else is there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from bubu_contract.instants import format_instant
from core.api import keys
from core.api.objects import Object
from core.api.resource import STORY_TRIGGER
from core.policy.settings import OperatorSettings
from reconcilers.adapters.rest_note import RestNote, rest_note
from reconcilers.adapters.triggers import is_awaited
from reconcilers.resting_runs import RestingRuns
from reconcilers.retention import KeepUntil
from reconcilers.runtime.controller import Key
from reconcilers.storyrun import StoryRunReconciler, _until
from tests.unit.reconcilers.reconciler_samples import (
    NOW,
    RecordingSupervisor,
    clock,
    controlled,
    open_world,
    run,
    step_run,
    stored,
    story,
)

FINALIZER = {"finalizers": [keys.FINALIZER_STEP_RUN]}
RESTORED_FROM_BACKUP = {
    "annotations": {keys.ANNOTATION_CREATED_BY_RUN: "uid-of-another"},
    "labels": {keys.LABEL_STORY_RUN: "old"},
}
ANNOTATIONS: tuple[dict[str, str], ...] = (
    {},
    {keys.ANNOTATION_REDRIVE_TOKEN: "again"},
    {keys.ANNOTATION_REDRIVE_TOKEN: "again", keys.ANNOTATION_REDRIVE_OBSERVED: "again"},
    {keys.ANNOTATION_REDRIVE_FROM_STEP: "fetch:1"},
    {keys.ANNOTATION_LIVE_STORY_UID: "uid-Story-report"},
    {keys.ANNOTATION_TRIGGER_REQUEST_NAME: "asked"},
)
STATUSES: tuple[dict[str, str], ...] = (
    {},
    {"childrenCleanedAt": format_instant(NOW)},
    {"observedUid": "uid-before"},
    {"finishedAt": "damaged"},
)


def ended(ago: timedelta = timedelta(minutes=1), **fields: Any) -> Object:
    status = {"phase": "Succeeded", "finishedAt": format_instant(NOW - ago), **fields.pop("status", {})}
    return run("old", status=status, **fields)


async def both(found: Object, others: list[Object]) -> tuple[KeepUntil | None, object]:
    """What the note says, and what a look at the run says."""
    async with open_world() as (client, world):
        informers = {"StoryRun": world.story_runs, "StepRun": world.step_runs, "Story": world.stories}
        for obj in (found, *others):
            informers.get(obj["kind"], world.informer(STORY_TRIGGER)).remember(obj)
        key = Key.of(found)
        noted = RestingRuns(world, clock(), OperatorSettings).keep_until(key)

        def awaited(one: Object) -> bool:
            return is_awaited(world, one)

        look = StoryRunReconciler(client, world, RecordingSupervisor(), clock(), OperatorSettings, awaited)
        look._resting.keep_until = lambda key: None  # type: ignore[method-assign]  # as if there were no note
        return noted, look.glance(key)


def trigger_of(found: Object, **status: Any) -> Object:
    spec = {"storyRef": {"name": "report"}, "deliveryIdentity": {"submissionId": "1"}}
    return stored("StoryTrigger", "asked", spec=spec, status=status)


async def test_most_finished_runs_are_not_read() -> None:
    found = ended()
    noted, seen = await both(found, [story(), step_run(found, status={"phase": "Succeeded"})])
    assert noted is not None
    assert _until(noted, NOW) == seen


@pytest.mark.parametrize(
    "found",
    [ended(meta={"annotations": annotations}) for annotations in (ANNOTATIONS[1], ANNOTATIONS[3], ANNOTATIONS[4])]
    + [ended(status={"observedUid": "uid-before"}), ended(timedelta(days=400))],
    ids=["to run again", "from a step", "always on", "restored", "to be removed"],
)
async def test_others_are_read(found: Object) -> None:
    assert (await both(found, [story()]))[0] is None


@pytest.mark.parametrize(
    "other",
    [
        step_run(ended(), status={"phase": "Running"}),
        step_run(ended(), status={"phase": "Succeeded"}, meta=FINALIZER),
        step_run(ended(), status={"phase": "Succeeded"}, meta=RESTORED_FROM_BACKUP),
        trigger_of(ended()),
        run("parent", status={"phase": "Running"}),
    ],
    ids=["a live step", "held by the reference", "restored", "unanswered", "a live parent"],
)
async def test_a_run_is_read_because_of_another_object(other: Object) -> None:
    parent = run("parent", status={"phase": "Running"})
    found = ended(meta={"annotations": ANNOTATIONS[5], "ownerReferences": [controlled(parent)]})
    assert (await both(found, [story()]))[0] is not None
    assert (await both(found, [story(), other]))[0] is None


async def test_no_other_run_is_read_because_one_was_restored() -> None:
    of_another = {"annotations": RESTORED_FROM_BACKUP["annotations"], "labels": {keys.LABEL_STORY_RUN: "another"}}
    restored = step_run(run("another"), status={"phase": "Succeeded"}, meta=of_another)
    assert (await both(ended(), [story(), restored]))[0] is not None


def test_a_note_has_the_fields_that_it_is_made_of() -> None:
    parent = run("parent")
    plain = rest_note(ended())
    full = rest_note(ended(meta={"annotations": ANNOTATIONS[5], "ownerReferences": [controlled(parent)]}))
    at = NOW.replace(microsecond=0) - timedelta(minutes=1)

    assert plain is not None
    assert full is not None
    assert RestNote(*plain) == RestNote("report", at.timestamp(), False)
    assert RestNote(*full) == RestNote("report", at.timestamp(), False, "asked", "parent")
    assert RestNote(*plain).finished_at == at


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Object, list[Object]]:
    """A finished run and what is beside it."""
    parent = run("parent", status=draw(st.sampled_from([{"phase": "Running"}, {"phase": "Failed"}])))
    owner = draw(st.sampled_from([None, controlled(parent), {**controlled(parent), "kind": "Impulse"}]))
    annotations = draw(st.sampled_from(ANNOTATIONS)) | draw(st.sampled_from(ANNOTATIONS))
    meta = {"annotations": annotations, **({"ownerReferences": [owner]} if owner else {})}
    ago = draw(st.sampled_from([timedelta(seconds=1), timedelta(hours=2), timedelta(days=2), timedelta(days=400)]))
    found = ended(ago, meta=meta, status=draw(st.sampled_from(STATUSES)))
    namespace = draw(st.sampled_from([None, "team", "elsewhere"]))
    found["spec"]["storyRef"] |= {"namespace": namespace} if namespace else {}
    policy = draw(st.sampled_from([{}, {"ttlSecondsAfterFinished": -1}, {"storyRunRetentionSeconds": 0}]))
    phase, marks = (
        draw(st.sampled_from(["Succeeded", "Running"])),
        draw(st.sampled_from([{}, FINALIZER, RESTORED_FROM_BACKUP])),
    )
    answered = draw(st.sampled_from([{}, {"decision": "Created"}]))
    others = [
        story(policy={"execution": {"job": policy}}),
        stored("Story", "report", namespace="elsewhere", spec={"steps": []}),
        step_run(found, status={"phase": phase}, meta=marks),
        trigger_of(found, **answered),
        parent,
    ]
    return found, [other for other in others if draw(st.booleans())]


@given(scenes())
def test_a_note_says_what_a_look_says(scene: tuple[Object, list[Object]]) -> None:
    noted, seen = trio.run(both, *scene)
    if noted is not None:
        assert _until(noted, NOW) == seen
