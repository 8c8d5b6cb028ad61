"""A probe for Kubernetes: ``GET /readyz`` on the port ``BUBU_READINESS_PORT``; off without that variable.

A port and not a file, because an ``httpGet`` probe needs no program in the image. The answer is 200 while the Impulse
accepts events, and 503 before its function has started and from SIGTERM on. ``GET /healthz`` is 200 as long as the
process answers. One request at a time, each with a second of time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

from bubu_sdk.errors import ContextError

PORT_VARIABLE: Final = "BUBU_READINESS_PORT"
_REQUEST_SECONDS: Final = 1.0


class ReadinessServer:
    """Serves the probe from a thread of its own until it is closed."""

    def __init__(self, port: int, is_ready: Callable[[], bool], host: str = "") -> None:
        """Listen.

        Raises:
            OSError: the port is in use.
        """
        self._server = HTTPServer((host, port), _handler(is_ready))
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="bubu-readiness", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def port_of(text: str) -> int | None:
    """The port in ``BUBU_READINESS_PORT``; ``None`` if there is none.

    Raises:
        ContextError: it is not a port.
    """
    if not text.strip():
        return None
    try:
        port = int(text)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise ContextError(f"{PORT_VARIABLE} is {text!r}; it must be a port, 1 to 65535")
    return port


def _handler(is_ready: Callable[[], bool]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_SECONDS

        def do_GET(self) -> None:
            known = {"/healthz": True, "/readyz": is_ready()}
            code = {None: 404, True: 200, False: 503}[known.get(self.path)]
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
