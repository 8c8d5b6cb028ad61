"""An Event lives for an hour after it was last seen."""

from __future__ import annotations

from datetime import UTC, datetime

import trio
from trio.testing import MockClock

from localcluster.clock import to_time
from localcluster.server.cluster import open_api_server
from localcluster.server.event_expiry import last_seen_at

START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def now() -> datetime:
    return datetime.fromtimestamp(START + trio.current_time(), UTC)


async def test_events_are_forgotten_an_hour_after_they_were_last_seen(autojump_clock: MockClock) -> None:
    async with open_api_server(now=now) as server:
        events = server.registry.find("", "v1", "events")
        assert events is not None
        for name in ("old", "renewed"):
            involved = {"namespace": "default", "kind": "Pod", "name": "p"}
            await server.registry.create(events, "default", {"metadata": {"name": name}, "involvedObject": involved})
        await trio.sleep(1800)
        renewed = {**await server.registry.get(events, "default", "renewed")}
        renewed["lastTimestamp"] = to_time(now())
        await server.registry.update(events, "default", "renewed", renewed)
        await trio.sleep(1900)
        left = (await server.registry.list(events, "default"))["items"]
        assert [event["metadata"]["name"] for event in left] == ["renewed"]
        await trio.sleep(3600)
        assert (await server.registry.list(events, "default"))["items"] == []


def test_the_latest_of_an_events_times_counts() -> None:
    event = {
        "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
        "lastTimestamp": "2026-01-01T01:00:00Z",
        "series": {"lastObservedTime": "2026-01-01T02:00:00.000001Z"},
    }
    assert last_seen_at(event) == datetime(2026, 1, 1, 2, 0, 0, 1, UTC)
