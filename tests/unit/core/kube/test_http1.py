"""One connection over real sockets: which answers of a server are accepted, and which are not."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import httpx
import pytest
import trio
import trustme

from core.api.resource import LEASE
from core.kube.client import open_client
from core.kube.config import ClusterConfig
from core.kube.errors import TLSError, UnreachableError
from core.kube.http1 import FENCE, MAX_HEAD_BYTES, WHOLE, Http1Lane, Peer
from core.kube.lease import LeaseLostError
from core.kube.retry import ONCE
from core.ownership.ownership import OwnedKey

Stream = trio.abc.Stream
Reply = Callable[[Stream], Awaitable[bool]]
"""Answers on a stream; returns whether the connection stays open."""

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Server:
    """Answers every request with ``reply`` once its head is complete. It does not read bodies."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = ""

    async def serve(self, stream: Stream) -> None:
        self.connections += 1
        received = b""
        async with stream:
            with suppress(trio.BrokenResourceError):  # the client may leave without reading everything
                while data := await stream.receive_some():
                    received += data
                    while b"\r\n\r\n" in received:
                        head, received = received.split(b"\r\n\r\n", 1)
                        self.requests.append(head)
                        if not await self.reply(stream):
                            return


def saying(*parts: bytes) -> Reply:
    async def reply(stream: Stream) -> bool:
        for part in parts:
            await stream.send_all(part)
            await trio.sleep(0.001)
        return True

    return reply


def hanging_up_after(data: bytes) -> Reply:
    async def reply(stream: Stream) -> bool:
        await stream.send_all(data)
        return False

    return reply


@asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[tuple[Server, Http1Lane]]:
    server = Server(reply)
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        server.url = f"http://127.0.0.1:{port}"
        async with Http1Lane(Peer("127.0.0.1", port, None, "127.0.0.1", 5.0, 60.0)) as lane:
            yield server, lane
        nursery.cancel_scope.cancel()


