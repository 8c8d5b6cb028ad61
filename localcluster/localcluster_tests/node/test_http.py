"""HTTP over persistent connections, against a server that does exactly what the test says."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.lowlevel

from localcluster.node.http import ConnectionLostError, HttpServer

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def server_that(behaves: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[HttpServer]:
    """A client of a server that handles every connection with ``behaves``."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, behaves, 0)
        server = HttpServer(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", None, connections=4)
        with trio.fail_after(20):
            yield server
        server.close()
        nursery.cancel_scope.cancel()


async def ask(server: HttpServer, content: bytes = b"", silence_seconds: float = 10) -> bytes:
    body = b""
    method = "POST" if content else "GET"
    async with server.exchange(method, "/a?b=c", {"x": "y"}, content, silence_seconds=silence_seconds) as answer:
        assert answer.status == 200
        while piece := await answer.receive():
            body += piece
    return body


async def test_requests_share_a_connection_and_say_what_they_carry() -> None:
    connections: list[bytes] = []

    async def behave(stream: trio.SocketStream) -> None:
        number = len(connections)
        connections.append(b"")
        async for chunk in stream:
            connections[number] += chunk
            await stream.send_all(OK)

    async with server_that(behave) as server:
        assert [await ask(server), await ask(server, b"body")] == [b"ok", b"ok"]

    (received,) = connections
    assert received.startswith(b"GET /a?b=c HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"POST /a?b=c HTTP/1.1\r\n" in received
    assert received.endswith(b"content-length: 4\r\n\r\nbody")
    assert received.count(b"x: y\r\n") == 2


async def test_a_connection_the_server_has_left_is_not_used_again() -> None:
    connections = []

    async def behave(stream: trio.SocketStream) -> None:
        connections.append(stream)
        await stream.receive_some()
        await stream.send_all(OK)
        await stream.aclose()

    async with server_that(behave) as server:
        await ask(server)
        assert server._idle[0]._tcp.fileno() >= 0
        while server._idle[0].is_quiet():
            await trio.lowlevel.checkpoint()
        await ask(server)

    assert len(connections) == 2


async def test_a_body_comes_in_the_pieces_in_which_it_is_sent() -> None:
    more = trio.Event()

    async def behave(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await more.wait()
        await stream.send_all(b"6\r\nsecond\r\n0\r\n\r\n")
        await stream.receive_some()

    async with server_that(behave) as server, server.exchange("GET", "/", {}, b"", silence_seconds=10) as answer:
        assert await answer.receive() == b"first"
        more.set()
        assert [await answer.receive(), await answer.receive(), await answer.receive()] == [b"second", b"", b""]


async def test_silence_ends_a_request_and_its_connection() -> None:
    ended = trio.Event()

    async def behave(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            pass
        ended.set()

    async with server_that(behave) as server:
        with pytest.raises(ConnectionLostError, match=r"no answer within 0\.05 s"):
            await ask(server, silence_seconds=0.05)
        await ended.wait()


@pytest.mark.parametrize(
    ("said", "complaint"),
    [(b"", "closed the connection"), (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "broke off")],
)
async def test_an_answer_that_breaks_off_is_none(said: bytes, complaint: str) -> None:
    async def behave(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if said:
            await stream.send_all(said)

    async with server_that(behave) as server:
        with pytest.raises(ConnectionLostError, match=complaint):
            await ask(server)


async def test_nobody_at_the_other_end_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = HttpServer(f"http://127.0.0.1:{port}", None, connections=1)

    with pytest.raises(ConnectionLostError, match="cannot connect"):
        await ask(server)
