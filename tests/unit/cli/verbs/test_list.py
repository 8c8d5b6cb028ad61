"""The Stories of many runs, each as its run executes it. (cli/run_stories.py)"""

from __future__ import annotations

from typing import Any

from cli.runs import run_manifest, start_run
from cli.session import Session
from cli.verbs.list import stories_of
from core.api.objects import Object
from core.api.pinned_story import kept_story, revision_manifest
from core.api.resource import CONTROLLER_REVISION, STORY, STORY_RUN


async def make_story(session: Session, *steps: str) -> Object:
    listed = [{"name": step, "ref": {"name": "worker"}} for step in steps]
    kind = {"apiVersion": STORY.api_version, "kind": STORY.kind}
    return await session.client.create(
        STORY, {**kind, "metadata": {"name": "report"}, "spec": {"steps": listed}}, namespace="default"
    )


async def started_with(session: Session, name: str, story: Object) -> Object:
    """A run that executes this version of the Story."""
    kept = revision_manifest(kept_story(story))
    run = await start_run(session, run_manifest("report", "default", {}, name=name))
    await session.client.create(CONTROLLER_REVISION, kept, namespace="default")
    status = {"status": {"phase": "Running", "storyRevision": kept["metadata"]["name"]}}
    return await session.client.patch(
        STORY_RUN, run["metadata"]["name"], status, namespace="default", subresource="status"
    )


def steps_of(story: Object) -> list[Any]:
    return [step["name"] for step in story["spec"]["steps"]]


async def test_a_run_is_counted_by_the_story_it_began_with(session: Session) -> None:
    story = await make_story(session, "one", "two")
    before = await started_with(session, "before", story)
    edited = {"spec": {"steps": [{"name": name, "ref": {"name": "worker"}} for name in ("one", "two", "three")]}}
    changed = await session.client.patch(STORY, "report", edited, namespace="default")
    after = await started_with(session, "after", changed)
    unseen = await start_run(session, run_manifest("report", "default", {}, name="unseen"))

    found = await stories_of(session, [before, after, unseen])

    assert [steps_of(found[run["metadata"]["uid"]]) for run in (before, after, unseen)] == [
        ["one", "two"],
        ["one", "two", "three"],
        ["one", "two", "three"],
    ]


async def test_a_deleted_story_is_still_known_to_the_runs_that_execute_it(session: Session) -> None:
    run = await started_with(session, "before", await make_story(session, "one"))
    other = await start_run(session, run_manifest("report", "default", {}, name="other"))
    await session.client.delete(STORY, "report", namespace="default")

    found = await stories_of(session, [run, other])

    assert {uid: steps_of(story) for uid, story in found.items()} == {run["metadata"]["uid"]: ["one"]}
