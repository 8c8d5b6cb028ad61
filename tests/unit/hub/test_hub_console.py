"""The console of a hub, request by request: who may, what comes, what is refused. (hub/console.py)"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import pytest
import trio

from core.api import keys
from core.api.objects import NamespacedName, Object
from hub.console import MAX_BODY_BYTES, MAX_SENDS, ConsoleApp
from hub.console_grants import KEY_HEADER, ConsoleReason
from hub.run_book import BindingStanding
from hub.taps import MAX_TAPS_OF_STEP
from hub.topology import Place
from tests.unit.hub.cluster_samples import transport_binding
from tests.unit.hub.modelled_client import EngramIO, collecting
from tests.unit.hub.stand import RUN, until
from tests.unit.hub.test_hub_console_grants import KEY, NOW, request
from tests.unit.hub.test_hub_stream_view import ClusterStand, open_stand

SINK = "/v1/namespaces/team/bindings/run-1-sink-transport"


@dataclass
class Answered:
    """An answer as the application gives it."""

    status: int = 0
    body: bytes = b""
    is_over: bool = False
    stalled: bool = False
    """The client reads nothing after the head."""

    async def send(self, message: Mapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        if self.stalled:
            await trio.sleep_forever()
        self.body += message.get("body", b"")
        self.is_over = not message.get("more_body", False)

    @property
    def reason(self) -> str:
        return str(json.loads(self.body)["reason"])

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines() if line.strip()]


@dataclass
class Desk:
    """The console of a hub with three steps, which nobody asks for yet."""

    stand: ClusterStand
    bindings: dict[str, Object] = field(default_factory=dict)
    clock: datetime = NOW
    app: ConsoleApp = field(init=False)

    def binding(self, name: NamespacedName) -> Object | None:
        return self.bindings.get(name.name)

    def standing(self, name: NamespacedName) -> BindingStanding | None:
        return self.stand.topology.book.standing(name)

    def ask(self, step: str = "sink", **more: Any) -> None:
        binding = transport_binding(step, uid=f"uid-{step}")
        binding["metadata"]["annotations"][f"{keys.ANNOTATION_STREAM_CONSOLE}.a"] = request(**more)
        self.bindings[f"run-1-{step}-transport"] = binding

    async def call(
        self,
        path: str,
        *,
        key: bytes | None = KEY,
        body: bytes | None = None,
        answered: Answered | None = None,
        gone: trio.Event | None = None,
        **query: Any,
    ) -> Answered:
        """``gone``: the client closes the connection then."""
        answer = answered or Answered()
        headers = [(KEY_HEADER.encode(), key.hex().encode())] if key is not None else []
        scope = {
            "type": "http",
            "method": "GET" if body is None else "POST",
            "path": path,
            "query_string": urlencode(query).encode(),
            "headers": headers,
        }
        waiting = [{"type": "http.request", "body": body or b"", "more_body": False}]

        async def receive() -> Mapping[str, Any]:
            if waiting:
                await trio.lowlevel.checkpoint()
                return waiting.pop()
            await (trio.Event() if gone is None else gone).wait()
            return {"type": "http.disconnect"}

        with trio.fail_after(30):
            await self.app(scope, receive, answer.send)
        return answer

    async def send(self, payload: Any = None, *, timeout: float = 1, **more: Any) -> Answered:
        body = json.dumps({"payload": payload or {"text": "hello"}, **more}).encode()
        return await self.call(f"{SINK}/packets", body=body, timeout=timeout)


@asynccontextmanager
async def open_desk() -> AsyncIterator[Desk]:
    async with open_stand() as stand:
        stand.bind_all()
        await stand.live()
        desk = Desk(stand)
        desk.app = ConsoleApp(desk, stand.hub, lambda: desk.clock)
        yield desk


async def test_nobody_is_answered_without_a_key_that_the_binding_allows() -> None:
    async with open_desk() as desk:
        refused = await desk.call(f"{SINK}/tap")
        assert (refused.status, refused.reason) == (403, ConsoleReason.UNKNOWN_KEY)
        desk.ask()
        for key in (None, b"x" * 32, b"short"):
            refused = await desk.call(f"{SINK}/tap", key=key)
            assert (refused.status, refused.reason) == (403, ConsoleReason.UNKNOWN_KEY)
        elsewhere = await desk.call("/v1/namespaces/team/bindings/run-1-emit-transport/tap")
        assert elsewhere.reason == ConsoleReason.UNKNOWN_KEY, "the key of another binding"
        refused = await desk.send()
        assert refused.reason == ConsoleReason.WRONG_VERB
        desk.ask(seconds=-1)
        assert (await desk.call(f"{SINK}/tap")).reason == ConsoleReason.EXPIRED
        assert desk.stand.hub.taps.of(Place(RUN, "sink")) == ()


async def test_the_body_of_a_stranger_is_not_read() -> None:
    async with open_desk() as desk:
        desk.ask()
        refused = await desk.call(f"{SINK}/packets", body=b"x" * (MAX_BODY_BYTES + 1))
        assert refused.reason == ConsoleReason.WRONG_VERB
        desk.ask(verbs=["send"])
        refused = await desk.call(f"{SINK}/packets", body=b"x" * (MAX_BODY_BYTES + 1))
        assert (refused.status, refused.reason) == (422, ConsoleReason.INVALID)


@pytest.mark.parametrize(
    ("path", "query"),
    [("/", {}), ("/metrics", {}), (f"{SINK}/", {}), (f"{SINK}/tap/more", {}), ("/v1/namespaces/A/bindings/b/tap", {})],
)
async def test_other_paths_are_not_there(path: str, query: dict[str, Any]) -> None:
    async with open_desk() as desk:
        refused = await desk.call(path, **query)
        assert (refused.status, refused.reason) == (404, ConsoleReason.NOT_FOUND)


@pytest.mark.parametrize("query", [{"direction": "up"}, {"rate": "0"}, {"rate": "nan"}, {"rate": "x"}, {"rate": "51"}])
async def test_a_wish_that_cannot_be_met_is_refused(query: dict[str, Any]) -> None:
    async with open_desk() as desk:
        desk.ask()
        refused = await desk.call(f"{SINK}/tap", **query)
        assert (refused.status, refused.reason) == (422, ConsoleReason.INVALID)


async def test_a_tap_shows_packets_until_its_time_is_over() -> None:
    async with open_desk() as desk:
        desk.ask()
        tap = Answered()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: desk.call(f"{SINK}/tap", answered=tap, direction="in"))
            await until(lambda: tap.status == 200)
            desk.ask(verbs=["tap", "send"])
            assert (await desk.send()).status == 200
            await until(lambda: b"hello" in tap.body)
            desk.ask(seconds=-1)
            await until(lambda: tap.is_over)
        assert tap.lines[0]["payload"] == {"text": "hello"}
        assert tap.lines[-1] == {"end": "Expired"}
        assert desk.stand.hub.taps.of(Place(RUN, "sink")) == ()


async def test_a_tap_ends_with_its_step_and_with_its_run() -> None:
    async with open_desk() as desk:
        desk.ask()
        tap, last = Answered(), Answered()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: desk.call(f"{SINK}/tap", answered=tap))
            await until(lambda: tap.status == 200)
            desk.stand.finish("sink")
            await until(lambda: tap.is_over)
        assert tap.lines == [{"end": "StepFinished"}]
        refused = await desk.call(f"{SINK}/tap")
        assert (refused.status, refused.reason) == (409, ConsoleReason.NOT_SERVED)
        desk.ask("emit")
        async with trio.open_nursery() as nursery:
            emit = SINK.replace("sink", "emit")
            nursery.start_soon(lambda: desk.call(f"{emit}/tap", answered=last))
            await until(lambda: last.status == 200)
            desk.stand.finish("echo")
            desk.stand.finish("emit")
            await until(lambda: last.is_over)
        assert last.lines == [{"end": "RunEnded"}]


async def test_a_tap_whose_reader_goes_is_closed() -> None:
    async with open_desk() as desk:
        desk.ask()
        tap, gone = Answered(), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: desk.call(f"{SINK}/tap", answered=tap, gone=gone))
            await until(lambda: tap.status == 200)
            gone.set()
        assert desk.stand.hub.taps.of(Place(RUN, "sink")) == ()


async def test_a_reader_that_has_stalled_does_not_slow_the_stream() -> None:
    received: list[str] = []
    async with open_desk() as desk:
        desk.ask("echo")
        stalled = Answered(stalled=True)
        async with trio.open_nursery() as nursery:
            echo = SINK.replace("sink", "echo")
            nursery.start_soon(lambda: desk.call(f"{echo}/tap", answered=stalled, rate=50))
            await until(lambda: stalled.status == 200)

            async def pass_on(io: EngramIO) -> None:
                async for message in io.incoming():
                    await io.emit(message.text)
                    message.done()

            async def emit(io: EngramIO) -> None:
                for number in range(400):
                    await io.emit(str(number))
                await trio.sleep_forever()

            desk.stand.engram("sink", collecting(received))
            desk.stand.engram("echo", pass_on)
            desk.stand.engram("emit", emit)
            await until(lambda: received == [str(number) for number in range(400)])
            (tap,) = desk.stand.hub.taps.of(Place(RUN, "echo"))
            assert tap.missed > 0
            nursery.cancel_scope.cancel()


async def test_the_next_tap_of_a_step_is_refused_when_there_are_enough() -> None:
    async with open_desk() as desk:
        desk.ask()
        taps = [Answered() for _ in range(MAX_TAPS_OF_STEP)]
        async with trio.open_nursery() as nursery:
            for each in taps:
                nursery.start_soon(lambda answered: desk.call(f"{SINK}/tap", answered=answered), each)
            await until(lambda: all(each.status == 200 for each in taps))
            refused = await desk.call(f"{SINK}/tap")
            assert (refused.status, refused.reason) == (429, ConsoleReason.BUSY)
            nursery.cancel_scope.cancel()


async def test_what_is_sent_has_an_answer() -> None:
    async with open_desk() as desk:
        desk.ask(verbs=["send"])
        done = await desk.send(messageId="m-1")
        assert (done.status, json.loads(done.body)) == (
            200,
            {"id": "m-1", "outcome": "buffered", "reason": "", "steps": ["sink"]},
        )
        wrong: dict[str, Any] = {"from": "emit"}
        refused = await desk.send(**wrong)
        assert (refused.status, refused.reason) == (422, ConsoleReason.INVALID)
        for _ in range(3):
            assert (await desk.send()).status == 200
        full = await desk.send(timeout=0.05)
        assert (full.status, full.reason) == (504, ConsoleReason.FULL)
        counts = (await desk.stand.live()).steps["sink"].delivery.counts
        assert counts.offered == 4


async def test_only_some_packets_are_received_at_a_time() -> None:
    async with open_desk() as desk:
        desk.ask(verbs=["send"])
        for _ in range(4):
            await desk.send()
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_SENDS // 2):
                nursery.start_soon(lambda: desk.send(timeout=10))
            await trio.testing.wait_all_tasks_blocked(0.01)
            refused = await desk.send()
            assert (refused.status, refused.reason) == (429, ConsoleReason.BUSY)
            assert "4 of them in this namespace" in json.loads(refused.body)["message"]
            nursery.cancel_scope.cancel()
        assert (await desk.send()).status == 504, "the places are free again, and the step is as full as before"


async def test_one_namespace_leaves_half_of_the_places_for_others() -> None:
    async with open_desk() as desk:
        desk.ask(verbs=["send"])
        desk.app._sending["elsewhere"] = MAX_SENDS // 2
        assert (await desk.send()).status == 200
        desk.app._sending["somewhere"] = MAX_SENDS // 2
        assert (await desk.send()).status == 429


async def test_a_run_that_is_not_served_is_refused_with_the_reason() -> None:
    async with open_stand() as stand:
        stand.bind("sink")
        desk = Desk(stand)
        desk.app = ConsoleApp(desk, stand.hub, lambda: NOW)
        desk.ask()
        refused = await desk.call(f"{SINK}/tap")
        assert (refused.status, refused.reason) == (409, ConsoleReason.NOT_SERVED)
        assert "has not read the Story" in json.loads(refused.body)["message"]
