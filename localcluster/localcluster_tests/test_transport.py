"""The in-process transport: bodies stream, clients may leave, failures surface."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import trio

from localcluster.transport import ASGIStreamingTransport


def client(app: Any, nursery: trio.Nursery) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=ASGIStreamingTransport(app, nursery), base_url="http://app", timeout=5)


async def start(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]})


async def test_request_and_answer_pass_through(nursery: trio.Nursery) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        await start(send)
        text = f"{scope['method']} {scope['path']}?{scope['query_string'].decode()} {message['body'].decode()}"
        await send({"type": "http.response.body", "body": text.encode()})

    async with client(app, nursery) as http:
        answer = await http.post("/x%20y", params={"a": "b c"}, content=b"body")
    assert answer.text == "POST /x y?a=b+c body"
    assert answer.headers["x-a"] == "b"


async def test_chunks_arrive_as_they_are_sent(nursery: trio.Nursery) -> None:
    go_on = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"two"})

    async with client(app, nursery) as http, http.stream("GET", "/") as answer:
        chunks = []
        async for chunk in answer.aiter_raw():
            chunks.append(chunk)
            go_on.set()
    assert chunks == [b"one", b"two"]


async def test_the_application_learns_that_its_client_left(nursery: trio.Nursery) -> None:
    told = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await start(send)
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        if (await receive())["type"] == "http.disconnect":
            await send({"type": "http.response.body", "body": b"to nobody", "more_body": True})
            told.set()

    async with client(app, nursery) as http:
        async with http.stream("GET", "/"):
            pass
        with trio.fail_after(5):
            await told.wait()


async def test_a_slow_reader_holds_the_application_back(nursery: trio.Nursery) -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await start(send)
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            sent += 1

    async with client(app, nursery) as http, http.stream("GET", "/"):
        await trio.testing.wait_all_tasks_blocked()
        assert 1 < sent < 1000
        nursery.cancel_scope.cancel()


async def test_a_failure_before_the_answer_is_the_requests(nursery: trio.Nursery) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("broken")

    async with client(app, nursery) as http:
        with pytest.raises(LookupError, match="broken"):
            await http.get("/")


async def test_a_failure_within_the_body_is_raised_where_it_is_read(nursery: trio.Nursery) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise LookupError("broken")

    async with client(app, nursery) as http:
        with pytest.raises(LookupError, match="broken"):
            await http.get("/")


async def test_an_application_that_answers_nothing_is_named(nursery: trio.Nursery) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.lowlevel.checkpoint()

    async with client(app, nursery) as http:
        with pytest.raises(RuntimeError, match="gave no answer to GET http://app/silent"):
            await http.get("/silent")
