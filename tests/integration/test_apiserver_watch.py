"""Lists, pages and watches over HTTP."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import trio

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
MERGE = {"content-type": "application/merge-patch+json"}


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "data": {"a": "b"}}


Events = trio.MemoryReceiveChannel[dict[str, Any]]


@asynccontextmanager
async def watching(cluster: Any, path: str = CONFIGMAPS, accept: str = "*/*", **query: Any) -> AsyncIterator[Events]:
    """The events of a watch. The watch is closed at the end."""
    params = {"watch": "true", **query}
    async with cluster.client.stream("GET", path, params=params, headers={"accept": accept}) as answer:
        assert answer.status_code == 200, await answer.aread()
        send, events = trio.open_memory_channel[dict[str, Any]](math.inf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_events, answer, send)
            yield events
            nursery.cancel_scope.cancel()


async def read_events(answer: httpx.Response, send: trio.MemorySendChannel[dict[str, Any]]) -> None:
    """Waits only inside the iterators of the body, so that a cancellation finishes them and does not abandon them."""
    with send:
        async for line in answer.aiter_lines():
            send.send_nowait(orjson.loads(line))


async def take(events: Events, count: int) -> list[tuple[str, str]]:
    found = []
    for _ in range(count):
        event = await events.receive()
        found.append((event["type"], event["object"]["metadata"].get("name", "")))
    return found


async def test_a_watch_shows_what_is_there_and_then_what_happens(cluster: Any) -> None:
    await cluster.create(CONFIGMAPS, config_map("a"))
    async with watching(cluster) as events:
        assert await take(events, 1) == [("ADDED", "a")]
        await cluster.create(CONFIGMAPS, config_map("b"))
        await cluster.client.patch(f"{CONFIGMAPS}/b", content=b'{"data":{"x":"y"}}', headers=MERGE)
        await cluster.client.delete(f"{CONFIGMAPS}/b")
        assert await take(events, 3) == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]


async def test_a_watch_resumes_after_a_list(cluster: Any) -> None:
    await cluster.create(CONFIGMAPS, config_map("a"))
    listed = (await cluster.client.get(CONFIGMAPS)).json()
    await cluster.create(CONFIGMAPS, config_map("b"))
    async with watching(cluster, resourceVersion=listed["metadata"]["resourceVersion"]) as events:
        assert await take(events, 1) == [("ADDED", "b")]


async def test_a_watch_that_is_too_old_is_410(cluster: Any) -> None:
    created = await cluster.create(CONFIGMAPS, config_map("a"))
    await cluster.create(CONFIGMAPS, config_map("b"))
    cluster.server.store.collection("/configmaps").compact()
    answer = await cluster.client.get(
        CONFIGMAPS, params={"watch": "true", "resourceVersion": created["metadata"]["resourceVersion"]}
    )
    assert answer.status_code == 410
    assert answer.json()["reason"] == "Expired"


async def test_a_watch_of_the_future_is_refused(cluster: Any) -> None:
    answer = await cluster.client.get(CONFIGMAPS, params={"watch": "true", "resourceVersion": "999999"})
    assert answer.status_code == 504
    assert answer.json()["message"].startswith("Timeout: Too large resource version: 999999")


async def test_falling_behind_ends_the_stream_with_an_error_event(cluster: Any) -> None:
    async with watching(cluster) as events:
        await trio.testing.wait_all_tasks_blocked()
        collection = cluster.server.store.collection("/configmaps")
        obj = {"metadata": {"name": "x", "namespace": "default"}}
        cluster.server.store.write(collection, "default/x", obj, expected=None)
        collection.compact()
        event = await events.receive()
        assert event["type"] == "ERROR"
        assert event["object"]["code"] == 410
        assert [found async for found in events] == []


async def test_initial_events_can_be_streamed(cluster: Any) -> None:
    await cluster.create(CONFIGMAPS, config_map("a"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with watching(cluster, **query) as events:
        assert await take(events, 1) == [("ADDED", "a")]
        bookmark = await events.receive()
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_ends_after_its_timeout(cluster: Any) -> None:
    async with watching(cluster, timeoutSeconds=1) as events:
        assert [event async for event in events] == []


async def test_selectors_apply_to_watches(cluster: Any) -> None:
    async with watching(cluster, labelSelector="x=1") as events:
        await cluster.create(CONFIGMAPS, config_map("a", x="0"))
        await cluster.create(CONFIGMAPS, config_map("b", x="1"))
        patch = b'{"metadata":{"labels":{"x":"2"}}}'
        await cluster.client.patch(f"{CONFIGMAPS}/b", content=patch, headers=MERGE)
        assert await take(events, 2) == [("ADDED", "b"), ("DELETED", "b")]


async def test_a_single_object_can_be_watched(cluster: Any) -> None:
    async with watching(cluster, fieldSelector="metadata.name=b") as events:
        await cluster.create(CONFIGMAPS, config_map("a"))
        await cluster.create(CONFIGMAPS, config_map("b"))
        assert await take(events, 1) == [("ADDED", "b")]


async def test_tables_can_be_watched(cluster: Any) -> None:
    async with watching(cluster, accept="application/json;as=Table;v=v1;g=meta.k8s.io") as events:
        await cluster.create(CONFIGMAPS, config_map("a"))
        event = await events.receive()
        assert event["object"]["kind"] == "Table"
        assert event["object"]["rows"][0]["cells"][0] == "a"


async def test_many_watchers_see_every_event_of_a_burst(cluster: Any) -> None:
    seen: list[int] = []

    async def follow() -> None:
        async with watching(cluster) as events:
            ready.append(None)
            seen.append(len(await take(events, 100)))

    ready: list[None] = []
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked()
            assert len(ready) == 10
            for index in range(100):
                await cluster.create(CONFIGMAPS, config_map(f"c{index}"))
    assert seen == [100] * 10


async def test_pages_show_one_state_while_writes_go_on(cluster: Any) -> None:
    for name in "abcde":
        await cluster.create(CONFIGMAPS, config_map(name))
    first = (await cluster.client.get(CONFIGMAPS, params={"limit": 2})).json()
    assert [item["metadata"]["name"] for item in first["items"]] == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 3
    await cluster.client.delete(f"{CONFIGMAPS}/c")
    await cluster.create(CONFIGMAPS, config_map("bb"))
    token = first["metadata"]["continue"]
    rest = (await cluster.client.get(CONFIGMAPS, params={"limit": 10, "continue": token})).json()
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c", "d", "e"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert "continue" not in rest["metadata"]


async def test_a_page_of_a_forgotten_state_can_be_continued_inconsistently(cluster: Any) -> None:
    for name in "abc":
        await cluster.create(CONFIGMAPS, config_map(name))
    first = (await cluster.client.get(CONFIGMAPS, params={"limit": 1})).json()
    await cluster.create(CONFIGMAPS, config_map("d"))
    cluster.server.store.collection("/configmaps").compact()
    answer = await cluster.client.get(CONFIGMAPS, params={"limit": 1, "continue": first["metadata"]["continue"]})
    assert answer.status_code == 410
    again = answer.json()["metadata"]["continue"]
    rest = (await cluster.client.get(CONFIGMAPS, params={"continue": again})).json()
    assert [item["metadata"]["name"] for item in rest["items"]] == ["b", "c", "d"]


async def test_pages_are_filled_through_a_selector(cluster: Any) -> None:
    for index in range(6):
        await cluster.create(CONFIGMAPS, config_map(f"c{index}", even=str(index % 2 == 0)))
    query = {"limit": "2", "labelSelector": "even=True"}
    first = (await cluster.client.get(CONFIGMAPS, params=query)).json()
    assert [item["metadata"]["name"] for item in first["items"]] == ["c0", "c2"]
    assert "remainingItemCount" not in first["metadata"]
    rest = (await cluster.client.get(CONFIGMAPS, params={**query, "continue": first["metadata"]["continue"]})).json()
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c4"]


async def test_an_exact_revision_can_be_listed(cluster: Any) -> None:
    created = await cluster.create(CONFIGMAPS, config_map("a"))
    await cluster.create(CONFIGMAPS, config_map("b"))
    query = {"resourceVersion": created["metadata"]["resourceVersion"], "resourceVersionMatch": "Exact"}
    listed = (await cluster.client.get(CONFIGMAPS, params=query)).json()
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a"]


async def test_contradicting_list_options_are_refused(cluster: Any) -> None:
    for query in (
        {"resourceVersionMatch": "Exact"},
        {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
        {"resourceVersionMatch": "Near", "resourceVersion": "1"},
        {"watch": "true", "sendInitialEvents": "true"},
    ):
        assert (await cluster.client.get(CONFIGMAPS, params=query)).status_code == 422
    for query in ({"limit": "x"}, {"limit": "-1"}, {"continue": "zzz"}, {"resourceVersion": "abc"}):
        assert (await cluster.client.get(CONFIGMAPS, params=query)).status_code == 400


async def test_in_process_controllers_watch_the_same_events(cluster: Any) -> None:
    resource = cluster.registry.find("", "v1", "configmaps")
    async with cluster.registry.open_watch(resource, "default") as events:
        await cluster.registry.create(resource, "default", config_map("a"))
        event = await events.receive()
        assert event.type == "ADDED"
        assert event.object["metadata"]["name"] == "a"
