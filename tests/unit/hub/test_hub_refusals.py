"""Whoever is refused is told why, and the hub counts it, logs it without the token, and shows it for the step.

(client_refusal.py, refusal_log.py, session.py, listener.py, service.py)
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from bubu_wire.client import ClientConnection
from bubu_wire.codec import encode
from bubu_wire.messages import BINDING_HEADER, CONTROL_METHOD, DATA_METHOD, PROTOCOL_HEADER
from bubu_wire.screen import PREFACE
from core.telemetry import metrics
from core.telemetry.hub_catalogue import HUB_CATALOGUE
from hub.attendance import AttendanceBook
from hub.client_refusal import ClientRefusal
from hub.listener import HubListenerRules
from hub.routes import StreamStep
from hub.session import SessionTimeouts
from hub.topology import Place
from tests.e2e.wire.rig import CallError, open_client
from tests.unit.hub.modelled_client import ModelledEngram, forever, text_packet
from tests.unit.hub.stand import RUN, HubStand, identity, open_hub, until
from tests.unit.stream_tls import stream_contexts
from tests.unit.wire.pair import REQUEST, frame, request

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHAIN = (StreamStep("emit"), StreamStep("echo", ("emit",)))
VERSION = (PROTOCOL_HEADER, "1.0.0")
QUICK = HubListenerRules(timeouts=SessionTimeouts(admission=0.2), handshake_seconds=0.2)
GREETING = PREFACE + frame(4)
WRONG = identity("echo", key=bytes(32))


@pytest.fixture(autouse=True)
def counted() -> Iterator[None]:
    with metrics.recording(HUB_CATALOGUE):
        yield


@dataclass
class Watched:
    """A hub whose refusals are watched."""

    stand: HubStand
    caplog: pytest.LogCaptureFixture
    news: list[Place]

    @property
    def port(self) -> int:
        return self.stand.port

    async def until_counted(self, reason: str, count: int = 1) -> None:
        await until(lambda: (metrics.sample("bobrapet_hub_refusals_total", reason=reason) or 0) >= count)
        assert metrics.sample("bobrapet_hub_refusals_total", reason=reason) == count

    def lines(self) -> list[dict[str, Any]]:
        found = [vars(each) for each in self.caplog.records if each.getMessage() == "a client was refused"]
        return [each["bobrapet_fields"] for each in found]

    def shown(self, step: str) -> tuple[str, str] | None:
        refusal = self.stand.hub.attendance(Place(RUN, step)).refusal
        assert refusal is None or refusal.at == NOW
        return (str(refusal.reason), refusal.message) if refusal is not None else None


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Callable[..., Any]:
    caplog.set_level(logging.INFO)

    @asynccontextmanager
    async def watching(
        rules: HubListenerRules | None = None, context: ssl.SSLContext | None = None
    ) -> AsyncIterator[Watched]:
        news: list[Place] = []
        book = AttendanceBook(lambda: NOW, news.append)
        async with open_hub(CHAIN, rules=rules, context=context, attendance=book) as stand:
            yield Watched(stand, caplog, news)

    return watching


async def send(port: int, *data: bytes) -> tuple[bytes, str]:
    """What the hub answers to ``data``, until it ends the connection, and our own address."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    host, number = stream.socket.getsockname()
    answer = b""
    async with stream:
        for part in data:
            await stream.send_all(part)
        with suppress(trio.BrokenResourceError):
            while part := bytes(await stream.receive_some(65_536)):
                answer += part
    return answer, f"{host}:{number}"


