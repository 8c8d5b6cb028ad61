"""The webhook over a real loopback socket: framing, bounds, draining, and the whole program.

(webhook/server.py, webhook/__main__.py)
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
import trio

from bubu_impulses.webhook import __main__ as program
from bubu_impulses.webhook.authentication import signature
from bubu_impulses.webhook.messages import Request, Response, answer, refusal
from bubu_impulses.webhook.server import Admission, Handler, ServerLimits, serve
from bubu_sdk.testing import ImpulseEnvironment

LOG = logging.getLogger("test-webhook")
LIMITS = ServerLimits(body_bytes=1000, connections=5)


async def echo(request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return answer(200, {"method": request.method, "target": request.target, "body": request.body.decode()})


@dataclass
class Served:
    port: int
    scope: trio.CancelScope

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def opened(self, sent: bytes = b"") -> AsyncIterator[trio.SocketStream]:
        """A connection on which ``sent`` has been sent, and which the server has read."""
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            if sent:
                await stream.send_all(sent)
            await trio.testing.wait_all_tasks_blocked(0.01)
            yield stream

    async def raw(self, sent: bytes, *, ends: bool = False) -> bytes:
        """All bytes that the server answers until it closes the connection."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            await stream.send_all(sent)
            if ends:
                await stream.send_eof()
            received = b""
            with trio.fail_after(5):
                while part := await stream.receive_some(65536):
                    received += part
        return received


@asynccontextmanager
async def serving(
    handler: Handler = echo,
    limits: ServerLimits = LIMITS,
    linger_seconds: float = 0.0,
    admission: Admission = lambda _: None,
) -> AsyncIterator[Served]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await serve(listeners, handler, limits, LOG, admission=admission, linger_seconds=linger_seconds)

        nursery.start_soon(run)
        yield Served(port, scope)
        scope.cancel()


def status_of(received: bytes) -> int:
    return int(received.split(b" ", 2)[1])


async def test_requests_of_one_connection_are_answered_in_order() -> None:
    async with serving() as served, httpx.AsyncClient(base_url=served.url) as client:
        first = await client.post("/a?b=c", content=b"one")
        second = await client.get("/d")

    assert first.json() == {"method": "POST", "target": "/a?b=c", "body": "one"}
    assert second.json() == {"method": "GET", "target": "/d", "body": ""}


async def test_pipelined_and_chunked_requests_are_understood() -> None:
    chunked = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    last = b"GET /y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

    async with serving() as served:
        received = await served.raw(chunked + last)

    assert received.count(b"HTTP/1.1 200") == 2
    assert b'"body": "abcde"' in received


async def test_a_client_that_waits_for_permission_to_send_gets_it() -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"

    async with serving() as served:
        stream = await trio.open_tcp_stream("127.0.0.1", served.port)
        async with stream:
            await stream.send_all(head)
            with trio.fail_after(5):
                assert status_of(await stream.receive_some(1000)) == 100
                await stream.send_all(b"ok")
                assert status_of(await stream.receive_some(1000)) == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001, 413),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
        (b"not http at all\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 20_000, 431),
    ],
)
async def test_what_cannot_be_read_is_refused_and_closes_the_connection(sent: bytes, status: int) -> None:
    async with serving() as served:
        received = await served.raw(sent)

    assert status_of(received) == status
    assert b"connection: close" in received.lower()


