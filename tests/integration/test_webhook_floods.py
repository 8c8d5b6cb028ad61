"""The program of the webhook Impulse while strangers flood it: signed events are served, and its probes answer."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import pytest
import trio

from bubu_impulses.webhook import __main__ as program
from bubu_impulses.webhook.authentication import signature
from bubu_sdk.testing import ImpulseEnvironment

EVENTS: Final = 100
HANG_SECONDS: Final = 60.0
"""For one event: it says that an event is not served, not how fast one is."""
BODY_BYTES: Final = 1024 * 1024
HALF_BODY: Final = (
    f"POST / HTTP/1.1\r\nHost: h\r\nX-Hub-Signature-256: sha256={'0' * 64}\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
).encode()

Stranger = Callable[[trio.SocketStream, Callable[[], None]], Awaitable[None]]
"""Uses its connection, and calls the function when it occupies what it is after."""


@dataclass(frozen=True)
class Listening:
    port: int
    environment: ImpulseEnvironment

    def event(self, number: int) -> int:
        """Send one signed event on a connection of its own; returns the status."""
        body = json.dumps({"n": number}).encode()
        headers = {"X-Hub-Signature-256": f"sha256={signature('s-1', body)}"}
        return ask(self.port, "POST", "/", body, headers)


def ask(port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS)
    try:
        connection.request(method, path, body or None, headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def listening() -> Iterator[Listening]:
    port = free_ports()
    config = {"port": port, "host": "127.0.0.1", "lingerSeconds": 0, "key": "{{ body.n }}", "inputs": {}}
    environment = ImpulseEnvironment(config=config, secrets={"auth": {"secret": "s-1"}})
    thread = threading.Thread(target=environment.run, args=(program.main,), daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            with suppress(OSError):
                ask(port, "GET", "/readyz")
                break
        yield Listening(port, environment)
    finally:
        environment.stop()
        thread.join(HANG_SECONDS)


def free_ports() -> int:
    """A free port whose next one is free, too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


async def idle(_: trio.SocketStream, begun: Callable[[], None]) -> None:
    begun()
    await trio.lowlevel.checkpoint()


async def half_body(stream: trio.SocketStream, begun: Callable[[], None]) -> None:
    await stream.send_all(HALF_BODY + b"x" * (BODY_BYTES - 1))
    begun()


async def slow_head(stream: trio.SocketStream, begun: Callable[[], None]) -> None:
    await stream.send_all(b"POST / HTTP/1.1\r\nHost: h\r\n")
    begun()
    for number in range(1000):
        await stream.send_all(b"X-%d: a\r\n" % number)
        await trio.sleep(0.5)


async def slow_body(stream: trio.SocketStream, begun: Callable[[], None]) -> None:
    await stream.send_all(HALF_BODY)
    begun()
    for _ in range(1000):
        await stream.send_all(b"x")
        await trio.sleep(0.5)


@contextmanager
def flood(stranger: Stranger, connections: int, addresses: int, port: int) -> Iterator[None]:
    """Connections of strangers, each opened again when the server has closed it, from so many loopback addresses."""
    begun, ended = threading.Event(), trio.Event()
    token: list[trio.lowlevel.TrioToken] = []

    async def one(number: int, occupied: trio.Semaphore) -> None:
        address = f"127.0.{1 + number % addresses // 250}.{1 + number % addresses % 250}"
        while True:
            with suppress(OSError, trio.BrokenResourceError):
                async with await trio.open_tcp_stream("127.0.0.1", port, local_address=address) as stream:
                    await stranger(stream, occupied.release)
                    while await stream.receive_some(4096):
                        pass
            await trio.sleep(0.2)

    async def main() -> None:
        token.append(trio.lowlevel.current_trio_token())
        occupied = trio.Semaphore(0)
        async with trio.open_nursery() as nursery:
            for number in range(connections):
                nursery.start_soon(one, number, occupied)
            for _ in range(connections):
                await occupied.acquire()
            begun.set()
            await ended.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(main,), daemon=True)
    thread.start()
    try:
        assert begun.wait(HANG_SECONDS)
        yield
    finally:
        token[0].run_sync_soon(ended.set)
        thread.join(HANG_SECONDS)


@pytest.mark.parametrize("addresses", [1, 240], ids=["one address", "many addresses"])
@pytest.mark.parametrize(
    ("stranger", "connections"),
    [(idle, 260), (half_body, 48), (slow_head, 260), (slow_body, 260)],
    ids=["idle", "half bodies", "slow heads", "slow bodies"],
)
def test_signed_events_are_served_and_probes_answer(stranger: Stranger, connections: int, addresses: int) -> None:
    with listening() as there, flood(stranger, connections, addresses, there.port):
        served = [there.event(number) for number in range(EVENTS)]
        probes = [ask(there.port + 1, "GET", path) for path in ("/healthz", "/readyz")]

    assert served == [202] * EVENTS
    assert probes == [200, 200]
    assert len(there.environment.triggers) == EVENTS


def test_a_flood_of_the_port_of_probes_leaves_the_probes_working() -> None:
    with listening() as there, flood(idle, 260, 1, there.port + 1):
        assert [ask(there.port + 1, "GET", "/healthz") for _ in range(10)] == [200] * 10
        assert there.event(1) == 202
