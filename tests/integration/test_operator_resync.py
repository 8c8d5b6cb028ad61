"""A live operator whose watch loses an event: the slow second look repairs it, and finds nothing otherwise."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import trio

from core.api.objects import NamespacedName
from core.api.resource import STORY_RUN
from core.kube.informer import Informer
from core.kube.watch import WatchTiming
from core.kube.watch_line import WatchEvent
from kubewire import WatchEventType
from localcluster.server import watch
from reconcilers.resync import Found, Resync
from tests.integration.operator_cluster import OperatorCluster, Traffic, eventually, status_of

PATIENCE_SECONDS = 30.0
SILENCE_SECONDS = 2.0
"""A look waits at most twice this.

It does not wait for the bookmarks of a real API server, which come once a minute.
"""


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[dict[NamespacedName, Found]]:
    """What each of the second looks found. Each follows a moment after the one before."""
    seen: list[dict[NamespacedName, Found]] = []
    whole = Resync.look_again

    async def look_again(self: Resync) -> dict[NamespacedName, Found]:
        found = await whole(self)
        seen.append(found)
        return found

    monkeypatch.setattr(Resync, "look_again", look_again)
    monkeypatch.setitem(_given(Resync.__init__.__kwdefaults__), "interval", timedelta(seconds=0.3))
    monkeypatch.setattr(watch, "BOOKMARK_INTERVAL_SECONDS", 0.2)
    monkeypatch.setitem(
        _given(Informer.__init__.__kwdefaults__), "timing", WatchTiming(silence_seconds=SILENCE_SECONDS)
    )
    return seen


def _given(defaults: dict[str, Any] | None) -> dict[str, Any]:
    assert defaults is not None
    return defaults


async def test_a_cancel_whose_event_was_lost_is_found_and_heeded(
    world: OperatorCluster, rounds: list[dict[NamespacedName, Found]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Informer._take
    lost: list[str] = []

    def take(self: Informer, event: WatchEvent) -> None:
        if (event.object.get("spec") or {}).get("cancelRequested") and not lost:
            lost.append(event.object["metadata"]["name"])
            event = WatchEvent(WatchEventType.BOOKMARK, {"metadata": event.object["metadata"]})
        whole(self, event)

    await world.story("nap", {"name": "only", "type": "sleep", "with": {"duration": "1h"}})
    async with world.operator() as traffic:
        await world.run("one", "nap")
        await world.run("two", "nap")
        for name in ("one", "two"):
            await world.until(STORY_RUN, name, lambda run: "stepStates" in status_of(run))
        await _silence(traffic)  # otherwise the answer to a write would show what the watch has lost
        monkeypatch.setattr(Informer, "_take", take)
        await world.client.patch(STORY_RUN, "one", {"spec": {"cancelRequested": True}}, namespace="team")

        run = await world.finished("one", seconds=PATIENCE_SECONDS)

        async def told() -> bool:  # the round continues for the other kinds
            return any(Found.LOST_EVENT in found.values() for found in rounds)

        await eventually(told, seconds=PATIENCE_SECONDS * world.access.patience)

    assert lost == ["one"]
    assert status_of(run)["conditions"][0]["reason"] == "Canceled"
    assert [found for found in rounds if Found.LOST_EVENT in found.values()] == [
        {NamespacedName("team", "one"): Found.LOST_EVENT, NamespacedName("team", "two"): Found.NOTHING}
    ]


async def test_a_second_look_at_runs_that_wait_finds_and_writes_nothing(
    world: OperatorCluster, rounds: list[dict[NamespacedName, Found]]
) -> None:
    await world.story(
        "waiting",
        {"name": "nap", "type": "sleep", "with": {"duration": "1h"}},
        {"name": "approve", "type": "gate", "with": {"timeout": "1h"}},
    )
    async with world.operator() as traffic:
        await world.run("one", "waiting")
        await world.until(STORY_RUN, "one", lambda run: len(status_of(run).get("stepStates", ())) == 2)
        await _silence(traffic)
        before, seen = traffic.writes, len(rounds)

        async def twice() -> bool:
            return len(rounds) >= seen + 2

        await eventually(twice, seconds=PATIENCE_SECONDS * world.access.patience)
        assert traffic.writes == before
    assert {what for found in rounds for what in found.values()} == {Found.NOTHING}


async def _silence(traffic: Traffic) -> None:
    """Wait until three seconds pass without a write.

    Counters of the Story and Events come after the run's own writes.
    """
    before: Counter[str] | None = None
    while traffic.writes != before:
        before = traffic.writes
        await trio.sleep(3)
