"""A second look beside the watch: it takes in what the watch has lost, and leaves alone what is still on its way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from core.kube.errors import ForbiddenError
from core.kube.informer import Change, Informer
from tests.unit.core.kube.scripted_server import (
    WIDGET,
    ScriptedServer,
    WatchConnection,
    listing,
    refusal,
    version_of,
    widget,
)


@dataclass
class Doubtful:
    """A server whose list a test changes without an event in the watch."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    version: int | str = 10
    told: list[str] = field(default_factory=list)
    refused: bool = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.refused:
            return refusal("Forbidden")
        name = request.url.params.get("fieldSelector", "").removeprefix("metadata.name=")
        found = [obj for obj in self.objects if name in ("", obj["metadata"]["name"])]
        return listing(*found, version=self.version)

    def note(self, change: Change) -> None:
        self.told.append(f"{change.kind} {change.object['metadata']['name']}@{version_of(change.object)}")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Informer, WatchConnection]]:
        server = ScriptedServer(answer=self.answer)
        async with server.client() as client, trio.open_nursery() as nursery:
            informer = Informer(client, WIDGET, trim=lambda obj: {**obj, "trimmed": True})
            await nursery.start(informer.run)
            informer.add_handler(self.note)
            self.told.clear()
            yield informer, await server.next_watch()
            nursery.cancel_scope.cancel()


async def test_it_finds_nothing_when_the_watch_told_everything(autojump_clock: trio.testing.MockClock) -> None:
    server = Doubtful([widget("a", 3)])
    async with server.open() as (informer, watch):
        server.objects, server.version = [widget("a", 11), widget("b", 12)], 12
        watch.push("MODIFIED", widget("a", 11))
        watch.push("ADDED", widget("b", 12))
        assert await informer.look_again() == []
        assert server.told == ["UPDATED a@11", "ADDED b@12"]


async def test_what_is_on_its_way_is_waited_for(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    server = Doubtful([widget("a", 3), widget("gone", 4)])
    async with server.open() as (informer, watch):
        server.objects, server.version = [widget("a", 11)], 12

        async def be_late() -> None:
            await trio.sleep(30)
            watch.push("MODIFIED", widget("a", 11))
            watch.push("DELETED", widget("gone", 12))

        nursery.start_soon(be_late)
        assert await informer.look_again() == []
        assert trio.current_time() < 40
        assert server.told == ["UPDATED a@11", "DELETED gone@12"]


async def test_a_change_that_was_never_told_is_taken_in_and_told(autojump_clock: trio.testing.MockClock) -> None:
    server = Doubtful([widget("a", 3), widget("same", 4), widget("gone", 5, deletion=True)])
    async with server.open() as (informer, watch):
        server.objects, server.version = [widget("a", 11, size=1), widget("same", 4), widget("new", 12)], 14
        watch.push("BOOKMARK", {"kind": "Widget", "metadata": {"resourceVersion": "14"}})

        found = await informer.look_again()

        assert len(found) == 3
        assert server.told == ["DELETED gone@14", "UPDATED a@11", "ADDED new@12"]
        assert (informer.get("team", "a") or {})["trimmed"]
        assert informer.get("team", "gone") is None
        watch.push("MODIFIED", widget("gone", 13, deletion=True))
        watch.push("MODIFIED", widget("a", 15))
        await trio.testing.wait_all_tasks_blocked()
        assert server.told[3:] == ["UPDATED a@15"]
        assert await informer.look_again() == []


async def test_a_watch_that_says_nothing_is_given_time_and_then_not_believed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Doubtful([widget("a", 3)])
    async with server.open() as (informer, _):
        server.objects, server.version = [widget("a", 11)], 11
        began = trio.current_time()
        assert [change.kind for change in await informer.look_again()] == ["UPDATED"]
        assert 100 < trio.current_time() - began < 200


async def test_own_writes_after_the_list_are_not_lost(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    server = Doubtful([widget("a", 3)])
    async with server.open() as (informer, watch):
        server.version = 12

        async def write_meanwhile() -> None:
            await trio.sleep(1)
            informer.remember(widget("mine", 20))
            informer.forget("team", "a", "uid-a")
            watch.push("MODIFIED", widget("other", 21))

        nursery.start_soon(write_meanwhile)
        assert await informer.look_again() == []
        assert informer.get("team", "mine") is not None
        assert informer.get("team", "a") is None


async def test_versions_that_are_no_numbers_prove_nothing(autojump_clock: trio.testing.MockClock) -> None:
    server = Doubtful([widget("a", "x")], version="first")
    async with server.open() as (informer, _):
        server.objects, server.version = [widget("a", "y")], "second"
        assert await informer.look_again() == []


async def test_a_refused_list_is_told(autojump_clock: trio.testing.MockClock) -> None:
    server = Doubtful([widget("a", 3)])
    async with server.open() as (informer, _):
        server.refused = True
        with pytest.raises(ForbiddenError):
            await informer.look_again()
        assert server.told == []
