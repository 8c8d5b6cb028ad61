"""An object that cannot be read affects no other object of its informer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import orjson
import pytest
import trio
import trio.testing

from core.api.unreadable import missing_in, unreadable
from core.kube.informer import Informer
from kubewire import Object
from tests.unit.core.kube.scripted_server import WIDGET, ScriptedServer, refusal, widget

DEEP = b'{"a":' * 1_500 + b"1" + b"}" * 1_500


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


def text(obj: Object, output: bytes = b"1") -> bytes:
    return orjson.dumps({**obj, "status": {"phase": "x", "output": "OUTPUT"}}).replace(b'"OUTPUT"', output)


def page(*items: bytes, version: int, token: str = "") -> httpx.Response:
    head = orjson.dumps({"resourceVersion": str(version), "continue": token})
    return httpx.Response(200, content=b'{"kind":"L","metadata":%s,"items":[%s]}' % (head, b",".join(items)))


async def started(server: ScriptedServer, nursery: trio.Nursery, stack: AsyncExitStack, **options: Any) -> Informer:
    informer = Informer(await stack.enter_async_context(server.client()), WIDGET, **options)
    await nursery.start(informer.run)
    return informer


async def test_it_is_listed_and_watched_with_what_is_left_of_it(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    server = ScriptedServer(answer=lambda _: page(text(widget("a", 3), DEEP), text(widget("b", 4)), version=10))
    informer = await started(server, nursery, stack, indexers={"phase": lambda obj: [obj["status"]["phase"]]})
    a, b = informer.get("team", "a"), informer.get("team", "b")
    assert a is not None
    assert b is not None
    assert (missing_in(a, "status"), unreadable(b)) == (("output",), None)
    assert len(informer.by_index("phase", "x")) == 2

    watch = await server.next_watch()
    for version, obj in enumerate((widget("c", 11), widget("b", 12), widget("a", 13)), start=11):
        line = b'{"type":"MODIFIED","object":%s}\n' % text(obj, DEEP if version != 13 else b"2")
        watch.push_bytes(line)
    await trio.testing.wait_all_tasks_blocked()

    found = {obj["metadata"]["name"]: missing_in(obj, "status") for obj in informer.list()}
    assert found == {"a": (), "b": ("output",), "c": ("output",)}
    assert len([request for request in server.requests if "watch" in request.url.params]) == 1


async def test_one_without_a_readable_name_is_left_out_and_the_watch_goes_on(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    nameless = text(widget("a", 3)).replace(b'"a"', b'"\xff"')
    server = ScriptedServer(answer=lambda _: page(nameless, text(widget("b", 4)), version=10))
    informer = await started(server, nursery, stack)
    watch = await server.next_watch()
    watch.push_bytes(b'{"type":"ADDED","object":%s}\n' % nameless)
    watch.push("ADDED", widget("c", 12))
    await trio.testing.wait_all_tasks_blocked()

    assert [obj["metadata"]["name"] for obj in informer.list()] == ["b", "c"]
    assert len(server.requests) == 2, "it neither lists nor watches anew"


async def test_a_page_that_breaks_is_asked_for_in_pages_of_one(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    items = [text(widget(name, 3)) for name in "abcd"]
    items[1] = b'{"metadata":{"name":"b"},"status":{{"'

    def answer(request: httpx.Request) -> httpx.Response:
        begin = int(request.url.params.get("continue") or 0)
        end = begin + int(request.url.params["limit"])
        return page(*items[begin:end], version=10, token=str(end) if end < len(items) else "")

    informer = await started(ScriptedServer(answer=answer), nursery, stack)

    assert [obj["metadata"]["name"] for obj in informer.list()] == ["a", "c", "d"]


async def test_what_holds_up_a_kind_is_told_for_how_long(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    refused = True
    server = ScriptedServer(
        answer=lambda _: page(text(widget("a", 3)), version=10),
        refuse_watch=lambda _: refusal("Forbidden") if refused else None,
    )
    informer = await started(server, nursery, stack)
    assert informer.stuck_seconds == 0
    await trio.sleep(400)
    assert 390 <= informer.stuck_seconds <= 400
    refused = False
    await trio.sleep(100)
    assert informer.stuck_seconds == 0


async def test_a_large_object_is_kept_as_text_and_read_as_it_is(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    large = widget("a", 3, owner="x", data=[{"a": {}}] * 5_000)
    server = ScriptedServer(answer=lambda _: page(orjson.dumps(large), version=10))
    informer = await started(server, nursery, stack, indexers={"owner": lambda obj: [obj["owner"]]})
    told: list[tuple[Any, Any]] = []
    informer.add_handler(lambda change: told.append((change.old and change.old["data"], change.object["data"])))
    watch = await server.next_watch()
    watch.push("MODIFIED", {**large, "metadata": {**large["metadata"], "resourceVersion": "11"}, "data": 1})
    await trio.testing.wait_all_tasks_blocked()

    assert told == [(None, large["data"]), (large["data"], 1)]
    assert [obj["data"] for obj in informer.by_index("owner", "x")] == [1]
