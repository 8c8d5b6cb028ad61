"""A change is remembered for ten minutes, and the objects stay."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from localcluster.server.cluster import open_api_server
from localcluster.server.errors import StatusError
from localcluster.server.types import Object


async def test_changes_are_forgotten_after_ten_minutes_and_objects_are_not(autojump_clock: MockClock) -> None:
    async with open_api_server() as server:
        kind = server.registry.find("", "v1", "configmaps")
        assert kind is not None

        async def create(name: str) -> Object:
            return await server.registry.create(kind, "default", {"metadata": {"name": name}})

        await create("first")
        old = server.store.revision
        await create("second")
        await trio.sleep(300)
        await create("third")
        recent = server.store.revision
        await create("fourth")
        collection = server.store.collection("/configmaps")

        await trio.sleep(240)
        assert collection.position_after(old) < collection.position_after(recent)
        await trio.sleep(240)
        with pytest.raises(StatusError, match="too old resource version"):
            collection.position_after(old)
        after = collection.changes_from(collection.position_after(recent))
        assert after is not None
        assert [change.last.object["metadata"]["name"] for change in after] == ["fourth"]

        await trio.sleep(3600)
        assert collection.changes_from(collection.end_position - 1) is None
        names = [stored.object["metadata"]["name"] for stored in collection.select("default")]
        assert names == ["first", "fourth", "second", "third"]


async def test_a_watch_that_keeps_up_goes_on(autojump_clock: MockClock) -> None:
    async with open_api_server() as server:
        kind = server.registry.find("", "v1", "configmaps")
        assert kind is not None
        collection = server.store.collection("/configmaps")
        position, seen = collection.end_position, 0

        async def follow() -> None:
            nonlocal position, seen
            while True:
                changes = collection.changes_from(position)
                assert changes is not None
                position, seen = position + len(changes), seen + len(changes)
                await collection.wait_for_change()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for index in range(20):
                await trio.sleep(200)
                await server.registry.create(kind, "default", {"metadata": {"name": f"c{index}"}})
            await trio.sleep(3600)
            assert seen == 20
            nursery.cancel_scope.cancel()
