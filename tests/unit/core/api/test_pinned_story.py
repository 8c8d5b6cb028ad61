"""Which parts of a Story are stored, and under which name."""

from __future__ import annotations

import re
from typing import Any

import pytest

from core.api.objects import Object
from core.api.pinned_story import (
    TooDeepError,
    holds_what_its_name_says,
    kept_story,
    revision_manifest,
    revision_name,
    story_of,
    without_spec,
)
from core.engine.errors import RejectedError
from reconcilers.adapters.story_revisions import StoryRevisions
from reconcilers.adapters.world import STORY_KEY
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After
from reconcilers.story_revisions import GRACE, StoryRevisionReconciler
from tests.unit.reconcilers.reconciler_samples import clock, open_world, story

STEP = {"name": "a", "ref": {"name": "http"}}


def name_of(told: Object) -> str:
    return revision_name(kept_story(told))


def told(**meta: Any) -> Object:
    found = story("report", STEP)
    return {**found, "status": {"triggers": 3}, "metadata": {**found["metadata"], **meta}}


def test_a_story_is_kept_with_what_decides_about_its_runs_and_nothing_else() -> None:
    full = told(annotations={"bubustack.io/controller-resolve": "true", "other": "x"}, managedFields=[1], labels={})
    assert kept_story(full) == {
        "apiVersion": "bubustack.io/v1alpha1",
        "kind": "Story",
        "metadata": {
            "name": "report",
            "namespace": "team",
            "uid": "uid-Story-report",
            "generation": 1,
            "annotations": {"bubustack.io/controller-resolve": "true"},
        },
        "spec": {"steps": [STEP]},
    }


def test_the_same_story_has_the_same_name_whatever_happens_around_it() -> None:
    first = told()
    again = told(resourceVersion="999", annotations={"other": "x"}, labels={"a": "b"})
    reordered = {**told(), "spec": dict(reversed(first["spec"].items()))}
    assert name_of(first) == name_of(again) == name_of(reordered)
    assert re.fullmatch("report-[0-9a-f]{16}", name_of(first))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({**told(), "spec": {"steps": []}}, id="spec"),
        pytest.param(story("report", {**STEP, "needs": []}), id="a source of a realtime Story"),
        pytest.param(told(uid="another"), id="created anew"),
        pytest.param(told(generation=2), id="there and back again"),
        pytest.param(told(annotations={"bubustack.io/controller-resolve": "true"}), id="resolution"),
    ],
)
def test_another_story_has_another_name(other: Object) -> None:
    assert name_of(other) != name_of(told())


@pytest.mark.parametrize("name", ["a" * 253, "a" * 235 + "." + "b" * 10, "a" * 235 + "-.b", "a.b"])
def test_a_long_name_is_cut_to_fit(name: str) -> None:
    found = name_of(told(name=name))
    assert len(found) <= 253
    assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?-[0-9a-f]{16}", found)


def test_a_revision_is_marked_numbered_and_owned_by_nobody() -> None:
    manifest = revision_manifest(kept_story(told(name="a" * 100, generation=7)))
    metadata = manifest["metadata"]
    assert (manifest["apiVersion"], manifest["kind"], manifest["revision"]) == ("apps/v1", "ControllerRevision", 7)
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "bobrapet"
    assert len(metadata["labels"]["bubustack.io/story-name"]) == 63
    assert "ownerReferences" not in metadata
    assert holds_what_its_name_says(manifest)


def revision(**changes: Any) -> Object:
    manifest = revision_manifest(kept_story(told()))
    metadata = {**manifest["metadata"], "uid": "u", "resourceVersion": "1", "managedFields": [1]}
    return {**manifest, "metadata": metadata, **changes}


@pytest.mark.parametrize(
    "data",
    [
        None,
        "text",
        {},
        {"metadata": None},
        {"metadata": {"name": "report"}},
        {"metadata": {"namespace": "team", "name": 1}},
        {**kept_story(told()), "spec": {"steps": []}},
        kept_story(told(namespace="other")),
    ],
)
def test_what_does_not_hold_what_its_name_says_is_told(data: object) -> None:
    assert not holds_what_its_name_says(revision(data=data))
    assert story_of(without_spec(revision(data=data))) is None


def nested(levels: int) -> Object:
    value: Object = {}
    for _ in range(levels):
        value = {"a": value}
    return {**told(), "spec": {"steps": [{**STEP, "with": value}]}}


def test_a_story_that_is_nested_too_deeply_cannot_be_kept_and_is_named() -> None:
    assert name_of(nested(200))
    with pytest.raises(TooDeepError, match="Story team/report is nested too deeply to be kept"):
        name_of(nested(300))
    assert not holds_what_its_name_says(revision(data=kept_story(nested(300))))


async def test_a_story_that_cannot_be_kept_is_refused_and_hinders_no_tidying() -> None:
    async with open_world() as (client, world):
        world.stories.remember(nested(300))
        revisions = StoryRevisions(client, world)
        with pytest.raises(RejectedError, match="flatten it"):
            await revisions.pin(nested(300))
        world.story_revisions.remember(revision())
        reconciler = StoryRevisionReconciler(client, world, clock())
        assert await reconciler.reconcile(Key("team", "report")) == After(GRACE)


async def test_of_a_revision_only_its_story_is_remembered() -> None:
    async with open_world() as (_, world):
        world.story_revisions.remember(revision())
        world.story_revisions.remember(revision(metadata={**revision()["metadata"], "name": "forged", "uid": "v"}))
        [known] = world.story_revisions.by_index(STORY_KEY, "team/report")
        assert len(world.story_revisions.list()) == 2
    assert known["data"] == {"metadata": kept_story(told())["metadata"]}
    assert "managedFields" not in known["metadata"]
    assert story_of(known) == ("team", "report")
