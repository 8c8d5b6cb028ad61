"""A client of a webhook: sends deliveries at a steady rate, and repeats each of them until it is accepted.

It repeats after a lost connection, after 429 and 503, and after as long as ``Retry-After`` says. Every delivery has a
deadline. As a program, ``python -m tests.e2e.deliveries.sender``, it reads its order as a line of JSON on its standard
input, begins when it has read it, and writes a line of JSON for each delivery that has ended. It ends with its parent.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Final

import h11
import trio

from kubewire import parent

KEY_HEADER: Final = "X-Delivery"
SIGNATURE_HEADER: Final = "X-Hub-Signature-256"
ANSWER_SECONDS: Final = 20.0
"""Longer than the webhook may take for an answer."""
_FIRST_PAUSE_SECONDS: Final = 0.2
_LAST_PAUSE_SECONDS: Final = 2.0
_READ_BYTES: Final = 64 << 10
_AGAIN: Final = (429, 503)


@dataclass(frozen=True, slots=True)
class SendingOrder:
    """What one client sends, and where."""

    port: int
    path: str
    secret: str
    client: str
    """Names the client, and seeds its choices."""
    first: int
    """Number of the first delivery."""
    count: int
    per_second: float
    scatter_seconds: float = 0.0
    """A delivery is sent up to this much later than it is due, so that two clients overtake each other."""
    connections: int = 80
    patience_seconds: float = 300.0
    """How long one delivery may take."""

    def to_line(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Receipt:
    """How a delivery ended."""

    key: str
    trigger: str
    """The name in the answer 202; empty if the delivery was never accepted."""
    requests: int
    repeated: dict[str, int] = field(default_factory=dict)
    """Why it was sent again, and how often: ``lost``, ``429``, ``503``."""
    asked_at: float = 0.0
    """When its first request was about to be sent, by ``time.monotonic()``, which all processes share."""
    seconds: float = 0.0
    """From then on to the end."""
    problem: str = ""
    """Why it was not accepted."""

    def to_line(self) -> str:
        return json.dumps(asdict(self))


class _LostError(Exception):
    """There is no answer, and nobody knows whether the request had an effect."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after_seconds: float
    content: dict[str, str]


def key_of(number: int) -> str:
    return f"delivery-{number:06d}"


async def send_all(order: SendingOrder, ended: Callable[[Receipt], None]) -> None:
    """Send all deliveries; ``ended`` gets each of them. Returns after the last one has ended."""
    chance, wire, began_at = random.Random(order.client), _Wire(order), trio.current_time()

    async def deliver(number: int, wait_seconds: float) -> None:
        await trio.sleep(wait_seconds)
        ended(await _delivered(order, wire, number))

    try:
        async with trio.open_nursery() as nursery:
            for index in range(order.count):
                await trio.sleep_until(began_at + index / order.per_second)
                nursery.start_soon(deliver, order.first + index, chance.uniform(0.0, order.scatter_seconds))
    finally:
        wire.close()


async def _delivered(order: SendingOrder, wire: _Wire, number: int) -> Receipt:
    key, body = key_of(number), json.dumps({"number": number}).encode()
    requests, repeated, problem = 0, dict[str, int](), "no answer"
    pause, asked_at = _FIRST_PAUSE_SECONDS, time.monotonic()

    def receipt(trigger: str, problem: str = "") -> Receipt:
        return Receipt(key, trigger, requests, repeated, asked_at, time.monotonic() - asked_at, problem)

    with trio.move_on_after(order.patience_seconds):
        while True:
            requests += 1
            try:
                answer = await wire.post(key, body)
            except _LostError as lost:
                why, wait_seconds, problem = "lost", pause, str(lost)
                pause = min(2 * pause, _LAST_PAUSE_SECONDS)
            else:
                if answer.status == 202:
                    return receipt(answer.content["trigger"])
                problem = f"{answer.status} {answer.content}"
                if answer.status not in _AGAIN:
                    return receipt("", problem)
                why, wait_seconds = str(answer.status), answer.retry_after_seconds or pause
            repeated[why] = repeated.get(why, 0) + 1
            await trio.sleep(wait_seconds)
    return receipt("", f"not accepted within {order.patience_seconds:g} s; at last: {problem}")


class _Wire:
    """The connections of one client."""

    def __init__(self, order: SendingOrder) -> None:
        self._order = order
        self._places = trio.Semaphore(order.connections)
        self._idle: list[_Connection] = []

    async def post(self, key: str, body: bytes) -> _Answer:
        """
        Raises:
            _LostError: no answer came.
        """
        order = self._order
        signature = hmac.new(order.secret.encode(), body, hashlib.sha256).hexdigest()
        fields = {
            "Host": f"127.0.0.1:{order.port}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            KEY_HEADER: key,
            SIGNATURE_HEADER: f"sha256={signature}",
        }
        request = h11.Request(method="POST", target=order.path, headers=list(fields.items()))
        async with self._places, self._connection() as connection:
            return await connection.exchange(request, body)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        """One of our own for the block; afterwards it is idle or closed."""
        try:
            with trio.fail_after(ANSWER_SECONDS):
                connection = self._idle.pop() if self._idle else await _Connection.opened(self._order.port)
                try:
                    yield connection
                finally:
                    if connection.is_open():
                        self._idle.append(connection)
                    else:
                        connection.close()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError) as error:
            raise _LostError(f"{type(error).__name__}: {error}") from error
        except trio.TooSlowError as error:
            raise _LostError(f"no answer within {ANSWER_SECONDS:g} s") from error


class _Connection:
    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)

    @classmethod
    async def opened(cls, port: int) -> _Connection:
        return cls(await trio.open_tcp_stream("127.0.0.1", port))

    async def exchange(self, request: h11.Request, body: bytes) -> _Answer:
        send = self._http.send
        parts = (send(request), send(h11.Data(data=body)), send(h11.EndOfMessage()))
        await self._stream.send_all(b"".join(part or b"" for part in parts))
        head: h11.Response | None = None
        content = bytearray()
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.ConnectionClosed):
                break
        if head is None:
            raise trio.BrokenResourceError("closed without an answer")
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        retry_after = dict(head.headers).get(b"retry-after", b"0")
        return _Answer(head.status_code, float(retry_after), json.loads(content))

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._stream.receive_some(_READ_BYTES))
        return event

    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self._http.our_state is h11.IDLE and self._http.their_state is h11.IDLE

    def close(self) -> None:
        self._stream.socket.close()


async def _main() -> None:
    pipe = parent.standard_input()
    line = await parent.word_of(pipe)
    if line is None:
        return

    async def end_with_parent() -> None:
        await parent.wait_until_gone(pipe)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_with_parent)
        await send_all(SendingOrder(**json.loads(line)), lambda receipt: parent.answer(receipt.to_line()))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_main)
