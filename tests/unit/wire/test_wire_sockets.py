"""The wire over real sockets, in plaintext and under TLS with ALPN. (tests/e2e/wire/rig.py)"""

from __future__ import annotations

import ssl

import pytest
import trio

from bubu_wire.status import Status, StatusCode
from tests.e2e.wire.rig import CallError, RigCall, open_client, open_server
from tests.unit.stream_tls import stream_contexts

METHOD = "/test.Service/Talk"


async def echo(call: RigCall) -> None:
    while (message := await call.receive()) is not None:
        if message == b"fail":
            raise CallError(Status(StatusCode.ABORTED, "asked to"))
        await call.send(message)


@pytest.fixture(scope="module")
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return stream_contexts()


@pytest.mark.parametrize("encrypted", [False, True])
async def test_messages_go_there_and_back(encrypted: bool, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server_side, client_side = tls if encrypted else (None, None)
    sent = [b"small", b"", bytes(300_000), *(bytes((number,)) * 400 for number in range(100))]
    with trio.fail_after(30):
        async with (
            open_server({METHOD: echo}, context=server_side) as port,
            open_client(port, context=client_side) as client,
        ):
            if encrypted:
                assert isinstance(client.wire.stream, trio.SSLStream)
                assert client.wire.stream.selected_alpn_protocol() == "h2"
            call = client.open_call(METHOD)
            await call.send(*sent)
            client.finish(call)
            received = []
            while (message := await call.receive()) is not None:
                received.append(message)
            assert received == sent

            failing = client.open_call(METHOD)
            await failing.send(b"fail")
            with pytest.raises(CallError, match="asked to"):
                await failing.receive()


async def test_a_deadline_ends_a_call_at_the_server() -> None:
    async def sleep(_call: RigCall) -> None:
        await trio.sleep_forever()

    with trio.fail_after(30):
        async with open_server({METHOD: sleep}) as port, open_client(port) as client:
            call = client.open_call(METHOD, timeout=0.05)
            with pytest.raises(CallError, match="DEADLINE_EXCEEDED"):
                await call.receive()


async def test_a_client_that_is_gone_ends_the_handlers() -> None:
    ended = trio.Event()

    async def wait(call: RigCall) -> None:
        try:
            await call.receive()
        finally:
            ended.set()

    with trio.fail_after(30):
        async with open_server({METHOD: wait}) as port:
            async with open_client(port) as client:
                client.open_call(METHOD)
                await trio.sleep(0.05)
            await ended.wait()
