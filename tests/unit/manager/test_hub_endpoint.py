"""Where containers reach the hub. (manager/hub_endpoint.py)"""

from __future__ import annotations

import pytest

from manager.hub_endpoint import host_of, needs_certificate, parse_endpoint


@pytest.mark.parametrize(
    ("text", "host", "tls"),
    [
        ("bobrapet-hub.bobrapet-system.svc:9000", "bobrapet-hub.bobrapet-system.svc", True),
        ("10.0.0.1:9000", "10.0.0.1", True),
        ("[fd00::1]:9000", "fd00::1", True),
        ("127.0.0.1:9000", "127.0.0.1", False),
        ("[::1]:9000", "::1", False),
        ("localhost:9000", "localhost", False),
        ("", "", False),
    ],
)
def test_only_what_leaves_the_machine_needs_a_certificate(text: str, host: str, tls: bool) -> None:
    assert parse_endpoint(text) == text
    assert (host_of(text), needs_certificate(text)) == (host, tls)


@pytest.mark.parametrize("text", ["hub", ":9000", "hub:", "hub:0", "hub:70000", "hub:x", "HUB_1:9000", "http://hub:1"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="must be host:port, for example"):
        parse_endpoint(text)
