"""Pinned Stories that no run needs any more, on a server that stores."""

from __future__ import annotations

from datetime import datetime, timedelta

from core.api.objects import Object
from core.api.resource import CONTROLLER_REVISION, STORY
from core.engine.clock import WallClock
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After, Done, Outcome
from reconcilers.story_revisions import GRACE, StoryRevisionReconciler
from tests.integration.adapter_world import AdapterWorld
from tests.integration.operator_cluster import NAMESPACE_NAME
from tests.unit.reconcilers.reconciler_samples import NOW


class Tidier:
    """The reconciler of one process, and its clock."""

    def __init__(self, there: AdapterWorld) -> None:
        self.now = NOW
        self._reconciler = StoryRevisionReconciler(there.wired, there.world, WallClock(self._time))

    def _time(self) -> datetime:
        return self.now

    async def look(self, *, after: timedelta = timedelta()) -> Outcome:
        self.now += after
        return await self._reconciler.reconcile(Key(NAMESPACE_NAME, "report"))


async def revisions(there: AdapterWorld) -> list[Object]:
    return (await there.client.list(CONTROLLER_REVISION, NAMESPACE_NAME)).items


async def left(there: AdapterWorld) -> list[str]:
    return [obj["metadata"]["name"] for obj in await revisions(there)]


async def edited(there: AdapterWorld) -> tuple[str, str]:
    """The revisions of a Story before and after an edit, both pinned."""
    await there.definitions()
    before = await there.runs.pin_story(await there.known(there.world.stories, "report"))
    await there.client.patch(STORY, "report", {"spec": {"version": "2"}}, namespace=NAMESPACE_NAME)
    story = await there.known(there.world.stories, "report", lambda found: found["spec"].get("version") == "2")
    return before, await there.runs.pin_story(story)


async def test_a_story_as_it_was_goes_when_its_time_is_over(there: AdapterWorld) -> None:
    before, after = await edited(there)
    tidier = Tidier(there)
    assert await tidier.look() == After(GRACE)
    assert sorted(await left(there)) == sorted([before, after])
    assert await tidier.look(after=GRACE) == Done()
    assert await left(there) == [after]
    assert await tidier.look(after=GRACE) == Done()
    assert there.wire.writes == ["POST controllerrevisions", "POST controllerrevisions", f"DELETE {before}"]


async def test_a_process_that_has_just_started_waits_as_long(there: AdapterWorld) -> None:
    await edited(there)
    await Tidier(there).look()
    assert await Tidier(there).look(after=2 * GRACE) == After(GRACE)


async def test_a_story_as_it_was_stays_as_long_as_a_run_needs_it(there: AdapterWorld) -> None:
    before, _ = await edited(there)
    run = await there.known(there.world.story_runs, "one")
    run = await there.runs.patch_run_status(run, {"phase": "Running", "storyRevision": before})
    tidier = Tidier(there)
    await tidier.look()
    assert await tidier.look(after=2 * GRACE) == Done()
    await there.client.delete(STORY, "report", NAMESPACE_NAME)
    await there.known(there.world.stories, "report", lambda found: found is None)
    assert await tidier.look() == After(GRACE)
    assert await tidier.look(after=GRACE) == Done()
    assert await left(there) == [before]
    await there.runs.patch_run_status(run, {"phase": "Succeeded"})
    assert await tidier.look() == Done()
    assert await left(there) == []


async def test_what_only_looks_like_a_pinned_story_is_left_alone(there: AdapterWorld) -> None:
    before, _ = await edited(there)
    [stored] = [obj for obj in await revisions(there) if obj["metadata"]["name"] == before]
    metadata = {"name": "report-copied", "namespace": NAMESPACE_NAME, "labels": stored["metadata"]["labels"]}
    await there.client.create(CONTROLLER_REVISION, {**stored, "metadata": metadata})
    await there.known(there.world.story_revisions, "report-copied")
    tidier = Tidier(there)
    await tidier.look()
    await tidier.look(after=GRACE)
    assert "report-copied" in await left(there)
    assert before not in await left(there)
