"""The Stories of many runs, each as its run executes it, with few requests."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from cli.runs import pinned_story_of, story_place
from cli.session import Session
from core.api.objects import Object
from core.api.pinned_story import TooDeepError, kept_story, revision_name
from core.api.resource import STORY
from core.kube.errors import ForbiddenError


async def stories_of(session: Session, runs: Sequence[Object]) -> dict[str, Object]:
    """By uid of the run: its Story as it was when the run began, otherwise as it is now; without those that are gone.

    Only a Story that was edited since costs a request, and only one for all runs that execute the same version.
    """
    now = {_place_of(story): story for story in await _stories_now(session, runs)}
    present = {place: _revision_of(story) for place, story in now.items()}
    others = {
        (story_place(run)[0], _pinned(run)): run
        for run in runs
        if _pinned(run) and _pinned(run) != present.get(story_place(run))
    }
    earlier: dict[tuple[str, str], Object | None] = {}

    async def read(revision: tuple[str, str], run: Object) -> None:
        earlier[revision] = await pinned_story_of(session, run)

    async with trio.open_nursery() as nursery:
        for revision, run in others.items():
            nursery.start_soon(read, revision, run)
    found = {}
    for run in runs:
        place = story_place(run)
        story = earlier.get((place[0], _pinned(run))) or now.get(place)
        if story is not None:
            found[str(run["metadata"]["uid"])] = story
    return found


async def _stories_now(session: Session, runs: Sequence[Object]) -> list[Object]:
    found: list[Object] = []
    elsewhere = {story_place(run)[0] for run in runs} - {session.list_namespace}
    for namespace in [session.list_namespace, *(sorted(elsewhere) if session.list_namespace is not None else ())]:
        try:
            found += (await session.client.list(STORY, namespace)).items
        except ForbiddenError:
            if namespace == session.list_namespace:
                raise
    return found


def _place_of(story: Object) -> tuple[str, str]:
    return story["metadata"]["namespace"], story["metadata"]["name"]


def _revision_of(story: Object) -> str:
    try:
        return revision_name(kept_story(story))
    except TooDeepError:
        return ""


def _pinned(run: Object) -> str:
    return str((run.get("status") or {}).get("storyRevision") or "")
