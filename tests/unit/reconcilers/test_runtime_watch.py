"""From a change to the keys that it concerns."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import trio
import trio.testing

from core.api.objects import Object
from core.api.resource import SECRET, STORY
from core.kube.informer import Change, ChangeKind
from reconcilers.runtime.changes import phase_changed, spec_changed, versions
from reconcilers.runtime.controller import Controller, ControllerOptions, Key
from reconcilers.runtime.outcome import Done, Outcome
from reconcilers.runtime.watch import Watch, connect, connect_controller, own_keys
from tests.unit.reconcilers.reconciler_samples import open_world, run, stored, story


def later(obj: Object, *, meta: Object | None = None, **fields: Any) -> Object:
    version = str(int(obj["metadata"]["resourceVersion"]) + 100_000)
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": version, **(meta or {})}, **fields}


def change(old: Object | None, new: Object | None) -> Change:
    kind = ChangeKind.ADDED if old is None else ChangeKind.DELETED if new is None else ChangeKind.UPDATED
    return Change(kind, old, new)


FIRST = story("report")


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        (None, FIRST, True),
        (FIRST, None, True),
        (FIRST, later(FIRST, meta={"generation": 2}), True),
        (FIRST, later(FIRST, meta={"deletionTimestamp": "2025-01-02T03:04:05Z"}), True),
        (FIRST, later(FIRST, status={"phase": "Ready"}), False),
    ],
)
def test_a_spec_has_changed_when_the_object_is_new_or_gone_or_has_another_generation(
    old: Object | None, new: Object | None, counts: bool
) -> None:
    assert spec_changed(change(old, new)) is counts


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        (None, run(), False),
        (None, run(status={"phase": "Running"}), True),
        (run(status={"phase": "Running"}), run(status={"phase": "Running", "message": "x"}), False),
        (run(status={"phase": "Running"}), run(status={"phase": "Failed"}), True),
        (run(status={"phase": "Failed"}), None, True),
    ],
)
def test_an_object_that_does_not_exist_has_no_phase(old: Object | None, new: Object | None, counts: bool) -> None:
    assert phase_changed(change(old, new)) is counts


def test_both_versions_count_as_far_as_they_exist() -> None:
    second = later(FIRST)
    assert versions(change(None, FIRST)) == [FIRST]
    assert versions(change(FIRST, second)) == [FIRST, second]


async def test_a_watch_tells_whom_a_change_concerns_when_it_counts() -> None:
    heard: list[tuple[Key, timedelta]] = []
    delay = timedelta(seconds=2)
    async with open_world() as (_, world):
        world.stories.remember(story("known"))
        connect((Watch(STORY, own_keys, when=spec_changed, delay=delay),), world, lambda *told: heard.append(told))
        assert heard == [(Key("team", "known"), delay)]
        heard.clear()

        first = story("report")
        world.stories.remember(first)
        world.stories.remember(later(first, status={"phase": "x"}))
        assert heard == [(Key("team", "report"), delay)]


async def test_a_kind_that_is_not_watched_cannot_be_connected() -> None:
    async with open_world() as (_, world):
        with pytest.raises(LookupError, match="secrets are not watched"):
            connect((Watch(SECRET, own_keys),), world, print)


async def test_a_controller_waits_as_long_as_the_watch_says(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    reconciled: list[tuple[str, float]] = []

    async def reconcile(key: Key) -> Outcome:
        reconciled.append((str(key), trio.current_time()))
        return Done()

    controller = Controller("test", reconcile, ControllerOptions(1, timedelta(seconds=1), timedelta(seconds=1)))
    watches = (Watch(STORY, own_keys), Watch(STORY, lambda *_: [Key("team", "late")], delay=timedelta(seconds=5)))
    async with open_world() as (_, world):
        connect_controller(watches, world, controller)
        nursery.start_soon(controller.run)
        began = trio.current_time()
        world.stories.remember(stored("Story", "soon", spec={"steps": []}))
        await trio.sleep(10)
        assert reconciled == [("team/soon", began), ("team/late", began + 5)]
