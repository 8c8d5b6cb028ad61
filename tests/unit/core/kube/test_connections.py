"""Lanes are reused, given back once, and survive whatever their requests do. Uses real sockets where that matters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
import trio

from core.kube.client import open_client
from core.kube.config import ClusterConfig
from core.kube.connections import LaneTransport
from core.kube.errors import ConnectionLostError, DeadlineError
from core.kube.retry import ONCE
from core.kube.transport import open_body, open_lines

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Peer:
    """A minimal HTTP server. Its answer to a request depends on the path."""

    def __init__(self) -> None:
        self.connections = 0
        self.waiting = 0
        self.four_wait = trio.Event()
        self.release = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        received = b""
        async for data in stream:
            received += data
            while b"\r\n\r\n" in received:
                head, received = received.split(b"\r\n\r\n", 1)
                if await self.reply(head.split(b" ")[1], stream):
                    await stream.aclose()
                    return

    async def reply(self, path: bytes, stream: trio.SocketStream) -> bool:
        if path == b"/slow":
            self.waiting += 1
            if self.waiting == 4:
                self.four_wait.set()
            await self.release.wait()
        if path == b"/hang-up":
            return True
        if path == b"/lines":
            await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\none\ntwo\n\r\n")
            return False
        await stream.send_all(ANSWER)
        return path == b"/once"


@pytest.fixture
async def peer(nursery: trio.Nursery) -> tuple[Peer, ClusterConfig]:
    peer = Peer()
    [listener] = await nursery.start(partial(trio.serve_tcp, peer.serve, 0, host="127.0.0.1"))
    return peer, ClusterConfig(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")


async def test_requests_one_after_another_share_a_connection(peer: tuple[Peer, ClusterConfig]) -> None:
    server, config = peer
    async with open_client(config) as client:
        for _ in range(5):
            await client.request("GET", "/x")
    assert server.connections == 1


async def test_requests_at_a_time_have_a_connection_each_and_leave_it_to_the_next(
    peer: tuple[Peer, ClusterConfig],
) -> None:
    server, config = peer
    async with open_client(config) as client:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(client.request, "GET", "/slow")
            await server.four_wait.wait()
            server.release.set()
        for _ in range(4):
            await client.request("GET", "/x")
    assert server.connections == 4


async def test_a_connection_the_server_closed_is_replaced(peer: tuple[Peer, ClusterConfig]) -> None:
    server, config = peer
    async with open_client(config) as client:
        await client.request("GET", "/once")
        await trio.sleep(0.01)
        assert (await client.request("GET", "/x")).status_code == 200
    assert server.connections == 2


async def test_a_broken_or_cancelled_request_does_not_spoil_the_next(peer: tuple[Peer, ClusterConfig]) -> None:
    server, config = peer
    async with open_client(config, retry=ONCE, timeout_seconds=0.05) as client:
        with pytest.raises(ConnectionLostError):
            await client.request("POST", "/hang-up", json={})
        with pytest.raises(DeadlineError):
            await client.request("GET", "/slow")
        assert (await client.request("GET", "/x")).status_code == 200
    assert server.connections == 3


async def test_a_stream_may_be_left_before_its_end(peer: tuple[Peer, ClusterConfig]) -> None:
    server, config = peer
    async with open_client(config) as client:
        async with client.open_stream("GET", "/lines") as response, open_lines(response) as lines:
            assert await anext(lines) == "one"
        async with client.open_stream("GET", "/lines") as response, open_body(response) as chunks:
            assert await anext(chunks) == b"one\ntwo\n"
            with trio.move_on_after(0.02):
                await anext(chunks)
        assert (await client.request("GET", "/x")).status_code == 200
    assert server.connections == 3


async def test_lines_end_where_a_line_ends() -> None:
    parts = ["a\u2028b\x85c\x1ed\n", "e", "", "f\r", "\n\n", "last\x0c"]
    response = httpx.Response(200, request=httpx.Request("GET", "http://x/"), stream=_Parts(parts))
    async with open_lines(response) as lines:
        assert [line async for line in lines] == ["a\u2028b\x85c\x1ed", "ef", "", "last\x0c"]


class _Parts(httpx.AsyncByteStream):
    def __init__(self, parts: list[str]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            await trio.lowlevel.checkpoint()
            yield part.encode()


class OneAnswer(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        return httpx.Response(200, stream=httpx.ByteStream(b"{}"))


async def test_a_lane_is_given_back_once_however_often_the_answer_is_closed() -> None:
    transport = LaneTransport(OneAnswer)
    response = await transport.handle_async_request(httpx.Request("GET", "http://x/"))
    assert repr(transport) == "<LaneTransport: 1 lanes, 0 free>"
    assert isinstance(response.stream, httpx.AsyncByteStream)
    await response.stream.aclose()
    await response.stream.aclose()

    assert repr(transport) == "<LaneTransport: 1 lanes, 1 free>"


async def test_whoever_is_cancelled_still_closes_every_lane() -> None:
    closed = []

    class Resting:
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await trio.lowlevel.checkpoint()
            return httpx.Response(200, stream=httpx.ByteStream(b""))

        async def aclose(self) -> None:
            closed.append(self)
            await trio.lowlevel.checkpoint()

    lanes = LaneTransport(Resting)
    answers = [await lanes.handle_async_request(httpx.Request("GET", "http://x/")) for _ in range(3)]
    with trio.CancelScope() as scope:
        scope.cancel()
        await lanes.aclose()
    assert len(closed) == len(answers)
