"""Addresses of Pods. By default all have that of the machine, so their ports collide.

With ``NodeSettings.pod_addresses`` each Pod has a loopback address of its own, which follows from its UID. Linux routes
all of 127.0.0.0/8 to the loopback interface; a program of the Pod must listen on its address (``status.podIP``) alone.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address
from typing import Any, Final

from localcluster.node.settings import HOST_IP, NodeSettings

_FIRST: Final = int(IPv4Address("127.1.0.0"))
_COUNT: Final = int(IPv4Address("127.254.0.0")) - _FIRST


def address_of(pod: dict[str, Any], settings: NodeSettings) -> str:
    """The address of the Pod.

    >>> from pathlib import Path
    >>> shared = NodeSettings("local", Path("/data"), Path("/images"), "https://127.0.0.1:6443")
    >>> address_of({"metadata": {"uid": "a"}}, shared)
    '127.0.0.1'
    """
    if not settings.pod_addresses:
        return HOST_IP
    digest = hashlib.sha256(str(pod["metadata"]["uid"]).encode()).digest()
    return str(IPv4Address(_FIRST + int.from_bytes(digest[:8], "big") % _COUNT))
