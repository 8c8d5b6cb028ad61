"""Watches over an in-memory store: order, resumption, selection, bookmarks, and clients that fall behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import trio
from trio.testing import MockClock

from kubewire import WatchEventType
from localcluster.server import selectors, watchcache
from localcluster.server.builtin import BUILTIN
from localcluster.server.errors import StatusError
from localcluster.server.storage import Storage
from localcluster.server.store import StaleWriteError, Store
from localcluster.server.stored import Stored
from localcluster.server.types import Object, ResourceType
from localcluster.server.watch import BOOKMARK_INTERVAL_SECONDS, INITIAL_EVENTS_END, Watch
from localcluster.server.watchcache import Collection

PODS = next(resource for resource in BUILTIN if resource.plural == "pods")


@pytest.fixture
def store() -> Iterator[Store]:
    storage = Storage.open(None)
    yield Store(storage)
    storage.close()


def pod(name: str, namespace: str = "default", **labels: str) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


def put(store: Store, obj: Object) -> Stored:
    collection = store.collection("/pods")
    key = f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
    return store.write(collection, key, obj, expected=collection.get(key))


def delete(store: Store, key: str) -> Stored:
    collection = store.collection("/pods")
    return store.write(collection, key, None, expected=collection.get(key))


async def as_stored(stored: Stored, _: ResourceType) -> Object:
    return stored.object


def watch(store: Store, **options: Any) -> Watch:
    collection = store.collection("/pods")
    settings: dict[str, Any] = {
        "namespace": None,
        "predicate": selectors.everything,
        "position": collection.end_position,
        "read": as_stored,
        "current_revision": lambda: store.revision,
    }
    return Watch(collection, PODS, **{**settings, **options})


async def seen(events: Watch, count: int) -> list[tuple[str, str]]:
    found = []
    for _ in range(count):
        event = await events.receive()
        found.append((event.type.value, event.object["metadata"].get("name", "")))
    return found


async def test_events_come_in_commit_order(store: Store) -> None:
    events = watch(store)
    put(store, pod("a"))
    put(store, pod("b"))
    put(store, pod("a", x="1"))
    delete(store, "default/b")
    assert await seen(events, 4) == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


async def test_a_waiting_watcher_is_woken_by_a_write(store: Store, nursery: trio.Nursery) -> None:
    events = watch(store)
    found: list[tuple[str, str]] = []

    async def wait_for_one() -> None:
        found.extend(await seen(events, 1))

    nursery.start_soon(wait_for_one)
    await trio.testing.wait_all_tasks_blocked()
    assert found == []
    put(store, pod("late"))
    await trio.testing.wait_all_tasks_blocked()
    assert found == [("ADDED", "late")]


async def test_a_deletion_shows_the_last_state_with_the_revision_of_the_deletion(store: Store) -> None:
    put(store, pod("a", x="1"))
    events = watch(store)
    gone = delete(store, "default/a")
    event = await events.receive()
    assert event.object["metadata"]["labels"] == {"x": "1"}
    assert event.object["metadata"]["resourceVersion"] == str(gone.revision) == str(store.revision)


async def test_resuming_from_a_revision_misses_nothing(store: Store) -> None:
    put(store, pod("a"))
    middle = put(store, pod("b")).revision
    put(store, pod("c"))
    events = watch(store, position=store.collection("/pods").position_after(middle))
    assert await seen(events, 1) == [("ADDED", "c")]


async def test_another_namespace_is_not_seen(store: Store) -> None:
    events = watch(store, namespace="mine")
    put(store, pod("theirs", "mine-too"))
    put(store, pod("ours", "mine"))
    assert await seen(events, 1) == [("ADDED", "ours")]


async def test_entering_and_leaving_a_selection_is_added_and_deleted(store: Store) -> None:
    events = watch(store, predicate=selectors.label_predicate("x=1"))
    put(store, pod("a", x="0"))
    put(store, pod("a", x="1"))
    put(store, pod("a", x="1", y="2"))
    left = put(store, pod("a", x="2"))
    assert await seen(events, 2) == [("ADDED", "a"), ("MODIFIED", "a")]
    event = await events.receive()
    assert event.type is WatchEventType.DELETED
    assert event.object["metadata"]["labels"] == {"x": "1", "y": "2"}
    assert event.object["metadata"]["resourceVersion"] == str(left.revision)


async def test_initial_events_end_with_an_annotated_bookmark(store: Store) -> None:
    put(store, pod("a"))
    put(store, pod("b"))
    initial = store.collection("/pods").select()
    events = watch(store, initial=initial, mark_initial_end=True, bookmarks=True)
    assert await seen(events, 2) == [("ADDED", "a"), ("ADDED", "b")]
    event = await events.receive()
    assert event.type is WatchEventType.BOOKMARK
    assert event.object["metadata"]["annotations"] == {INITIAL_EVENTS_END: "true"}
    assert event.object["metadata"]["resourceVersion"] == str(store.revision)


async def test_bookmarks_come_while_nothing_else_does(store: Store, autojump_clock: MockClock) -> None:
    events = watch(store, bookmarks=True)
    store.write(store.collection("/secrets"), "default/s", {"metadata": {}}, expected=None)
    begun = trio.current_time()
    event = await events.receive()
    assert event.type is WatchEventType.BOOKMARK
    assert event.object["metadata"]["resourceVersion"] == str(store.revision)
    assert trio.current_time() - begun == pytest.approx(BOOKMARK_INTERVAL_SECONDS)


async def test_a_watch_ends_after_its_timeout_with_a_last_bookmark(store: Store, autojump_clock: MockClock) -> None:
    events = watch(store, bookmarks=True, timeout_seconds=5)
    assert (await events.receive()).type is WatchEventType.BOOKMARK
    with pytest.raises(trio.EndOfChannel):
        await events.receive()
    assert trio.current_time() == pytest.approx(5, abs=0.1)


async def test_a_watcher_that_fell_behind_is_told_to_list_again(store: Store) -> None:
    events = watch(store)
    put(store, pod("a"))
    store.collection("/pods").compact()
    with pytest.raises(StatusError) as caught:
        await events.receive()
    assert caught.value.code == 410
    assert caught.value.reason == "Expired"


def test_resuming_from_a_forgotten_revision_is_410(store: Store) -> None:
    revision = put(store, pod("a")).revision
    put(store, pod("b"))
    store.collection("/pods").compact()
    with pytest.raises(StatusError, match="too old resource version") as caught:
        store.collection("/pods").position_after(revision)
    assert caught.value.code == 410


async def test_a_watch_ends_when_its_resource_is_no_longer_served(store: Store, nursery: trio.Nursery) -> None:
    events = watch(store)
    ended = trio.Event()

    async def wait_for_end() -> None:
        async for _ in events:
            pass
        ended.set()

    nursery.start_soon(wait_for_end)
    await trio.testing.wait_all_tasks_blocked()
    store.end("/pods")
    await ended.wait()


async def test_an_event_is_serialized_once_for_all_watchers(store: Store) -> None:
    first, second = watch(store), watch(store)
    put(store, pod("a"))
    one, two = (await first.receive()).line, (await second.receive()).line
    assert one is two
    assert orjson.loads(one)["object"]["metadata"]["name"] == "a"


def test_the_log_is_bounded_by_count_and_by_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchcache, "LOG_CHANGES", 8)
    for index in range(50):
        put(store, pod(f"p{index}"))
    collection = store.collection("/pods")
    assert len(collection.changes_from(collection.end_position - 6) or ()) == 6
    assert collection.changes_from(0) is None
    monkeypatch.setattr(watchcache, "LOG_BYTES", 100)
    put(store, pod("last"))
    assert collection.changes_from(collection.end_position - 6) is None


def test_a_write_that_expects_another_state_changes_nothing(store: Store) -> None:
    old = put(store, pod("a"))
    put(store, pod("a", x="1"))
    collection = store.collection("/pods")
    before = store.revision
    with pytest.raises(StaleWriteError):
        store.write(collection, "default/a", pod("a", x="2"), expected=old)
    with pytest.raises(StaleWriteError):
        store.write(collection, "default/a", pod("a", x="2"), expected=None)
    assert store.revision == before


def test_keys_are_listed_as_etcd_orders_them() -> None:
    collection = Collection("/pods", 1)
    for key in ("a/z", "a-b/x", "b/x", "a/b"):
        collection.load(Stored(key, 1, b'{"metadata":{}}'))
    assert [stored.key for stored in collection.select()] == ["a-b/x", "a/b", "a/z", "b/x"]
    assert [stored.key for stored in collection.select("a")] == ["a/b", "a/z"]
    assert [stored.key for stored in collection.select("a", after="a/b")] == ["a/z"]


def test_an_earlier_state_can_be_read_while_it_is_remembered(store: Store) -> None:
    put(store, pod("a"))
    put(store, pod("b", x="old"))
    then = store.revision
    put(store, pod("b", x="new"))
    delete(store, "default/a")
    put(store, pod("c"))
    collection = store.collection("/pods")
    earlier = collection.select_at(then)
    assert earlier is not None
    assert [(item.key, item.object["metadata"]["labels"]) for item in earlier] == [
        ("default/a", {}),
        ("default/b", {"x": "old"}),
    ]
    collection.compact()
    assert collection.select_at(then) is None


def test_reloading_shows_what_was_written(store: Store) -> None:
    stored = put(store, pod("a"))
    collection = store.collection("/pods")
    collection.load(stored.reshaped(orjson.dumps({**stored.object, "spec": {}})))
    found = collection.get("default/a")
    assert found is not None
    assert found.object["spec"] == {}


async def test_a_burst_is_there_to_be_told_in_one_go(store: Store) -> None:
    objects = [put(store, pod(f"p{index:02}")) for index in range(3)]
    events = watch(store, initial=objects)
    put(store, pod("p03"))
    put(store, pod("p04"))

    told = []
    for _ in range(2):
        told.append([event.object["metadata"]["name"] for event in (await events.receive(), *events.receive_ready())])
    assert told == [["p00", "p01", "p02"], ["p03", "p04"]]


async def test_a_watch_that_never_waits_lets_others_run(store: Store) -> None:
    events = watch(store, initial=[put(store, pod(f"p{index:02}")) for index in range(5)])
    ran: list[str] = []

    async def other() -> None:
        while True:
            ran.append("other")
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(5):
            await events.receive()
        nursery.cancel_scope.cancel()
    assert len(ran) >= 4  # either task may begin the first round