async def shake_hands(port: int, context: ssl.SSLContext) -> None:
    """A handshake that fails. The client says why by an alert, as OpenSSL and Go do and Trio does not."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    async with await trio.open_tcp_stream("127.0.0.1", port) as transport:
        failed = False
        while not failed:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await transport.send_all(outgoing.read())
                if data := await transport.receive_some(65_536):
                    incoming.write(data)
                else:
                    incoming.write_eof()
            except ssl.SSLError:
                failed = True
        with suppress(trio.BrokenResourceError):
            await transport.send_all(outgoing.read())
            await transport.receive_some(1)


@pytest.mark.parametrize(
    ("binding", "reason", "step"),
    [
        (WRONG, "wrong_token", "echo"),
        (identity("echo").replace("-echo-", "-emit-"), "wrong_token", "emit"),
        ("team/run-1-echo-transport", "malformed_token", None),
        (identity("later"), "unknown_binding", None),
    ],
)
async def test_a_token_that_is_refused(watch: Any, binding: str, reason: str, step: str | None) -> None:
    async with watch() as hub:
        engram = ModelledEngram(hub.port, binding, forever, max_retries=0)
        assert await engram.run() == 1
        await hub.until_counted(reason)
        (line,) = hub.lines()
        assert line["reason"] == reason
        assert line["cause"] in engram.ends[0]
        assert line["client"].startswith("127.0.0.1:")
        assert line.get("step") == (f"team/run-1/{step}" if step else None)
        for other in ("emit", "echo"):
            assert hub.shown(other) == ((reason, line["cause"]) if other == step else None)
        assert hub.news == ([Place(RUN, step)] if step else [])


async def test_a_generation_that_is_too_old(watch: Any) -> None:
    async with watch() as hub, trio.open_nursery() as nursery:
        new = ModelledEngram(hub.port, identity("echo", generation=2), forever)
        nursery.start_soon(new.run)
        await new.ready.wait()
        old = ModelledEngram(hub.port, identity("echo", generation=1), forever)
        assert await old.run() == 1
        await hub.until_counted("stale_generation")
        assert hub.shown("echo") == ("stale_generation", "generation 1 was replaced by generation 2")
        assert hub.stand.hub.attendance(Place(RUN, "echo")).is_connected, "the newer client is still there"
        nursery.cancel_scope.cancel()


async def test_data_without_control(watch: Any) -> None:
    async with watch(QUICK) as hub, open_client(hub.port) as client:
        data = client.open_call(DATA_METHOD, (VERSION,))
        await data.send(encode(text_packet("early")))
        with pytest.raises(CallError, match="Control must be open in time"):
            await data.receive()
        await hub.until_counted("no_control")
        assert (hub.shown("emit"), hub.shown("echo")) == (None, None), "nobody has said which step it is"


async def test_control_without_data_is_shown_for_its_step(watch: Any) -> None:
    async with watch(QUICK) as hub, open_client(hub.port) as client:
        client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
        await hub.until_counted("no_data")
        assert hub.shown("emit") == ("no_data", "Data and an admitted Control must be open in time")


async def test_no_call_another_protocol_and_a_second_call(watch: Any) -> None:
    async with watch(QUICK) as hub:
        await send(hub.port, GREETING)
        await hub.until_counted("no_call")
        async with open_client(hub.port) as client:
            client.open_call(DATA_METHOD, ((PROTOCOL_HEADER, "2.0.0"),))
            await hub.until_counted("protocol")
        async with open_client(hub.port) as client:
            client.open_call(DATA_METHOD, (VERSION,))
            client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
            client.open_call(DATA_METHOD, (VERSION,))
            await hub.until_counted("second_call")
            assert hub.shown("emit") is not None


@pytest.mark.parametrize(
    ("data", "reason", "cause"),
    [
        ((1 << 20).to_bytes(3, "big") + b"\x00\x00\x00\x00\x00\x01", "frame_size", "a frame of 1048576 bytes"),
        (frame(1, bytes(100), stream=1) + frame(9, bytes(16_000), stream=1) * 2, "flood", "a header block larger than"),
        (frame(6, bytes(8)) * 200, "flood", "too many pings"),
        (frame(0, b"x", stream=1), "http2", "rules of HTTP/2"),
    ],
    ids=["frame beyond its size", "header block without an end", "pings", "data without a call"],
)
async def test_a_connection_that_breaks_the_rules(watch: Any, data: bytes, reason: str, cause: str) -> None:
    async with watch() as hub:
        _, address = await send(hub.port, GREETING, data)
        await hub.until_counted(reason)
        (line,) = hub.lines()
        assert (line["reason"], line["client"]) == (reason, address)
        assert cause in line["cause"]
        assert hub.news == []


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
async def test_a_client_that_speaks_something_else(watch: Any, data: bytes) -> None:
    async with watch() as hub:
        await send(hub.port, data)
        await hub.until_counted("http2")


async def test_a_step_whose_connection_breaks_the_rules_shows_it(watch: Any) -> None:
    async with watch() as hub:
        client = ClientConnection("localhost")
        client.open_call(DATA_METHOD, (VERSION,))
        client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
        await send(hub.port, client.data_to_send(), frame(6, bytes(8)) * 200)
        await hub.until_counted("flood")
        assert hub.shown("emit") == ("flood", "too many pings")
        await until(lambda: hub.stand.hub.sessions == 0)


async def test_a_message_that_is_too_large_ends_the_session_and_is_shown(watch: Any) -> None:
    async with watch() as hub, open_client(hub.port) as client:
        data = client.open_call(DATA_METHOD, (VERSION,))
        client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
        await until(lambda: hub.stand.hub.sessions == 1)
        await data.send(bytes(20 * 1024 * 1024))
        await hub.until_counted("message")
        reason, message = hub.shown("emit") or ("", "")
        assert (reason, "is larger than" in message) == ("message", True)


async def test_a_hub_that_stops_says_so_and_shows_it_for_no_step(watch: Any) -> None:
    async with watch() as hub:
        assert await hub.stand.hub.drain(0.1)
        engram = ModelledEngram(hub.port, identity("echo"), forever, max_retries=0)
        assert await engram.run() == 1
        await hub.until_counted("hub_stopping")
        (line,) = hub.lines()
        assert (line["cause"], hub.news) == ("the hub is stopping; try again", [])


async def test_a_client_that_only_goes_was_not_refused(watch: Any) -> None:
    async with watch() as hub:
        for _ in range(2):
            stream = await trio.open_tcp_stream("127.0.0.1", hub.port)
            await stream.aclose()
            async with open_client(hub.port) as client:
                client.open_call(DATA_METHOD, (VERSION,))
                client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
                await until(lambda: hub.stand.hub.sessions == 1)
            await until(lambda: hub.stand.hub.sessions == 0)
        assert hub.lines() == []
        assert [place.step for place in hub.news] == ["emit"] * 4, "it came and went, twice"


async def test_places_are_refused_with_a_reason(watch: Any) -> None:
    async with watch(HubListenerRules(connections=3, strangers=2)) as hub, trio.open_nursery() as nursery:
        known = ModelledEngram(hub.port, identity("emit"), forever)
        nursery.start_soon(known.run)
        await known.ready.wait()
        strangers = [await trio.open_tcp_stream("127.0.0.1", hub.port) for _ in range(3)]
        await hub.until_counted("connections")
        for stream in strangers:
            await stream.aclose()
        nursery.cancel_scope.cancel()
    async with watch(HubListenerRules(strangers=1)) as hub:
        strangers = [await trio.open_tcp_stream("127.0.0.1", hub.port) for _ in range(2)]
        await hub.until_counted("strangers")
        assert hub.lines()[-1]["client"] == "{}:{}".format(*strangers[0].socket.getsockname())
        for stream in strangers:
            await stream.aclose()


async def test_a_tls_handshake_that_fails_is_counted_and_one_that_was_not_begun_is_not(watch: Any) -> None:
    server, trusting = stream_contexts()
    older = ssl.create_default_context()
    older.check_hostname, older.verify_mode = False, ssl.CERT_NONE
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    async with watch(QUICK, server) as hub:
        probe = await trio.open_tcp_stream("127.0.0.1", hub.port)
        await probe.aclose()
        for number, context in enumerate((older, ssl.create_default_context()), start=1):
            await shake_hands(hub.port, context)
            await hub.until_counted("tls", number)
        await send(hub.port, GREETING)
        await hub.until_counted("tls", 3)
        silent = await trio.open_tcp_stream("127.0.0.1", hub.port)
        await hub.until_counted("tls", 4)
        await silent.aclose()
        async with open_client(hub.port, context=trusting):
            pass
        assert "UNSUPPORTED_PROTOCOL" in hub.lines()[0]["cause"]
        assert len(hub.lines()) == 1, "the others follow within ten seconds"


def test_the_page_about_the_hub_explains_every_reason() -> None:
    page = (Path(__file__).parents[3] / "docs/hub.md").read_text()
    table = page[page.index("### Who is refused") : page.index("## What is delivered")]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(ClientRefusal)


async def test_a_storm_of_refusals_has_one_line_and_one_change_of_the_step(watch: Any) -> None:
    async with watch() as hub, trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(ModelledEngram(hub.port, WRONG, forever).run)
        await until(lambda: (metrics.sample("bobrapet_hub_refusals_total", reason="wrong_token") or 0) == 30)
        assert len(hub.lines()) == 1
        assert hub.news == [Place(RUN, "echo")]


async def test_neither_the_log_nor_the_step_shows_a_token(watch: Any) -> None:
    signature = WRONG.rsplit(".", 1)[1]
    headers: Iterable[tuple[str, str]] = (*REQUEST, (PROTOCOL_HEADER, "1.0.0"), (BINDING_HEADER, f" {WRONG}"))
    async with watch() as hub:
        await ModelledEngram(hub.port, WRONG, forever).run()
        await ModelledEngram(hub.port, f"{WRONG}x", forever).run()
        await send(hub.port, GREETING, request(1, tuple(headers)))  # HTTP/2 forbids the space, and h2 quotes the value
        await hub.until_counted("http2")
        assert len(hub.lines()) == 3
        assert signature not in hub.caplog.text + str(hub.lines()) + str(hub.shown("echo"))
