from __future__ import annotations

import socket
import ssl

import httpx
import pytest
import trio

from manager.bind import Address
from manager.metrics_tls import metrics_context
from manager.options import MetricsOptions
from manager.probes import Probes
from manager.serving import MAX_CONNECTIONS, ListenError, serve_on

LOOPBACK = Address("127.0.0.1", 0)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def test_it_is_started_with_the_url_that_answers(nursery: trio.Nursery) -> None:
    url = await nursery.start(serve_on, Probes({}), LOOPBACK)

    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/healthz")).text == "ok"


async def test_nobody_is_changed_over_to_plain_http2(nursery: trio.Nursery) -> None:
    url = await nursery.start(serve_on, Probes({}), LOOPBACK)
    upgrade = {"connection": "upgrade, http2-settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQAAP__"}

    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{url}/healthz", headers=upgrade)
    assert (answer.status_code, answer.http_version, answer.text) == (200, "HTTP/1.1", "ok")

    async with await trio.open_tcp_stream("127.0.0.1", port_of(url)) as stream:
        await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        with trio.fail_after(5):
            assert await stream.receive_some() == b""


async def test_a_websocket_is_refused(nursery: trio.Nursery) -> None:
    url = await nursery.start(serve_on, Probes({}), LOOPBACK)
    upgrade = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
    }

    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/healthz", headers=upgrade)).status_code == 403


async def test_idle_connections_beyond_the_limit_make_room(nursery: trio.Nursery) -> None:
    url = await nursery.start(serve_on, Probes({}), LOOPBACK)
    held = [await trio.open_tcp_stream("127.0.0.1", port_of(url)) for _ in range(MAX_CONNECTIONS + 40)]

    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/healthz")).text == "ok"
    for stream in held[:40]:
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
    for stream in held:
        await stream.aclose()


async def test_a_taken_address_is_named_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])

        with pytest.raises(ListenError, match=f"cannot listen on {address}: .*choose another address"):
            await serve_on(Probes({}), address)


@pytest.mark.parametrize(("http2", "protocol"), [(False, "http/1.1"), (True, "h2")])
async def test_tls_is_self_signed_and_speaks_http2_when_asked_to(
    nursery: trio.Nursery, http2: bool, protocol: str
) -> None:
    context = metrics_context(MetricsOptions(http2=http2))
    url = await nursery.start(
        lambda task_status: serve_on(Probes({}), LOOPBACK, context=context, http2=http2, task_status=task_status)
    )
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_alpn_protocols(["h2", "http/1.1"])

    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port_of(url), ssl_context=client, https_compatible=True)
    await stream.do_handshake()
    chosen = stream.selected_alpn_protocol()
    await stream.aclose()

    assert url.startswith("https://")
    assert chosen == protocol
