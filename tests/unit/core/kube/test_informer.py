"""The informer is current, is not confused by echoes of its own writes, and recovers from errors. Virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from core.kube.errors import ForbiddenError
from core.kube.informer import Change, Informer
from core.kube.packed import PACKED_FROM_BYTES
from tests.unit.core.kube.scripted_server import WIDGET, ScriptedServer, listing, refusal, version_of, widget


class Told:
    """A handler that records changes, and lets a test wait for them."""

    def __init__(self) -> None:
        self.changes: list[str] = []
        self._news = trio.Event()

    def __call__(self, change: Change) -> None:
        self.changes.append(f"{change.kind} {change.object['metadata']['name']}@{version_of(change.object)}")
        self._news.set()
        self._news = trio.Event()

    async def until(self, count: int) -> list[str]:
        while len(self.changes) < count:
            await self._news.wait()
        return self.changes


async def informer_of(
    server: ScriptedServer, nursery: trio.Nursery, stack: AsyncExitStack, **options: Any
) -> tuple[Informer, Told]:
    client = await stack.enter_async_context(server.client())
    informer, told = Informer(client, WIDGET, **options), Told()
    informer.add_handler(told)
    await nursery.start(informer.run)
    return informer, told


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def test_it_has_started_once_the_list_is_in(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    server = ScriptedServer(answer=lambda request: listing(widget("a", 3), widget("b", 4), version=10))
    informer, told = await informer_of(server, nursery, stack, namespace="team", label_selector="x=y")

    assert informer.has_synced
    await informer.wait_until_synced()
    assert told.changes == ["ADDED a@3", "ADDED b@4"]
    assert (informer.get("team", "a") or {})["kind"] == "Widget"
    assert informer.get("team", "z") is None
    assert [obj["metadata"]["name"] for obj in informer.list("team")] == ["a", "b"]
    assert (await server.next_watch()).resource_version == "10"
    params = server.requests[0].url.params
    assert params["labelSelector"] == "x=y"
    assert "resourceVersion" not in params


async def test_events_reach_store_index_and_handlers(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    server = ScriptedServer(answer=lambda request: listing(widget("a", 3, owner="x"), version=10))
    informer, told = await informer_of(server, nursery, stack, indexers={"owner": lambda obj: [obj["owner"]]})
    watch = await server.next_watch()
    watch.push("MODIFIED", widget("a", 11, owner="y"))
    watch.push("ADDED", widget("b", 12, owner="y"))
    watch.push("MODIFIED", widget("b", 12, owner="y"))
    watch.push("DELETED", widget("a", 13, owner="y"))
    await told.until(4)

    assert told.changes == ["ADDED a@3", "UPDATED a@11", "ADDED b@12", "DELETED a@13"]
    assert informer.by_index("owner", "x") == []
    assert [obj["metadata"]["name"] for obj in informer.by_index("owner", "y")] == ["b"]
    with pytest.raises(KeyError):
        informer.by_index("nothing", "y")


async def test_a_remembered_write_is_visible_at_once_and_older_events_are_passed_over(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    server = ScriptedServer(answer=lambda request: listing(widget("a", 3), version=10))
    informer, told = await informer_of(server, nursery, stack, indexers={"all": lambda obj: ["it"]})
    watch = await server.next_watch()
    informer.remember(widget("a", 15))
    informer.remember(widget("new", 16))

    assert version_of(informer.get("team", "a") or widget("none", 0)) == "15"
    assert len(informer.by_index("all", "it")) == 2
    for version in (12, 15, 17):
        watch.push("MODIFIED", widget("a", version))
    await told.until(4)
    assert told.changes == ["ADDED a@3", "UPDATED a@15", "ADDED new@16", "UPDATED a@17"]


async def test_an_event_of_an_own_write_is_not_read_and_moves_the_position(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    server = ScriptedServer(answer=lambda request: listing(version=10))
    informer, told = await informer_of(server, nursery, stack)
    watch = await server.next_watch()
    informer.remember(widget("a", 15))
    watch.push("MODIFIED", widget("a", 15, note="the server would send what it has answered"))
    watch.push("ADDED", widget("b", 16))
    await told.until(2)
    assert "note" not in (informer.get("team", "a") or {})
    informer.remember(widget("c", 17))
    watch.push("ADDED", widget("c", 17))
    watch.end()
    assert (await server.next_watch()).resource_version == "17"
    assert told.changes == ["ADDED a@15", "ADDED b@16", "ADDED c@17"]


async def test_after_a_list_the_event_of_a_version_that_was_known_is_read(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    """A server that was restored from a backup gives a version again, perhaps to the same object."""
    server = ScriptedServer(answer=lambda request: listing(version=10))
    informer, told = await informer_of(server, nursery, stack)
    informer.remember(widget("a", 15))
    (await server.next_watch()).push("ERROR", {"code": 410, "reason": "Expired"})
    server.answer = lambda request: listing(version=5)
    watch = await server.next_watch()
    watch.push("ERROR", {"code": 410, "reason": "Expired"})
    watch = await server.next_watch()
    watch.push("ADDED", widget("a", 15, note="another history"))
    await told.until(3)
    assert (informer.get("team", "a") or {})["note"] == "another history"


async def test_who_writes_gets_the_very_copy_that_is_kept(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    server = ScriptedServer(answer=lambda request: listing(version=10))
    informer, _ = await informer_of(server, nursery, stack, trim=lambda obj: {"metadata": obj["metadata"]})
    kept = informer.remember(widget("a", 15, ballast="x"))
    assert "ballast" not in kept
    assert informer.get("team", "a") is kept


async def test_a_relist_does_not_lose_a_write_it_is_too_old_to_show(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    listed_while: list[Callable[[], object]] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        for happens in listed_while:
            happens()
        return listing(version=10)

    server = ScriptedServer(answer=answer)
    informer, told = await informer_of(server, nursery, stack)
    listed_while.append(lambda: informer.remember(widget("new", 16)))
    (await server.next_watch()).push("ERROR", {"code": 410, "reason": "Expired"})
    await server.next_watch()

    assert informer.get("team", "new") is not None
    assert told.changes == ["ADDED new@16"]


async def test_a_forgotten_object_is_gone_at_once(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    server = ScriptedServer(answer=lambda request: listing(widget("a", 3), version=10))
    informer, told = await informer_of(server, nursery, stack)
    watch = await server.next_watch()
    informer.forget("team", "a", "uid-a")

    assert informer.get("team", "a") is None
    watch.push("MODIFIED", widget("a", 11))
    watch.push("DELETED", widget("a", 12))
    watch.push("ADDED", widget("a", 13, uid="again"))
    await told.until(3)
    assert told.changes == ["ADDED a@3", "DELETED a@3", "ADDED a@13"]


async def test_lost_history_costs_one_list_and_tells_only_differences(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    answers = [
        listing(widget("a", 3), widget("b", 4), version=10),
        listing(widget("a", 3), widget("c", 30), version=40),
    ]
    errors: list[Exception | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        errors.append(informer.last_error if len(answers) == 1 else None)
        return answers.pop(0)

    server = ScriptedServer(answer=answer)
    informer, told = await informer_of(server, nursery, stack)
    watch = await server.next_watch()
    at = trio.current_time()
    watch.push("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})

    assert (await server.next_watch()).resource_version == "40"
    assert trio.current_time() - at <= 2
    assert told.changes[2:] == ["ADDED c@30", "DELETED b@4"]
    assert answers == []
    assert errors == [None, None], "an API server forgets its history: that is no error to report"


async def test_another_object_behind_the_same_name_is_told_as_two_changes(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    answers = [listing(widget("a", 3, uid="first"), version=10), listing(widget("a", 30, uid="second"), version=40)]
    server = ScriptedServer(answer=lambda request: answers.pop(0))
    _, told = await informer_of(server, nursery, stack)
    (await server.next_watch()).push("ERROR", {"code": 410})

    assert await told.until(3) == ["ADDED a@3", "DELETED a@3", "ADDED a@30"]


async def test_a_server_restored_from_a_backup_is_believed(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    answers = [listing(widget("a", 90), widget("b", 95), version=100)]
    server = ScriptedServer(answer=lambda request: answers.pop(0) if answers else listing(widget("a", 20), version=30))
    _, told = await informer_of(server, nursery, stack)
    await server.next_watch()

    assert await told.until(4) == ["ADDED a@90", "ADDED b@95", "UPDATED a@20", "DELETED b@95"]
    watch = await server.next_watch()
    assert watch.resource_version == "30"
    watch.push("MODIFIED", widget("a", 31))
    assert (await told.until(5))[-1] == "UPDATED a@31"
    assert trio.current_time() < 80


async def test_refusal_is_remembered_as_the_last_error_until_it_ends(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    allowed = False
    server = ScriptedServer(answer=lambda request: listing(version=1) if allowed else refusal("Forbidden"))
    informer = Informer(await stack.enter_async_context(server.client()), WIDGET)
    nursery.start_soon(informer.run)
    await trio.sleep(60)

    refused: Exception | None = informer.last_error
    assert isinstance(refused, ForbiddenError)
    assert not informer.has_synced
    assert 4 <= len(server.requests) <= 40
    allowed = True
    await informer.wait_until_synced()
    assert informer.last_error is None
    assert trio.current_time() <= 91


async def test_staleness_counts_from_the_last_sign_of_the_server(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    up = True
    server = ScriptedServer(answer=lambda request: listing(version=1) if up else refusal("ServiceUnavailable"))
    server.refuse_watch = lambda request: None if up else refusal("ServiceUnavailable")
    unstarted = Informer(await stack.enter_async_context(server.client()), WIDGET)
    assert unstarted.is_stale
    informer, _ = await informer_of(server, nursery, stack)
    watch = await server.next_watch()
    await trio.sleep(30)

    assert informer.seconds_since_contact == pytest.approx(30)
    watch.push("BOOKMARK", {"metadata": {"resourceVersion": "2"}})
    await trio.sleep(1)
    assert informer.seconds_since_contact == pytest.approx(1)
    assert not informer.is_stale
    up = False
    await trio.sleep(200)
    assert informer.is_stale


async def test_it_is_behind_from_the_last_sign_of_the_server_until_there_is_another_watch(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    up = True
    server = ScriptedServer(answer=lambda request: listing(version=1))
    server.refuse_watch = lambda request: None if up else refusal("ServiceUnavailable")
    informer, _ = await informer_of(server, nursery, stack)
    watch = await server.next_watch()
    await trio.sleep(30)
    assert informer.seconds_behind == 0

    up = False
    watch.end()
    await trio.sleep(20)
    assert informer.seconds_behind == pytest.approx(50)
    up = True
    await server.next_watch()
    await trio.sleep(1)
    assert informer.seconds_behind == 0


async def test_an_idle_kind_without_bookmarks_is_never_stale(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    server = ScriptedServer(answer=lambda request: listing(version=1))
    informer, _ = await informer_of(server, nursery, stack)
    for _ in range(100):
        await trio.sleep(10)
        assert not informer.is_stale
    full_lists = [request for request in server.requests if request.url.params.get("limit") == "16"]
    assert len(full_lists) == 1


async def test_what_is_added_later_hears_of_everything_already_here(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    server = ScriptedServer(answer=lambda request: listing(widget("a", 3), version=10))
    informer, _ = await informer_of(server, nursery, stack)
    late = Told()
    informer.add_handler(late)

    assert late.changes == ["ADDED a@3"]


async def test_handlers_that_are_gathered_share_each_known_object(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    large = "x" * PACKED_FROM_BYTES
    objects = (widget("a", 3, text=large), widget("b", 4, text=large))
    server = ScriptedServer(answer=lambda request: listing(*objects, version=10))
    informer, _ = await informer_of(server, nursery, stack)
    seen: list[tuple[str, int]] = []

    def see(number: int) -> Callable[[Change], None]:
        return lambda change: seen.append((change.object["metadata"]["name"], id(change.object) * number))

    with informer.gathering_handlers():
        informer.add_handler(see(1))
        informer.add_handler(see(-1))
        assert seen == []

    assert [name for name, _ in seen] == ["a", "a", "b", "b"]
    assert [first + second for (_, first), (_, second) in zip(seen[::2], seen[1::2], strict=True)] == [0, 0]


async def test_a_new_handler_is_not_called_with_objects_at_rest(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    objects = (widget("a", 3, phase="Succeeded"), widget("b", 4, phase="Running"))
    server = ScriptedServer(answer=lambda request: listing(*objects, version=10))
    informer, told = await informer_of(
        server,
        nursery,
        stack,
        is_at_rest=lambda obj: bool(obj["phase"] == "Succeeded"),
        indexers={"all": lambda _: ["x"]},
    )
    late = Told()
    informer.add_handler(late)

    assert told.changes == ["ADDED a@3", "ADDED b@4"]
    assert late.changes == ["ADDED b@4"]
    assert [obj["metadata"]["name"] for obj in informer.in_motion()] == ["b"]
    assert sorted(key.name for key in informer.all_keys()) == ["a", "b"]
    assert [obj["metadata"]["name"] for obj in informer.by_index("all", "x")] == ["a", "b"]


async def test_an_object_whose_rest_cannot_be_told_is_kept_as_any_other(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    server = ScriptedServer(answer=lambda request: listing(widget("a", 3), version=10))
    informer, told = await informer_of(server, nursery, stack, is_at_rest=lambda obj: bool(obj["nowhere"]))

    assert told.changes == ["ADDED a@3"]
    assert informer.get("team", "a") is informer.get("team", "a")


async def test_a_handler_or_indexer_that_fails_does_not_blind_the_others(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    def fails(change: Change) -> None:
        raise RuntimeError("a bug")

    server = ScriptedServer(answer=lambda request: listing(widget("odd", 3), widget("a", 4, owner="x"), version=10))
    client = await stack.enter_async_context(server.client())
    informer, told = Informer(client, WIDGET, indexers={"owner": lambda obj: [obj["owner"]]}), Told()
    informer.add_handler(fails)
    informer.add_handler(told)
    await nursery.start(informer.run)

    assert told.changes == ["ADDED odd@3", "ADDED a@4"]
    assert [obj["metadata"]["name"] for obj in informer.by_index("owner", "x")] == ["a"]


async def test_trimmed_objects_are_what_is_kept(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, stack: AsyncExitStack
) -> None:
    def trim(obj: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": obj["metadata"]}

    server = ScriptedServer(answer=lambda request: listing(widget("a", 3, big="x"), version=10))
    informer, _ = await informer_of(server, nursery, stack, trim=trim)
    informer.remember(widget("b", 4, big="x"))

    assert all("big" not in obj for obj in informer.list())


@pytest.mark.parametrize("after", [0.0, 1.0, 5.0, 60.0])
async def test_cancellation_leaves_nothing_behind(autojump_clock: trio.testing.MockClock, after: float) -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        await trio.sleep(2)
        return listing(widget("a", 3), version=10)

    server = ScriptedServer(answer=slow)
    async with server.client() as client:
        with trio.move_on_after(after) as scope:
            await Informer(client, WIDGET).run()
    assert scope.cancelled_caught
