"""Connections of the embedded server, over real TLS: answers, streams, and clients that misbehave or leave."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from localcluster import certificates, connection, serving

Client = trio.SSLStream[trio.SocketStream]
NOW = datetime.now(UTC)  # noqa: TID251 - a real handshake compares certificates with the real clock


@pytest.fixture
def connect(nursery: trio.Nursery, tmp_path: Path) -> Callable[[Any], Any]:
    """``async with connect(app) as client``: a client of a server that runs ``app``."""

    @asynccontextmanager
    async def connected(app: Any) -> AsyncIterator[Client]:
        authority = certificates.new_authority("test", NOW)
        pair = certificates.issue_server(authority, "server", (serving.LOOPBACK,), NOW)
        listener = serving.bind_loopback(0)
        port = listener.getsockname()[1]
        await nursery.start(serving.serve_asgi, app, listener, serving.TlsIdentity(pair), tmp_path)
        trust = ssl.create_default_context(cadata=authority.certificate_pem)
        plain = await trio.open_tcp_stream(serving.LOOPBACK, port)
        with trio.fail_after(10):
            async with trio.SSLStream(plain, trust, server_hostname=serving.LOOPBACK, https_compatible=True) as client:
                yield client

    return connected


def request(path: str, body: bytes = b"", *, method: str = "POST", length: int | None = None, head: str = "") -> bytes:
    size = len(body) if length is None else length
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n{head}\r\n".encode() + body


async def read_until(client: Client, end: bytes) -> bytes:
    seen = b""
    while end not in seen:
        data = await client.receive_some()
        assert data, f"the connection ended after {seen!r}"
        seen += data
    return seen


async def answer(send: Any, text: bytes) -> None:
    length = str(len(text)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": text})


async def body_of(receive: Any) -> bytes:
    body, message = b"", {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    return body


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, scope["path"].encode() + b"=" + await body_of(receive) + b"!")


async def test_head_and_body_of_an_answer_leave_together(connect: Any) -> None:
    async with connect(echo) as client:
        await client.send_all(request("/a", b"1"))
        first = await client.receive_some()  # one TLS record at a time
    assert first.startswith(b"HTTP/1.1 200")
    assert first.endswith(b"\r\n\r\n/a=1!")


async def test_requests_of_one_connection_are_answered_in_turn(connect: Any) -> None:
    async with connect(echo) as client:
        for name in (b"1", b"2"):
            await client.send_all(request("/a", name))
            assert (await read_until(client, b"!")).endswith(b"/a=" + name + b"!")


async def test_requests_sent_at_once_are_answered_in_order(connect: Any) -> None:
    async with connect(echo) as client:
        await client.send_all(request("/a", b"1") + request("/b", b"2") + request("/c", b"3"))
        seen = await read_until(client, b"/c=3!")
    assert seen.index(b"/a=1!") < seen.index(b"/b=2!") < seen.index(b"/c=3!")


async def test_a_body_that_comes_in_pieces_is_put_together(connect: Any) -> None:
    async with connect(echo) as client:
        await client.send_all(request("/a", b"one", length=6))
        await client.send_all(b"two")
        assert b"/a=onetwo!" in await read_until(client, b"!")


async def test_a_client_that_asks_first_is_told_to_send_its_body(connect: Any) -> None:
    async with connect(echo) as client:
        await client.send_all(request("/a", length=3, head="Expect: 100-continue\r\n"))
        assert (await read_until(client, b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        await client.send_all(b"abc")
        assert b"/a=abc!" in await read_until(client, b"!")


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, b"no!")


async def test_a_refusal_is_heard_by_a_client_that_still_sends(connect: Any) -> None:
    async with connect(refuse) as client:
        await client.send_all(request("/big", bytes(4 << 20)))
        assert b"no!" in await read_until(client, b"!")
        await client.send_all(request("/next"))
        assert b"no!" in await read_until(client, b"!")


async def test_a_body_without_end_ends_the_connection(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_DRAIN_BYTES", 1 << 16)
    async with connect(refuse) as client:
        await client.send_all(request("/big", bytes(2 << 16), length=1 << 30))
        seen = b""
        with suppress(trio.BrokenResourceError):  # the connection is reset when bytes were left unread
            while data := await client.receive_some():
                seen += data
    assert b"no!" in seen


class Stream:
    """An application that streams the chunks that a test sends, until its client leaves."""

    def __init__(self) -> None:
        self.send_chunk, self._chunks = trio.open_memory_channel[bytes](0)
        self.is_left = trio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/watch":
            return await echo(scope, receive, send)
        await body_of(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_left, receive, nursery.cancel_scope)
            async for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            nursery.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b""})
        return None

    async def _until_left(self, receive: Any, scope: trio.CancelScope) -> None:
        assert (await receive())["type"] == "http.disconnect"
        self.is_left.set()
        scope.cancel()


async def test_chunks_leave_as_they_are_made(connect: Any) -> None:
    stream = Stream()
    async with connect(stream) as client:
        await client.send_all(request("/watch"))
        assert (await client.receive_some()).startswith(b"HTTP/1.1 200")
        for chunk in (b"one", b"two"):
            await stream.send_chunk.send(chunk)
            assert await client.receive_some() == b"3\r\n" + chunk + b"\r\n"


async def test_a_stream_learns_that_its_client_left(connect: Any) -> None:
    stream = Stream()
    async with connect(stream) as client:
        await client.send_all(request("/watch"))
        await client.receive_some()
        await client.aclose()
        await stream.is_left.wait()


async def test_a_request_sent_during_a_stream_is_answered_after_it(connect: Any) -> None:
    stream = Stream()
    async with connect(stream) as client:
        await client.send_all(request("/watch"))
        await client.receive_some()
        await client.send_all(request("/after", b"it"))
        await stream.send_chunk.send(b"still here")
        assert b"still here" in await client.receive_some()
        stream.send_chunk.close()
        seen = await read_until(client, b"/after=it!")
    assert seen.index(b"0\r\n\r\n") < seen.index(b"/after=it!")


async def test_a_client_that_leaves_within_its_body_is_no_request(connect: Any) -> None:
    ended = trio.Event()
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            seen.append(message["body"].decode())
        ended.set()

    async with connect(app) as client:
        await client.send_all(request("/a", b"half", length=8))
        await client.aclose()
        await ended.wait()
    assert seen == ["half"]


async def test_a_malformed_request_is_refused_and_ends_the_connection(connect: Any) -> None:
    async with connect(echo) as client:
        await client.send_all(b"not http at all\r\n\r\n")
        assert (await read_until(client, b"\r\n\r\n")).startswith(b"HTTP/1.1 400")
        assert await client.receive_some() == b""


@pytest.mark.parametrize(
    "opening",
    [
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="preface"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", id="upgrade"),
    ],
)
async def test_http_2_that_was_not_agreed_on_ends_the_connection(connect: Any, opening: bytes) -> None:
    async with connect(echo) as client:
        await client.send_all(opening)
        assert await client.receive_some() == b""


async def test_a_failing_application_answers_500_and_the_server_goes_on(connect: Any, caplog: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/bad":
            raise ValueError("boom")
        await echo(scope, receive, send)

    async with connect(app) as client:
        await client.send_all(request("/bad"))
        assert (await read_until(client, b"\r\n\r\n")).startswith(b"HTTP/1.1 500")
    assert "boom" in caplog.text


async def test_a_client_that_speaks_no_tls_disturbs_nobody(connect: Any) -> None:
    async with connect(echo) as client:
        async with await trio.open_tcp_stream(*client.transport_stream.socket.getpeername()[:2]) as stranger:
            await stranger.send_all(b"GET / HTTP/1.0\r\n\r\n")
            while await stranger.receive_some():
                pass
        await client.send_all(request("/a", b"1"))
        assert b"/a=1!" in await read_until(client, b"!")


async def test_a_silent_connection_is_closed_but_never_a_stream(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_IDLE_SECONDS", 0.05)
    stream = Stream()
    async with connect(stream) as client:
        await client.send_all(request("/watch"))
        await client.receive_some()
        await trio.sleep(0.1)
        await stream.send_chunk.send(b"still here")
        assert b"still here" in await client.receive_some()
        stream.send_chunk.close()
        seen = b""
        while data := await client.receive_some():
            seen += data
    assert seen == b"0\r\n\r\n"


async def test_a_websocket_is_refused(connect: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await send({"type": "websocket.close", "code": 1011})

    upgrade = (
        b"GET /exec HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with connect(app) as client:
        await client.send_all(upgrade)
        assert (await read_until(client, b"\r\n\r\n")).startswith(b"HTTP/1.1 403")
