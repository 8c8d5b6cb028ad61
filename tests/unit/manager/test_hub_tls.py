"""Which TLS the hub of a cluster speaks, with its certificate from files or from a Secret. (manager/hub_tls.py)"""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trustme

from manager.hub_serving import HubFiles
from manager.hub_tls import HubCertificate


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def certificate(authority: trustme.CA, tmp_path: Path) -> HubCertificate:
    issued = authority.issue_cert("hub.example")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    issued.private_key_pem.write_to_path(tmp_path / "tls.key")
    made = HubCertificate()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.follow_files, HubFiles(tmp_path / "tls.crt", tmp_path / "tls.key"))
            await made.wait_until_installed()
            nursery.cancel_scope.cancel()
    return made


def agreed(server_side: ssl.SSLContext, client_side: ssl.SSLContext) -> tuple[str | None, str | None]:
    """Version and protocol of a handshake in memory.

    Raises:
        ssl.SSLError: one side has refused the other.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    client = client_side.wrap_bio(to_client, to_server, server_hostname="hub.example")
    pending = [client, server]
    for _ in range(10):
        for side in list(pending):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            pending.remove(side)
    assert pending == []
    return client.version(), client.selected_alpn_protocol()


def client_context(authority: trustme.CA, newest: ssl.TLSVersion, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.maximum_version = newest
    context.set_alpn_protocols(protocols)
    authority.configure_trust(context)
    return context


async def test_streams_have_tls_1_3_and_a_client_of_1_2_is_refused(
    certificate: HubCertificate, authority: trustme.CA
) -> None:
    newest = client_context(authority, ssl.TLSVersion.TLSv1_3, "h2")
    assert agreed(certificate.context, newest) == ("TLSv1.3", "h2")
    with pytest.raises(ssl.SSLError) as refused:
        agreed(certificate.context, client_context(authority, ssl.TLSVersion.TLSv1_2, "h2"))
    assert refused.value.reason == "UNSUPPORTED_PROTOCOL", "the version, and nothing else"


async def test_the_console_takes_the_1_2_of_an_older_api_server_and_nothing_below(
    certificate: HubCertificate, authority: trustme.CA
) -> None:
    older = client_context(authority, ssl.TLSVersion.TLSv1_2, "http/1.1")
    assert agreed(certificate.console_context, older) == ("TLSv1.2", "http/1.1")
    assert certificate.console_context.minimum_version is ssl.TLSVersion.TLSv1_2
