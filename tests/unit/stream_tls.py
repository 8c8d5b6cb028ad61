"""TLS for the two ends of a stream on the loopback interface."""

from __future__ import annotations

import ssl

import trustme


def stream_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The contexts of the server and of a client that trusts it: TLS 1.3 and HTTP/2."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["h2"])
    return server, client
