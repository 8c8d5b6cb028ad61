"""The port of the hub of an embedded cluster, on the loopback interface.

It is chosen when the cluster starts for the first time, and kept: the operator writes it into bindings, and containers
that were started with it use it for their whole life. A hub whose port is in use tries again until it is free.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
PORT_FILE: Final = "hub-port"


def hub_endpoint(data: Path) -> str:
    """Where the hub of the cluster in ``data`` listens, as ``host:port``.

    Raises:
        OSError: the folder cannot be written.
    """
    file = data / PORT_FILE
    last = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    if not (last.isdecimal() and 0 < int(last) < 65_536):
        last = str(_free_port())
        file.write_text(last, encoding="utf-8")
    return f"{HOST}:{last}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
