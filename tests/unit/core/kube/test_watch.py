"""A watch continues after every error except the loss of its history. Virtual time throughout."""

from __future__ import annotations

import httpx
import pytest
import trio
import trio.testing

from core.kube.watch import WatchTiming, open_watch
from core.kube.watch_line import WatchEvent
from kubewire import WatchEventType, status_failure
from tests.unit.core.kube.scripted_server import WIDGET, ScriptedServer, WatchConnection, listing, refusal, widget


def names(events: list[WatchEvent]) -> list[str]:
    return [f"{event.type}:{event.object['metadata'].get('resourceVersion')}" for event in events]


async def take(events: trio.MemoryReceiveChannel[WatchEvent], count: int) -> list[WatchEvent]:
    return [await events.receive() for _ in range(count)]


async def test_events_come_in_order_and_the_request_says_what_is_watched(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = ScriptedServer()
    async with (
        server.client() as client,
        open_watch(
            client, WIDGET, namespace="team", label_selector="a=b", field_selector="x=y", resource_version="7"
        ) as events,
    ):
        watch = await server.next_watch()
        watch.push("ADDED", widget("a", 8))
        watch.push("DELETED", widget("a", 9))
        watch.push("BOOKMARK", {"metadata": {"resourceVersion": "20"}})

        assert names(await take(events, 3)) == ["ADDED:8", "DELETED:9", "BOOKMARK:20"]

    params = watch.request.url.params
    assert watch.request.url.path == "/apis/example.io/v1/namespaces/team/widgets"
    assert (params["resourceVersion"], params["allowWatchBookmarks"]) == ("7", "true")
    assert (params["labelSelector"], params["fieldSelector"]) == ("a=b", "x=y")
    assert 300 <= int(params["timeoutSeconds"]) <= 600
    assert watch.closed.is_set()


async def test_events_split_across_chunks_are_put_together(autojump_clock: trio.testing.MockClock) -> None:
    server = ScriptedServer()
    async with server.client() as client, open_watch(client, WIDGET, resource_version="1") as events:
        watch = await server.next_watch()
        watch.push_bytes(b'{"type":"ADDED","object":{"metadata":')
        watch.push_bytes(
            b'{"name":"a","resourceVersion":"2"}}}\n'
            b'{"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"3"}}}\n\n{"ty'
        )
        watch.push_bytes(b'pe":"BOOKMARK","object":{"metadata":{"resourceVersion":"4"}}}\n')

        assert names(await take(events, 3)) == ["ADDED:2", "MODIFIED:3", "BOOKMARK:4"]


@pytest.mark.parametrize("how", ["end", "break_off"])
async def test_a_connection_that_ends_is_continued_from_the_last_version(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    server = ScriptedServer()
    async with server.client() as client, open_watch(client, WIDGET, resource_version="1") as events:
        first = await server.next_watch()
        first.push("ADDED", widget("a", 5))
        getattr(first, how)()
        second = await server.next_watch()
        second.push("MODIFIED", widget("a", 6))

        assert second.resource_version == "5"
        assert names(await take(events, 2)) == ["ADDED:5", "MODIFIED:6"]
        assert trio.current_time() - first.opened_at <= 2


@pytest.mark.parametrize("how", ["break_off", "stall"])
async def test_a_refusal_that_does_not_arrive_whole_is_a_failure_like_any_other(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    refusals: list[WatchConnection] = []

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if refusals:
            return None
        refusals.append(WatchConnection(request))
        refusals[0].push_bytes(b'{"kind": "Status", ')
        if how == "break_off":
            refusals[0].break_off()
        return httpx.Response(503, stream=refusals[0])

    server = ScriptedServer(refuse_watch=refuse)
    async with server.client() as client, open_watch(client, WIDGET, resource_version="1") as events:
        watch = await server.next_watch()
        watch.push("ADDED", widget("a", 5))

        assert names(await take(events, 1)) == ["ADDED:5"]
    assert watch.resource_version == "1"
    assert refusals[0].closed.is_set()


async def test_a_bookmark_moves_the_position(autojump_clock: trio.testing.MockClock) -> None:
    server = ScriptedServer()
    async with server.client() as client, open_watch(client, WIDGET, resource_version="1"):
        first = await server.next_watch()
        first.push("BOOKMARK", {"metadata": {"resourceVersion": "90"}})
        first.end()

        assert (await server.next_watch()).resource_version == "90"


async def test_a_half_open_connection_is_noticed_within_75_seconds(autojump_clock: trio.testing.MockClock) -> None:
    server = ScriptedServer(answer=lambda request: listing(version=5))
    contacts: list[float] = []
    async with (
        server.client() as client,
        open_watch(
            client, WIDGET, resource_version="1", on_contact=lambda: contacts.append(trio.current_time())
        ) as events,
    ):
        first = await server.next_watch()
        await trio.sleep(50)
        first.push("ADDED", widget("a", 5))
        await events.receive()
        at = trio.current_time()
        second = await server.next_watch()

        assert 75 <= trio.current_time() - at < 76
        assert first.closed.is_set()
        assert second.resource_version == "5"
    assert contacts[:2] == [first.opened_at, at]


async def test_silence_from_a_server_whose_history_went_back_asks_for_a_new_list(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = ScriptedServer(answer=lambda request: listing(version=40))
    async with server.client() as client, open_watch(client, WIDGET, resource_version="100") as events:
        await server.next_watch()
        [event] = await take(events, 1)

        assert (event.type, event.object["reason"]) == (WatchEventType.ERROR, "Expired")
        with pytest.raises(trio.EndOfChannel):
            await events.receive()


async def test_after_silence_only_objects_that_may_be_watched_are_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A right by name allows nothing but a list with the same field selector."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("fieldSelector", ""))
        return listing(version=40)

    server = ScriptedServer(answer=answer)
    by_name = "metadata.name=a"
    async with (
        server.client() as client,
        open_watch(client, WIDGET, field_selector=by_name, resource_version="100") as events,
    ):
        await server.next_watch()
        [event] = await take(events, 1)

    assert event.type is WatchEventType.ERROR
    assert asked == [by_name]


@pytest.mark.parametrize("answered", ["as an event", "with HTTP"])
async def test_history_that_is_gone_ends_the_watch_with_one_error(
    autojump_clock: trio.testing.MockClock, answered: str
) -> None:
    server = ScriptedServer()
    if answered == "with HTTP":
        server.refuse_watch = lambda request: refusal("Expired", "too old resource version")
    async with server.client() as client, open_watch(client, WIDGET, resource_version="1") as events:
        if answered == "as an event":
            watch = await server.next_watch()
            watch.push("ERROR", status_failure("Expired", "too old resource version"))
        [event] = await take(events, 1)

        assert event.type is WatchEventType.ERROR
        assert event.object["code"] == 410
        assert "too old" in event.object["message"]
        with pytest.raises(trio.EndOfChannel):
            await events.receive()


async def test_a_version_from_the_future_asks_for_a_new_list(autojump_clock: trio.testing.MockClock) -> None:
    server = ScriptedServer()
    details = {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}
    server.refuse_watch = lambda request: refusal("Timeout", details=details)
    async with server.client() as client, open_watch(client, WIDGET, resource_version="99") as events:
        assert (await events.receive()).type is WatchEventType.ERROR


async def test_forbidden_is_told_and_a_sick_server_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    server = ScriptedServer()
    answers = [refusal("ServiceUnavailable"), refusal("InternalError"), refusal("TooManyRequests", retry_after="9")]
    server.refuse_watch = lambda request: answers.pop(0) if answers else refusal("Forbidden")
    async with server.client() as client, open_watch(client, WIDGET, resource_version="1") as events:
        event = await events.receive()

        assert event.object["reason"] == "Forbidden"
        assert trio.current_time() >= 9
    assert len(server.requests) == 4


async def test_an_outage_of_ten_minutes_costs_few_requests_and_no_event(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = ScriptedServer()
    server.refuse_watch = lambda request: refusal("ServiceUnavailable") if trio.current_time() < 600 else None
    async with server.client() as client, open_watch(client, WIDGET, resource_version="1") as events:
        watch = await server.next_watch()
        watch.push("ADDED", widget("a", 2))

        assert names(await take(events, 1)) == ["ADDED:2"]
        assert trio.current_time() <= 630
    assert len(server.requests) < 120


async def test_a_server_that_closes_every_five_seconds_loses_nothing_and_is_not_waited_for_longer_and_longer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = ScriptedServer()
    async with server.client() as client, open_watch(client, WIDGET, resource_version="1") as events:
        for _ in range(20):
            watch = await server.next_watch()
            await trio.sleep(5)
            watch.end()
        watch = await server.next_watch()
        watch.push("ADDED", widget("a", 2))

        assert names(await take(events, 1)) == ["ADDED:2"]
        assert trio.current_time() < 20 * 5.3


@pytest.mark.parametrize(
    "damage",
    [
        b"{truncated",
        b'{"type":"ADDED"}\n',
        b"[1]\n",
        b'{"type":"EXPLODED","object":{"metadata":{"resourceVersion":"3"}}}\n',
        b'{"type":"ADDED","object":{"metadata":{"resourceVersion":7}}}\n',
        b"null\n",
        b'"ADDED"\n',
    ],
)
async def test_damage_is_answered_by_reconnecting(autojump_clock: trio.testing.MockClock, damage: bytes) -> None:
    server = ScriptedServer()
    async with server.client() as client, open_watch(client, WIDGET, resource_version="1") as events:
        first = await server.next_watch()
        first.push("ADDED", widget("a", 2))
        first.push_bytes(damage)
        first.end()
        second = await server.next_watch()
        second.push("MODIFIED", widget("a", 3))

        assert second.resource_version == "2"
        assert names(await take(events, 2)) == ["ADDED:2", "MODIFIED:3"]


async def test_damage_that_stays_asks_for_a_new_list(autojump_clock: trio.testing.MockClock) -> None:
    server = ScriptedServer()
    async with server.client() as client, open_watch(client, WIDGET, resource_version="1") as events:
        for _ in range(3):
            (await server.next_watch()).push_bytes(b"{]\n")

        assert (await events.receive()).type is WatchEventType.ERROR


async def test_a_line_without_end_is_damage(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.kube.watch.MAX_LINE_BYTES", 1000)
    server = ScriptedServer()
    async with server.client() as client, open_watch(client, WIDGET, resource_version="1"):
        first = await server.next_watch()
        first.push_bytes(b"x" * 600)
        first.push_bytes(b"x" * 600)
        await server.next_watch()

        assert first.closed.is_set()


async def test_the_consumers_own_error_leaves_the_block_as_it_was_raised(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = ScriptedServer()
    with pytest.raises(LookupError, match="mine"):
        async with server.client() as client, open_watch(client, WIDGET, resource_version="1"):
            raise LookupError("mine")


async def test_a_slow_consumer_slows_the_reading_and_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    server = ScriptedServer()
    async with (
        server.client() as client,
        open_watch(client, WIDGET, resource_version="1", timing=WatchTiming(silence_seconds=5)) as events,
    ):
        watch = await server.next_watch()
        for version in range(2, 1002):
            watch.push("MODIFIED", widget("a", version))
        await trio.sleep(100)

        assert names(await take(events, 1000)) == [f"MODIFIED:{version}" for version in range(2, 1002)]


@pytest.mark.parametrize("after", [0.0, 0.5, 3.0, 74.0, 76.0])
async def test_cancellation_at_any_moment_closes_the_connection(
    autojump_clock: trio.testing.MockClock, after: float
) -> None:
    server = ScriptedServer()
    async with server.client() as client:
        with trio.move_on_after(after) as scope:
            async with open_watch(client, WIDGET, resource_version="1") as events:
                watch = await server.next_watch()
                await trio.sleep(1)
                watch.push("ADDED", widget("a", 2))
                async for _ in events:
                    pass
    opened = [request for request in server.requests if request.url.params.get("watch")]

    assert scope.cancelled_caught
    if after > 0:
        assert opened
        assert watch.closed.is_set()


async def test_a_watch_needs_a_list_to_continue() -> None:
    async with ScriptedServer().client() as client:
        with pytest.raises(ValueError, match="resourceVersion"):
            async with open_watch(client, WIDGET, resource_version=""):
                pass