async def test_slow_clients_are_cut_off() -> None:
    limits = replace(LIMITS, idle_seconds=0.05, head_seconds=0.05, body_seconds=0.05)
    async with serving(limits=limits) as served:
        idle = await served.raw(b"")
        head = await served.raw(b"POST / HT")
        body = await served.raw(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab")

    assert idle == b""
    assert (status_of(head), status_of(body)) == (408, 408)


async def test_a_client_that_leaves_inside_a_request_harms_nobody() -> None:
    async with serving() as served:
        assert await served.raw(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab", ends=True) != b"crash"
        async with httpx.AsyncClient(base_url=served.url) as client:
            assert (await client.get("/")).status_code == 200


# Those who occupy too much.


SMALL = replace(LIMITS, connections=1)
WHOLE = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
HALF = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\n" + b"x" * 600


@pytest.mark.parametrize("sent", [b"", b"POST / HT", HALF], ids=["idle", "half a head", "half a body"])
async def test_a_connection_without_a_whole_request_goes_for_a_new_one(sent: bytes) -> None:
    async with serving(limits=SMALL) as served, served.opened(sent) as waiting:
        assert status_of(await served.raw(WHOLE)) == 200
        with trio.fail_after(5), suppress(trio.BrokenResourceError):
            assert await waiting.receive_some(10) == b""


async def test_the_oldest_connection_of_the_address_with_the_most_of_them_goes() -> None:
    async with serving(limits=replace(LIMITS, connections=3)) as served:
        lonely = await trio.open_tcp_stream("127.0.0.1", served.port, local_address="127.0.0.9")
        await trio.testing.wait_all_tasks_blocked(0.01)
        async with lonely, served.opened() as oldest, served.opened() as newest:
            assert status_of(await served.raw(WHOLE)) == 200
            with trio.fail_after(5), suppress(trio.BrokenResourceError):
                assert await oldest.receive_some(10) == b""
            for stream in (lonely, newest):
                await stream.send_all(WHOLE)
                with trio.fail_after(5):
                    assert status_of(await stream.receive_some(1000)) == 200


async def test_a_request_that_is_handled_keeps_its_connection() -> None:
    go_on = trio.Event()

    async def handler(_: Request) -> Response:
        await go_on.wait()
        return answer(200, {})

    async with serving(handler, SMALL) as served, served.opened(WHOLE) as busy:
        with suppress(trio.BrokenResourceError, OSError):
            assert await served.raw(b"") == b""
        go_on.set()
        with trio.fail_after(5):
            assert status_of(await busy.receive_some(1000)) == 200


async def test_an_incomplete_large_body_goes_for_a_new_one() -> None:
    limits = replace(LIMITS, large_bodies_bytes=1000, small_body_bytes=0)
    async with serving(limits=limits) as served, served.opened(HALF) as stalled:
        async with httpx.AsyncClient(base_url=served.url) as client:
            assert (await client.post("/", content=b"x" * 900)).status_code == 200
        with trio.fail_after(5):
            received = await stalled.receive_some(1000)
    assert status_of(received) == 503
    assert b"retry-after: 1" in received.lower()


async def test_memory_of_bodies_that_are_handled_is_not_given_away() -> None:
    go_on, handled = trio.Event(), list[int]()

    async def handler(request: Request) -> Response:
        handled.append(len(request.body))
        await go_on.wait()
        return answer(200, {})

    whole = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 600\r\n\r\n" + b"x" * 600
    async with serving(handler, replace(LIMITS, large_bodies_bytes=1000, small_body_bytes=0)) as served:
        async with served.opened(whole) as first:
            assert status_of(await served.raw(whole)) == 503
            go_on.set()
            with trio.fail_after(5):
                assert status_of(await first.receive_some(1000)) == 200
        async with served.opened(whole) as later:
            with trio.fail_after(5):
                assert status_of(await later.receive_some(1000)) == 200
    assert handled == [600, 600]


async def test_large_bodies_cannot_keep_a_small_one_out() -> None:
    go_on, handled = trio.Event(), list[int]()

    async def handler(request: Request) -> Response:
        handled.append(len(request.body))
        if len(request.body) > 100:
            await go_on.wait()
        return answer(200, {})

    whole = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
    limits = replace(LIMITS, large_bodies_bytes=900, small_body_bytes=100)
    async with serving(handler, limits) as served, served.opened(whole):
        assert status_of(await served.raw(WHOLE)) == 200
        go_on.set()
    assert handled == [1000, 2]


async def test_a_body_must_keep_a_least_rate_and_gets_the_time_for_it() -> None:
    limits = replace(LIMITS, body_seconds=0.3, body_bytes_per_second=100)
    head = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 300\r\n\r\n"
    async with (
        serving(limits=limits) as served,
        served.opened(head + b"x" * 299) as steady,
        served.opened(head + b"x") as dripping,
    ):
        with trio.fail_after(5):
            assert status_of(await dripping.receive_some(1000)) == 408
        await steady.send_all(b"x")
        with trio.fail_after(5):
            assert status_of(await steady.receive_some(1000)) == 200


async def test_what_the_admission_refuses_is_answered_before_its_body_arrives() -> None:
    async with serving(admission=lambda _: refusal(401, "Unauthenticated", "no")) as served:
        received = await served.raw(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\n")
    assert status_of(received) == 401
    assert b"connection: close" in received.lower()


async def test_a_request_that_fails_or_takes_too_long_is_answered() -> None:
    async def handler(request: Request) -> Response:
        if request.target == "/fails":
            raise RuntimeError("secret")
        await trio.sleep_forever()
        raise AssertionError

    limits = replace(LIMITS, handle_seconds=0.05)
    async with serving(handler, limits) as served, httpx.AsyncClient(base_url=served.url) as client:
        fails, hangs = await client.get("/fails"), await client.get("/hangs")

    assert (fails.status_code, hangs.status_code) == (500, 503)
    assert "secret" not in fails.text
    assert hangs.headers["Retry-After"] == "5"


async def test_a_request_in_progress_is_finished_when_the_server_ends() -> None:
    begun, go_on = trio.Event(), trio.Event()

    async def handler(request: Request) -> Response:
        begun.set()
        await go_on.wait()
        return answer(200, {"done": True})

    async with serving(handler) as served:
        idle = await trio.open_tcp_stream("127.0.0.1", served.port)
        async with idle, httpx.AsyncClient(base_url=served.url) as client, trio.open_nursery() as nursery:
            answers: list[httpx.Response] = []

            async def ask() -> None:
                answers.append(await client.get("/"))

            nursery.start_soon(ask)
            await begun.wait()
            served.scope.cancel()
            with trio.fail_after(5):
                assert await idle.receive_some(10) == b""
            with pytest.raises(OSError, match=r"refused|connect"):
                await trio.open_tcp_stream("127.0.0.1", served.port)
            go_on.set()

    assert [one.json() for one in answers] == [{"done": True}]


async def test_while_it_lingers_the_server_accepts_requests() -> None:
    async with serving(linger_seconds=0.3) as served, httpx.AsyncClient(base_url=served.url) as client:
        served.scope.cancel()
        await trio.sleep(0.05)
        response = await client.get("/")

    assert response.status_code == 200
    assert response.headers["Connection"] == "close"


# The whole program.


def free_port() -> int:
    """A port that is free like the next one, which the probes use."""
    while True:
        with socket.socket() as found, socket.socket() as next_one:
            found.bind(("127.0.0.1", 0))
            port: int = found.getsockname()[1]
            with suppress(OSError, OverflowError):
                next_one.bind(("127.0.0.1", port + 1))
                return port


def test_a_port_that_is_taken_is_named_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as probes:
        ports = [each.getsockname()[1] for each in (taken, probes)]
        for name, config in (
            ("port", {"port": ports[0]}),
            ("probePort", {"port": 0, "probePort": ports[1]}),
        ):
            environment = ImpulseEnvironment(config={"host": "127.0.0.1", **config}, secrets={"a": {"secret": "s"}})
            outcome = environment.run(program.main)

            (line,) = [line["msg"] for line in outcome.logs if "cannot be used" in line["msg"]]
            assert outcome.exit_code == 1
            assert f"{name}: cannot listen on 127.0.0.1:{config[name]}: Address already in use" in line


def test_pods_of_an_impulse_share_the_port_that_the_node_has_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    probes = free_port()
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        for name, value in (("HOST", "127.0.0.1"), ("PORT", str(port)), ("PROBE_PORT", str(probes))):
            monkeypatch.setenv(f"BUBU_WEBHOOK_{name}", value)
        environment = ImpulseEnvironment(config={"lingerSeconds": 0}, secrets={"a": {"secret": "s"}})
        outcomes = []
        runner = threading.Thread(target=lambda: outcomes.append(environment.run(program.main)), daemon=True)
        runner.start()
        while runner.is_alive():
            with suppress(httpx.ConnectError):
                assert httpx.get(f"http://127.0.0.1:{probes}/readyz").status_code == 200
                break
        environment.stop()
        runner.join(10)

    (line,) = [line for line in outcomes[0].logs if line["msg"] == "listening"]
    assert (line["port"], line["probePort"]) == (port, probes)


def signed(content: Any) -> dict[str, Any]:
    body = json.dumps(content).encode()
    header = {"X-Hub-Signature-256": f"sha256={signature('s-1', body)}", "X-Delivery": str(content["n"])}
    return {"content": body, "headers": header}


def test_the_program_stores_what_it_accepts_and_ends_within_its_grace_period() -> None:
    port = free_port()
    environment = ImpulseEnvironment(
        config={"port": port, "host": "127.0.0.1", "path": "/hook", "keyHeader": "X-Delivery", "lingerSeconds": 0.01},
        secrets={"github": {"secret": "s-1"}},
    )
    outcomes = []
    runner = threading.Thread(target=lambda: outcomes.append(environment.run(program.main)), daemon=True)
    runner.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=3)) as client:
        for _ in range(200):
            try:
                client.get(f"http://127.0.0.1:{port + 1}/readyz").raise_for_status()
                break
            except httpx.ConnectError:
                threading.Event().wait(0.01)
        first = client.post("/hook", **signed({"n": 1}))
        again = client.post("/hook", **signed({"n": 1}))
        wrong = client.post("/hook", content=b"{}")
        link = first.json()["status"]
        elsewhere = client.post(f"http://127.0.0.1:{port + 1}/hook", **signed({"n": 2}))
        found = client.get(link, headers={"X-Hub-Signature-256": f"sha256={signature('s-1', link.encode())}"})
    environment.stop()
    runner.join(10)

    assert (first.status_code, again.status_code, wrong.status_code, found.status_code) == (202, 202, 401, 200)
    assert first.json()["trigger"] == again.json()["trigger"] == environment.triggers[0]["metadata"]["name"]
    assert found.json()["decision"] == "Created"
    assert elsewhere.status_code == 413
    assert [outcome.exit_code for outcome in outcomes] == [0]
    assert not any("s-1" in json.dumps(line) for line in outcomes[0].logs)


@pytest.mark.parametrize(
    ("given", "warned"), [({"keyHeader": "X-A"}, ["keyHeader"]), ({"key": ""}, ["key"]), ({"key": "{{ body.id }}"}, [])]
)
def test_what_a_signature_does_not_cover_is_warned_about_in_the_log(given: dict[str, str], warned: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = {"port": taken.getsockname()[1], "host": "127.0.0.1", **given}  # so it ends at once
        outcome = ImpulseEnvironment(config=config, secrets={"a": {"secret": "s"}}).run(program.main)

    lines = [line["msg"] for line in outcome.logs if line["level"] == "warning"]
    assert [line.partition(" ")[0] for line in lines] == warned


def test_without_its_secret_the_program_does_not_listen() -> None:
    outcome = ImpulseEnvironment(config={"port": 0}).run(program.main)

    assert outcome.exit_code == 1
    assert any("auth.secretKeys" in line["msg"] for line in outcome.logs)
