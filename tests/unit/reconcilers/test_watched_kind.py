"""The declarations of several controllers about one kind give one informer."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.permission import Permission
from core.api.resource import SECRET, SERVICE, STORY_RUN
from reconcilers.adapters.watched_kind import WatchedKind, merged, slim
from reconcilers.adapters.world import OWNER_UID, WATCHED, World
from tests.unit.reconcilers.reconciler_samples import open_world, run


def by_name(obj: dict[str, Any]) -> list[str]:
    return [obj["metadata"]["name"]]


def by_nothing(obj: dict[str, Any]) -> list[str]:
    return []


async def test_a_kind_of_the_engine_gets_the_indexes_of_a_controller_too() -> None:
    async with open_world() as (client, _):
        world = World.watching(client, (WatchedKind(STORY_RUN, {"name": by_name}), WatchedKind(SERVICE)))
        world.story_runs.remember(run("one"))
        assert world.informer(STORY_RUN) is world.story_runs
        assert [obj["metadata"]["name"] for obj in world.story_runs.by_index("name", "one")] == ["one"]
        assert world.story_runs.by_index(OWNER_UID, "x") == []
        assert [informer.resource for informer in world] == [*(kind.resource for kind in WATCHED), SERVICE]


def test_the_same_declaration_twice_is_one() -> None:
    kind = WatchedKind(SERVICE, {"name": by_name}, why="First.")
    [found] = merged((kind, WatchedKind(SERVICE, {"name": by_name, "other": by_nothing}, why="Second.")))
    assert found.indexes == {"name": by_name, "other": by_nothing}
    assert found.permission == Permission(SERVICE, ("list", "watch"), "First.")


@pytest.mark.parametrize(
    "other",
    [
        WatchedKind(SERVICE, {"name": by_nothing}),
        WatchedKind(SERVICE, label_selector="a=b"),
        WatchedKind(SERVICE, trim=lambda obj: obj),
    ],
    ids=["index", "selector", "trim"],
)
def test_declarations_that_contradict_each_other_are_refused(other: WatchedKind) -> None:
    with pytest.raises(ValueError, match="services is declared twice"):
        merged((WatchedKind(SERVICE, {"name": by_name}), other))


async def test_a_kind_that_nobody_declares_is_not_watched() -> None:
    async with open_world() as (_, world):
        assert not world.watches(SECRET)
        with pytest.raises(LookupError, match="secrets are not watched"):
            world.informer(SECRET)


def test_nobody_reads_who_has_set_which_field() -> None:
    assert slim({"metadata": {"name": "a", "managedFields": []}, "spec": {}}) == {"metadata": {"name": "a"}, "spec": {}}
