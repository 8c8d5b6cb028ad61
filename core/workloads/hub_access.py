"""How the containers of realtime steps reach the hub, and prove to it who they are. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final

HUB_SERVICE: Final = "bobrapet-hub"
HUB_PORT: Final = 9000
HUB_TLS_SECRET: Final = "bobrapet-hub-tls"  # noqa: S105 - a name, not a secret
"""In the operator's namespace: the certificate of the hub, and in ``ca.crt`` the authorities that containers trust."""


@dataclass(frozen=True, slots=True)
class HubAccess:
    """One state of the access to the hub."""

    endpoint: str
    """``host:port``, as containers dial it. A loopback address is dialled without TLS."""
    key: bytes = field(repr=False)
    """Signs binding tokens."""
    ca_bundle: bytes | None = None
    """The authorities that sign the certificate of the hub, as PEM; None: none is needed, or the image has them."""


def default_endpoint(namespace: str) -> str:
    """Where the hub of an operator in ``namespace`` is.

    >>> default_endpoint("bobrapet-system")
    'bobrapet-hub.bobrapet-system.svc:9000'
    """
    return f"{HUB_SERVICE}.{namespace}.svc:{HUB_PORT}"


def is_plaintext(endpoint: str) -> bool:
    """Whether SDKs dial this endpoint without TLS: only one on their own machine.

    >>> is_plaintext("127.0.0.1:9000"), is_plaintext("[::1]:9000"), is_plaintext("hub.example:9000")
    (True, True, False)
    """
    host = endpoint.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
