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
from manager.serving import ListenError, serve_on

LOOPBACK = Address("127.0.0.1", 0)


async def test_it_is_started_with_the_url_that_answers(nursery: trio.Nursery) -> None:
    urls = await nursery.start(serve_on, Probes({}), LOOPBACK)

    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{urls[0]}/healthz")).text == "ok"


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
    url = (
        await nursery.start(
            lambda task_status: serve_on(Probes({}), LOOPBACK, context=context, task_status=task_status)
        )
    )[0]
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_alpn_protocols(["h2", "http/1.1"])

    stream = await trio.open_ssl_over_tcp_stream(
        "127.0.0.1", int(url.rpartition(":")[2]), ssl_context=client, https_compatible=True
    )
    await stream.do_handshake()
    chosen = stream.selected_alpn_protocol()
    await stream.aclose()

    assert url.startswith("https://")
    assert chosen == protocol
