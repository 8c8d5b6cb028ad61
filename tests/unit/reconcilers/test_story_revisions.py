"""Which pinned Stories are kept, and how long the others are kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from core.api.objects import Object
from core.api.pinned_story import kept_story, revision_manifest, revision_name
from reconcilers.adapters.world import World
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After, Done
from reconcilers.story_revisions import GRACE, StoryRevisionReconciler, tidying
from tests.unit.reconcilers.reconciler_samples import NOW, clock, open_world, run, story

SECOND = timedelta(seconds=1)


def revision(name: str, **metadata: Any) -> Object:
    return {"metadata": {"name": name, **metadata}}


def names(objects: Any) -> list[str]:
    return [obj["metadata"]["name"] for obj in objects]


def decided(ages: dict[str, timedelta | None], *, current: str | None = None, used: tuple[str, ...] = ()) -> Any:
    """The decision about revisions. ``ages``: for how long each is known not to be current; None: not known at all."""
    ceased_at = {name: NOW - age for name, age in ages.items() if age is not None}
    return tidying([revision(name) for name in ages], current, set(used), ceased_at, NOW)


@pytest.mark.parametrize(
    ("ages", "more", "removed", "again"),
    [
        pytest.param({}, {}, [], None, id="none"),
        pytest.param({"a": None}, {"current": "a"}, [], None, id="current"),
        pytest.param({"a": 2 * GRACE}, {"current": "a"}, [], None, id="current again"),
        pytest.param({"a": None, "b": None}, {"current": "b"}, [], GRACE, id="has just ceased to be"),
        pytest.param({"a": GRACE - SECOND}, {"current": "b"}, [], SECOND, id="somebody may be about to begin"),
        pytest.param({"a": GRACE}, {"current": "b"}, ["a"], None, id="its time is over"),
        pytest.param({"a": 2 * GRACE}, {"current": "b", "used": ("a",)}, [], None, id="used"),
        pytest.param({"a": 2 * GRACE}, {}, ["a"], None, id="of a Story that is gone"),
        pytest.param({"a": 2 * GRACE}, {"used": ("a",)}, [], None, id="of a Story that is gone, used"),
        pytest.param({"a": 2 * GRACE, "b": SECOND, "c": 2 * SECOND}, {}, ["a"], GRACE - 2 * SECOND, id="several"),
    ],
)
def test_a_revision_goes_when_nobody_can_need_it(
    ages: dict[str, timedelta | None], more: Any, removed: list[str], again: timedelta | None
) -> None:
    tidied = decided(ages, **more)
    assert names(tidied.remove) == removed
    assert tidied.look_again_at == (None if again is None else NOW + again)


def test_when_it_ceased_is_remembered_while_it_is_there_and_not_current() -> None:
    tidied = decided({"old": SECOND, "new": None, "used": 2 * GRACE, "now": GRACE}, current="now", used=("used",))
    assert tidied.ceased_at == {"old": NOW - SECOND, "new": NOW, "used": NOW - 2 * GRACE}
    assert tidying([], None, set(), tidied.ceased_at, NOW).ceased_at == {}


def test_what_is_on_its_way_out_is_not_deleted_again() -> None:
    going = revision("a", deletionTimestamp="2025-01-02T03:04:05Z")
    assert tidying([going], None, set(), {"a": NOW - GRACE}, NOW).remove == ()


def pinned(world: World, told: Object) -> str:
    """Let the informer know the revision of a Story; returns its name."""
    manifest = revision_manifest(kept_story(told))
    name: str = manifest["metadata"]["name"]
    world.story_revisions.remember(
        {**manifest, "metadata": {**manifest["metadata"], "uid": f"uid-{name}", "resourceVersion": "1"}}
    )
    return name


async def look(world: World, client: Any, now: datetime, reconciler: Any = None) -> Any:
    reconciler = reconciler or StoryRevisionReconciler(client, world, clock(now))
    return await reconciler.reconcile(Key("team", "report"))


async def test_the_revision_of_a_story_as_it_is_stays_without_a_look() -> None:
    async with open_world() as (client, world):
        told = story()
        world.stories.remember(told)
        assert pinned(world, told) == revision_name(kept_story(told))
        assert await look(world, client, NOW) == Done()
        assert await look(world, client, NOW + 2 * GRACE) == Done()


async def test_a_revision_of_before_waits_for_its_time_and_for_the_runs_that_name_it() -> None:
    async with open_world() as (client, world):
        old = story()
        name = pinned(world, old)
        world.stories.remember({**old, "metadata": {**old["metadata"], "generation": 2}, "spec": {"steps": [1]}})
        assert await look(world, client, NOW) == After(GRACE)
        world.story_runs.remember(run(status={"phase": "Running", "storyRevision": name}))
        assert await look(world, client, NOW) == Done()
