"""A client of a webhook repeats each delivery until it is accepted, and no longer than it may."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import pytest
import trio

from tests.e2e.deliveries.killing import instants
from tests.e2e.deliveries.sender import KEY_HEADER, Receipt, SendingOrder, key_of, send_all

ACCEPTED = b'{"trigger": "t"}'
LOST = 0
"""Stands for a connection that breaks without an answer."""


@asynccontextmanager
async def a_server(*statuses: int) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answers with these statuses, one after the other; then with 202. Its port, and the keys that it was asked for."""
    left, asked = list(statuses), list[bytes]()

    async def serve(stream: trio.SocketStream) -> None:
        http = h11.Connection(h11.SERVER)
        async with stream:
            while True:
                while (event := http.next_event()) is h11.NEED_DATA:
                    http.receive_data(await stream.receive_some())
                if isinstance(event, h11.Request):
                    asked.append(dict(event.headers)[KEY_HEADER.lower().encode()])
                if isinstance(event, h11.ConnectionClosed):
                    return
                if not isinstance(event, h11.EndOfMessage):
                    continue
                status = left.pop(0) if left else 202
                if status == LOST:
                    return
                length = [("Content-Length", str(len(ACCEPTED)))]
                answer = http.send(h11.Response(status_code=status, headers=length)) or b""
                await stream.send_all(answer + (http.send(h11.Data(data=ACCEPTED)) or b""))
                http.send(h11.EndOfMessage())
                http.start_next_cycle()

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1], asked
        nursery.cancel_scope.cancel()


async def receipts(port: int, **changes: Any) -> list[Receipt]:
    order: dict[str, Any] = {"count": 1, "first": 0, "per_second": 1000.0, "patience_seconds": 10.0, **changes}
    found: list[Receipt] = []
    await send_all(SendingOrder(port, "/", "secret", "one", **order), found.append)
    return found


async def test_a_delivery_is_repeated_with_its_key_until_it_is_accepted() -> None:
    async with a_server(LOST, 429, 503) as (port, asked):
        [receipt] = await receipts(port)

    assert (receipt.key, receipt.trigger, receipt.problem) == (key_of(0), "t", "")
    assert (receipt.requests, receipt.repeated) == (4, {"lost": 1, "429": 1, "503": 1})
    assert asked == [key_of(0).encode()] * 4
    assert receipt.seconds >= 0.2


async def test_a_delivery_that_is_refused_is_not_repeated() -> None:
    async with a_server(422) as (port, asked):
        [receipt] = await receipts(port)

    assert (receipt.trigger, receipt.requests, len(asked)) == ("", 1, 1)
    assert receipt.problem.startswith("422")


async def test_a_delivery_has_a_deadline() -> None:
    async with a_server(*[503] * 50) as (port, _):
        [receipt] = await receipts(port, patience_seconds=0.3)

    assert receipt.trigger == ""
    assert "not accepted within 0.3 s" in receipt.problem


async def test_deliveries_keep_to_their_rate_and_do_not_wait_for_each_other() -> None:
    async with a_server(503) as (port, asked):
        found = await receipts(port, count=10, per_second=100.0, first=5)

    assert {receipt.key for receipt in found} == {key_of(number) for number in range(5, 15)}
    assert found[-1].requests == 2  # the first delivery, which the others overtook
    assert len(asked) == 11


@pytest.mark.parametrize("kills", [0, 1, 7])
def test_kills_are_spread_over_the_whole_work(kills: int) -> None:
    found = instants(random.Random(1), kills)

    assert [int(share * kills) for share in found] == list(range(kills))