def asking(*, whole: bool = True, content: bytes | None = None) -> httpx.Request:
    method = "GET" if content is None else "POST"
    return httpx.Request(method, "http://server/a?b=c", content=content, extensions={WHOLE: True} if whole else {})


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nanswer",), id="at-once"),
        pytest.param((b"HTTP/1.1 200 OK\r\nconte", b"nt-length: 6\r\n\r\nan", b"swer"), id="in-pieces"),
        pytest.param(
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nans\r\n", b"3\r\nwer\r\n0\r\n\r\n"),
            id="chunked",
        ),
        pytest.param(
            (b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nanswer"),
            id="after-a-hint",
        ),
    ],
)
async def test_an_answer_comes_whole_and_leaves_the_connection_to_the_next(parts: tuple[bytes, ...]) -> None:
    async with serving(saying(*parts)) as (server, lane):
        for _ in range(2):
            response = await lane.handle_async_request(asking())
            assert (response.status_code, response.content, response.is_closed) == (200, b"answer", True)
        assert server.connections == 1
        assert server.requests[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")


async def test_a_stream_is_read_as_it_comes_and_then_leaves_the_connection_to_the_next() -> None:
    chunked = (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n")
    async with serving(saying(*chunked)) as (server, lane):
        for _ in range(2):
            response = await lane.handle_async_request(asking(whole=False))
            assert [chunk async for chunk in response.aiter_bytes()] == [b"one", b"two"]
            await response.aclose()
        assert server.connections == 1


async def test_a_compressed_answer_is_readable_although_nobody_asked_for_it() -> None:
    data = gzip.compress(b"answer")
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(data)
    async with serving(saying(head + data)) as (_, lane):
        response = await lane.handle_async_request(asking())
        assert await response.aread() == b"answer"


async def test_a_server_may_refuse_a_request_before_it_has_read_it() -> None:
    async with serving(hanging_up_after(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")) as (_, lane):
        response = await lane.handle_async_request(asking(content=b"x" * 100))
        assert response.status_code == 413


async def test_a_connection_that_the_server_means_to_close_is_not_used_again() -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")) as (server, lane):
        for _ in range(2):
            assert (await lane.handle_async_request(asking())).status_code == 200
        assert server.connections == 2


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    async with serving(hanging_up_after(b"HTTP/1.1 200 OK\r\n\r\nanswer")) as (server, lane):
        for _ in range(2):
            assert (await lane.handle_async_request(asking())).content == b"answer"
        assert server.connections == 2


@pytest.mark.parametrize("more", [EMPTY, b"HTTP/1.1 200 OK\r\n", b"\x16\x03", b"}"])
async def test_what_follows_an_answer_is_no_part_of_it_nor_of_the_next_one(more: bytes) -> None:
    first = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst"
    async with serving(saying(first + more)) as (server, lane):
        response = await lane.handle_async_request(asking())
        assert (response.status_code, response.content) == (200, b"first")
        server.reply = saying(EMPTY)
        assert (await lane.handle_async_request(asking())).content == b"{}"
        assert server.connections == 2


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        pytest.param(hanging_up_after(b""), httpx.RemoteProtocolError, id="nothing"),
        pytest.param(
            hanging_up_after(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nha"), httpx.RemoteProtocolError, id="half"
        ),
        pytest.param(hanging_up_after(CHUNKED + b"2\r\nha\r\n"), httpx.RemoteProtocolError, id="half-of-the-chunks"),
        pytest.param(saying(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"), httpx.RemoteProtocolError, id="another-protocol"),
        pytest.param(
            saying(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
            httpx.RemoteProtocolError,
            id="an-upgrade",
        ),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nx: " + b"y" * MAX_HEAD_BYTES), httpx.RemoteProtocolError, id="endless-header"
        ),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000), httpx.RemoteProtocolError, id="endless-headers"
        ),
        pytest.param(
            saying(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5_000), httpx.RemoteProtocolError, id="endless-hints"
        ),
        pytest.param(
            saying(CHUNKED + b"2\r\nha\r\n0\r\n" + b"x: y\r\n" * 40_000),
            httpx.RemoteProtocolError,
            id="endless-trailers",
        ),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n"),
            httpx.RemoteProtocolError,
            id="two-lengths",
        ),
    ],
)
async def test_what_is_no_answer_is_an_error_and_ends_the_connection(reply: Reply, error: type[Exception]) -> None:
    async with serving(reply) as (server, lane):
        with pytest.raises(error):
            await lane.handle_async_request(asking())
        assert repr(lane).endswith("closed>")
        server.reply = saying(EMPTY)
        assert (await lane.handle_async_request(asking())).content == b"{}"


@pytest.mark.parametrize("value", ["Bearer two\nlines", "Bearer two\r\nlines", "two\rlines", "zero\0byte"])
async def test_a_header_that_cannot_be_sent_is_refused(value: str) -> None:
    request = asking()
    request.headers["authorization"] = value
    async with serving(saying(EMPTY)) as (_, lane):
        with pytest.raises(httpx.LocalProtocolError):
            await lane.handle_async_request(request)


async def test_a_request_given_up_closes_its_connection() -> None:
    async with serving(saying()) as (server, lane):
        with trio.move_on_after(0.02):
            await lane.handle_async_request(asking())
        server.reply = saying(EMPTY)
        assert (await lane.handle_async_request(asking())).content == b"{}"
        assert server.connections == 2


@asynccontextmanager
async def serving_tls(reply: Reply, *, name: str, ca: trustme.CA) -> AsyncIterator[tuple[Server, ClusterConfig]]:
    server, context = Server(reply), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)

    async def serve(stream: Stream) -> None:
        try:
            await server.serve(trio.SSLStream(stream, context, server_side=True, https_compatible=True))
        except trio.BrokenResourceError:
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        config = ClusterConfig(
            f"https://127.0.0.1:{listener.socket.getsockname()[1]}", ca_pem=ca.cert_pem.bytes(), source="a test"
        )
        yield server, config
        nursery.cancel_scope.cancel()


async def test_requests_over_tls_share_a_connection() -> None:
    async with (
        serving_tls(saying(EMPTY), name="127.0.0.1", ca=trustme.CA()) as (server, config),
        open_client(config, retry=ONCE) as client,
    ):
        for _ in range(3):
            assert (await client.request("GET", "/x")).content == b"{}"
        assert server.connections == 1


async def test_a_certificate_of_somebody_else_is_a_tls_error() -> None:
    async with (
        serving_tls(saying(EMPTY), name="other.example", ca=trustme.CA()) as (_, config),
        open_client(config, retry=ONCE) as client,
    ):
        with pytest.raises(TLSError, match="certificate"):
            await client.request("GET", "/x")


async def test_nobody_listening_is_an_error_that_says_so() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    async with open_client(ClusterConfig(f"http://127.0.0.1:{port}"), retry=ONCE) as client:
        with pytest.raises(UnreachableError, match="is the API server running"):
            await client.request("GET", "/x")


async def test_a_write_is_fenced_once_more_when_there_is_a_connection() -> None:
    """Connecting takes time, and the process may be suspended meanwhile."""
    asked = 0

    def fence(key: OwnedKey | None) -> None:
        nonlocal asked
        assert key is None
        asked += 1
        if asked == 2:
            raise LeaseLostError("lost while it connected")

    async with serving(saying(EMPTY)) as (server, _), open_client(ClusterConfig(server.url), retry=ONCE) as client:
        with pytest.raises(LeaseLostError, match="lost while it connected"):
            await client.fenced(fence).create(LEASE, {"metadata": {"name": "a", "namespace": "b"}})
        assert (asked, server.requests) == (2, [])
        await client.fenced(fence).get(LEASE, "a", "b")  # reads are not fenced
        await client.fenced(fence).create(LEASE, {"metadata": {"name": "a", "namespace": "b"}})
        assert (asked, [head.split()[0] for head in server.requests]) == (4, [b"GET", b"POST"])


async def test_a_write_is_fenced_when_its_bytes_leave_after_its_turn_in_the_tls_layer() -> None:
    """The other task may run before or after that turn, so one of many requests meets it."""
    ca, lost = trustme.CA(), False

    async def lose() -> None:
        nonlocal lost
        lost = True

    def fence() -> None:
        if lost:
            raise LeaseLostError("lost in between")

    context = ssl.create_default_context()
    ca.configure_trust(context)
    async with serving_tls(saying(EMPTY), name="127.0.0.1", ca=ca) as (server, config):
        port = httpx.URL(config.server).port or 0
        async with Http1Lane(Peer("127.0.0.1", port, context, "127.0.0.1", 5.0, 60.0)) as lane:
            for _ in range(30):
                lost = False
                await lane.handle_async_request(asking())
                sent = len(server.requests)
                request = asking()
                request.extensions = {**request.extensions, FENCE: fence}
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lose)
                    try:
                        await lane.handle_async_request(request)
                    except LeaseLostError:
                        assert len(server.requests) == sent
                        return
    pytest.fail("no request was refused")
