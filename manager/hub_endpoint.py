"""Where the containers of realtime steps reach the hub, as ``host:port``. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LONGEST_NAME: Final = 253


def parse_endpoint(text: str) -> str:
    """The endpoint in ``text``; empty for an empty one.

    Raises:
        ValueError: it is neither empty nor a host with a port.
    """
    if not text:
        return ""
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) < 65_536
    if not is_port or not (_is_address(host.strip("[]")) or _is_name(host)):
        raise ValueError(f"{text!r} must be host:port, for example bobrapet-hub.bobrapet-system.svc:9000")
    return text


def host_of(endpoint: str) -> str:
    return endpoint.rpartition(":")[0].strip("[]")


def is_loopback(host: str) -> bool:
    """Whether connections to this host stay on the machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def needs_certificate(endpoint: str) -> bool:
    """Whether containers reach the hub by TLS. SDKs use plaintext on the loopback interface, and only there."""
    return bool(endpoint) and not is_loopback(host_of(endpoint))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_name(host: str) -> bool:
    return len(host) <= _LONGEST_NAME and _NAME.fullmatch(host) is not None
