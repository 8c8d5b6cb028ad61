"""Watches: order, resumption, bookmarks, initial events, selectors, and 410 for lost history."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from core.api.objects import Object
from tests.conformance.conformance_api import Api, ServerUnderTest, take, take_whole
from tests.conformance.conformance_kinds import GROUP, config_map, widget


async def now(api: Api, plural: str = "widgets") -> str:
    return (await api.list(plural)).version


async def test_a_watch_shows_what_is_there_and_then_what_happens(api: Api) -> None:
    await api.create("widgets", widget("a"))
    async with api.watching("widgets") as events:
        assert await take(events, 1) == [("ADDED", "a")]
        await api.create("widgets", widget("b"))
        await api.patch("widgets", "b", {"spec": {"size": 5}})
        await api.delete("widgets", "b")
        assert await take(events, 3) == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]


async def test_a_watch_resumes_after_a_list(api: Api) -> None:
    await api.create("widgets", widget("a"))
    version = await now(api)
    await api.create("widgets", widget("b"))
    await api.delete("widgets", "a")
    async with api.watching("widgets", resourceVersion=version) as events:
        assert await take(events, 2) == [("ADDED", "b"), ("DELETED", "a")]


async def test_a_watch_resumes_after_an_event(api: Api) -> None:
    version = await now(api)
    first = await api.create("widgets", widget("a"))
    await api.create("widgets", widget("b"))
    async with api.watching("widgets", resourceVersion=version) as events:
        (event,) = await take_whole(events, 1)
        assert event["object"] == first
    async with api.watching("widgets", resourceVersion=event["object"]["metadata"]["resourceVersion"]) as events:
        assert await take(events, 1) == [("ADDED", "b")]


async def test_versions_in_a_watch_rise(api: Api) -> None:
    version = await now(api)
    await api.create("widgets", widget("a"))
    for size in (4, 5, 6):
        await api.patch("widgets", "a", {"spec": {"size": size}})
    await api.delete("widgets", "a")
    async with api.watching("widgets", resourceVersion=version) as events:
        found = await take_whole(events, 5)
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in found]
    assert versions == sorted(set(versions))
    assert [event["object"]["spec"]["size"] for event in found] == [3, 4, 5, 6, 6]


async def test_a_deletion_has_a_version_of_its_own(api: Api) -> None:
    created = await api.create("widgets", widget("a"))
    version = created["metadata"]["resourceVersion"]
    await api.delete("widgets", "a")
    async with api.watching("widgets", resourceVersion=version) as events:
        (event,) = await take_whole(events, 1)
    assert event["type"] == "DELETED"
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(version)


async def test_a_write_that_changes_nothing_is_no_event(api: Api) -> None:
    created = await api.create("widgets", widget("a"))
    async with api.watching("widgets", resourceVersion=created["metadata"]["resourceVersion"]) as events:
        await api.put("widgets", created)
        await api.create("widgets", widget("b"))
        assert await take(events, 1) == [("ADDED", "b")]


async def test_a_watch_of_one_namespace_knows_no_other(api: Api) -> None:
    await api.create("namespaces", {"metadata": {"name": f"{api.namespace}-b"}})
    other = Api(api.http, f"{api.namespace}-b")
    async with api.watching("widgets", resourceVersion=await now(api)) as events:
        await other.create("widgets", widget("other"))
        await api.create("widgets", widget("mine"))
        assert await take(events, 1) == [("ADDED", "mine")]


async def test_a_single_object_is_watched_by_selector(api: Api) -> None:
    async with api.watching("widgets", fieldSelector="metadata.name=b", resourceVersion=await now(api)) as events:
        await api.create("widgets", widget("a"))
        await api.create("widgets", widget("b"))
        assert await take(events, 1) == [("ADDED", "b")]


async def test_an_object_is_read_though_a_watch_is_asked_for(api: Api) -> None:
    created = await api.create("widgets", widget("a"))
    answer = await api.get("widgets", "a", watch="true")
    assert answer.body == created


async def test_a_watch_in_another_version_shows_that_version(api: Api) -> None:
    second = f"/apis/{GROUP}/v2/widgets"
    async with api.watching(second, resourceVersion=await now(api)) as events:
        await api.create("widgets", widget("a"))
        (event,) = await take_whole(events, 1)
    assert event["object"]["apiVersion"] == f"{GROUP}/v2"


@pytest.mark.parametrize("plural", ["widgets", "configmaps"])
async def test_a_label_that_comes_or_goes_adds_and_deletes(api: Api, plural: str) -> None:
    make = widget if plural == "widgets" else config_map
    async with api.watching(plural, labelSelector="x=1", resourceVersion=await now(api, plural)) as events:
        await api.create(plural, make("a", labels={"x": "0"}))
        await api.create(plural, make("b", labels={"x": "1"}))
        await api.patch(plural, "a", {"metadata": {"labels": {"x": "1"}}})
        await api.patch(plural, "b", {"metadata": {"labels": {"x": "2"}}})
        await api.patch(plural, "b", {"metadata": {"labels": {"x": "3"}}})
        await api.delete(plural, "a")
        assert await take(events, 4) == [("ADDED", "b"), ("ADDED", "a"), ("DELETED", "b"), ("DELETED", "a")]


async def test_what_leaves_a_selection_is_shown_as_it_was(api: Api) -> None:
    async with api.watching("widgets", labelSelector="x=1", resourceVersion=await now(api)) as events:
        await api.create("widgets", widget("b", labels={"x": "1"}))
        left = await api.patch("widgets", "b", {"metadata": {"labels": {"x": "2"}}})
        _, event = await take_whole(events, 2)
    assert event["object"]["metadata"]["labels"] == {"x": "1"}
    assert event["object"]["metadata"]["resourceVersion"] == left.version


async def test_fields_select_in_watches(api: Api) -> None:
    async with api.watching("widgets", fieldSelector="spec.color=blue", resourceVersion=await now(api)) as events:
        await api.create("widgets", widget("a"))
        await api.create("widgets", widget("b", {"color": "blue"}))
        await api.patch("widgets", "b", {"spec": {"color": "red"}})
        assert await take(events, 2) == [("ADDED", "b"), ("DELETED", "b")]


@pytest.mark.parametrize("plural", ["widgets", "configmaps"])
async def test_initial_events_end_with_a_bookmark(api: Api, plural: str) -> None:
    make = widget if plural == "widgets" else config_map
    created = await api.create(plural, make("a", labels={"mine": "yes"}))
    query: dict[str, Any] = {"resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with api.watching(plural, sendInitialEvents="true", labelSelector="mine", **query) as events:
        added, bookmark = await take_whole(events, 2)
        assert added == {"type": "ADDED", "object": created}
        assert bookmark["type"] == "BOOKMARK"
        shown = bookmark["object"]
        assert shown["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert int(shown["metadata"]["resourceVersion"]) >= int(created["metadata"]["resourceVersion"])
        assert (shown["kind"], shown["apiVersion"]) == (created["kind"], created["apiVersion"])
        await api.create(plural, make("b", labels={"mine": "yes"}))
        assert await take(events, 1) == [("ADDED", "b")]


async def test_no_initial_events_when_they_are_not_wanted(api: Api) -> None:
    await api.create("widgets", widget("a"))
    query = {"resourceVersionMatch": "NotOlderThan", "sendInitialEvents": "false"}
    async with api.watching("widgets", resourceVersion=await now(api), **query) as events:
        await api.create("widgets", widget("b"))
        assert await take(events, 1) == [("ADDED", "b")]


async def test_a_watch_ends_after_its_timeout(api: Api) -> None:
    with trio.fail_after(10):
        async with api.watching("widgets", timeoutSeconds=1, resourceVersion=await now(api)) as events:
            assert [event async for event in events] == []


async def test_a_bookmark_comes_before_a_watch_ends(api: Api) -> None:
    version = await now(api)
    with trio.fail_after(15):
        query: Object = {"timeoutSeconds": 4, "allowWatchBookmarks": "true", "resourceVersion": version}
        async with api.watching("widgets", **query) as events:
            await api.create("configmaps", config_map("elsewhere"))
            found = [event async for event in events]
    assert {event["type"] for event in found} <= {"BOOKMARK"}
    assert all(int(event["object"]["metadata"]["resourceVersion"]) >= int(version) for event in found)


async def test_a_watch_of_a_forgotten_version_is_expired(api: Api, server: ServerUnderTest) -> None:
    created = await api.create("widgets", widget("a"))
    await api.create("widgets", widget("b"))
    server.forget()
    version = "1" if int(created["metadata"]["resourceVersion"]) > 1 else "0"
    answer = await api.send("GET", api.path("widgets"), watch="true", resourceVersion=version, timeoutSeconds=5)
    status = answer.body["object"] if answer.code == 200 else answer.body
    assert (status["code"], status["reason"]) == (410, "Expired")
    assert status["message"].startswith("too old resource version: 1 (")


async def test_a_watch_of_the_future_waits_or_is_refused(api: Api, server: ServerUnderTest) -> None:
    query: Object = {"watch": "true", "resourceVersion": "99999999", "timeoutSeconds": 1}
    if server.refuses("watches from the future"):
        answer = await api.send("GET", api.path("widgets"), **query)
        assert answer.refusal() == (504, "Timeout")
        assert answer.message.startswith("Timeout: Too large resource version: 99999999")
    else:
        async with api.watching("widgets", **query) as events:
            assert [event async for event in events] == []


async def test_tables_can_be_watched(api: Api) -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    async with api.watching("widgets", accept=table, resourceVersion=await now(api)) as events:
        await api.create("widgets", widget("a"))
        await api.create("widgets", widget("b"))
        first, second = await take_whole(events, 2)
    assert first["object"]["kind"] == "Table"
    assert first["object"]["columnDefinitions"]
    assert first["object"]["rows"][0]["cells"][0] == "a"
    assert not second["object"]["columnDefinitions"], "the columns are told once"


async def test_metadata_alone_can_be_watched(api: Api) -> None:
    partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    async with api.watching("widgets", accept=partial, resourceVersion=await now(api)) as events:
        await api.create("widgets", widget("a"))
        (event,) = await take_whole(events, 1)
    assert event["object"]["kind"] == "PartialObjectMetadata"
    assert "spec" not in event["object"]


async def test_many_watchers_see_the_same_history(api: Api) -> None:
    version = await now(api)
    histories: list[list[tuple[str, str]]] = []

    async def follow() -> None:
        async with api.watching("configmaps", labelSelector="burst", resourceVersion=version) as events:
            histories.append(await take(events, 40))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(follow)
        for index in range(20):
            await api.create("configmaps", config_map(f"c{index}", labels={"burst": "yes"}))
            await api.delete("configmaps", f"c{index}")
    assert len(histories) == 4
    assert all(history == histories[0] for history in histories)
