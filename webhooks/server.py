"""HTTP and HTTPS servers that run while the surrounding nursery lives. Source: admission contract 1.2."""

from __future__ import annotations

import logging
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework

from webhooks.connection import MAX_CONNECTIONS, ConnectionRules, Connections, TlsContext

BACKLOG: Final = 256
GRACE_SECONDS: Final = 5.0
"""For requests in progress when the server stops; no review takes longer."""

_HEAD_BYTES: Final = 32 << 10
_REQUESTS_PER_CONNECTION: Final = 10_000


class ListenError(Exception):
    """The server cannot listen on the address; the message names it, the reason and the remedy."""


async def serve_admission(
    app: Any,
    host: str,
    port: int,
    serving: TlsContext,
    *,
    client_ca: Path | None = None,
    http2: bool = False,
    most: int = MAX_CONNECTIONS,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the admission application until cancelled, then finish the requests in progress; started with the URL.

    Args:
        app: the application from ``webhooks.app``.
        serving: TLS 1.2 or newer, with the protocols that it offers by ALPN; if there is a ``client_ca``, it verifies
            the certificates of clients.
        client_ca: if given, the answer to a request without a verified certificate is 401, except for health.
        most: the maximum number of connections at the same time.

    Raises:
        ListenError: the address is in use, or is not an address of this machine.
    """
    await serve_http(
        app, host, port, ConnectionRules(serving, client_ca is not None, http2, most), task_status=task_status
    )


async def serve_http(
    app: Any,
    host: str,
    port: int,
    rules: ConnectionRules,
    *,
    grace_seconds: float = GRACE_SECONDS,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI application until cancelled, then wait a while for requests in progress; started with the URL.

    Raises:
        ListenError: the address is in use, or is not an address of this machine.
    """
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(_listen(host, port)))
    server = _Server(app, rules)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run, listener)
        task_status.started(_url(listener.socket.getsockname(), "http" if rules.tls is None else "https"))
        try:
            await trio.sleep_forever()
        finally:
            await server.stop(grace_seconds)


class _Server:
    """Runs until ``stop`` is called; a cancellation of its caller does not end it."""

    def __init__(self, app: Any, rules: ConnectionRules) -> None:
        self._app = ASGIWrapper(cast("ASGIFramework", app))
        self._config = _config()
        self._context = WorkerContext(None)
        self._connections = Connections(self._app, self._config, self._context, rules)
        self._accepting = trio.CancelScope()
        self._life = trio.CancelScope(shield=True)

    async def run(
        self, listener: trio.SocketListener, *, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED
    ) -> None:
        lifespan = Lifespan(self._app, self._config, {})
        with self._life:
            async with trio.open_nursery() as nursery:
                await nursery.start(lifespan.handle_lifespan)
                await lifespan.wait_for_startup()
                async with trio.open_nursery() as connections:
                    with self._accepting:
                        serve = partial(trio.serve_listeners, self._connections.serve, [listener])
                        await serve(handler_nursery=connections, task_status=task_status)
                nursery.cancel_scope.cancel()

    async def stop(self, grace_seconds: float) -> None:
        """Accept no new connections; open ones have ``grace_seconds`` to finish."""
        self._life.deadline = trio.current_time() + grace_seconds
        await self._context.terminated.set()
        self._accepting.cancel()
        self._connections.finish()


def _config() -> Config:
    """Hypercorn's settings for an open connection."""
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.h11_max_incomplete_size = _HEAD_BYTES
    config.h2_max_header_list_size = _HEAD_BYTES
    config.keep_alive_max_requests = _REQUESTS_PER_CONNECTION
    return config


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise ListenError(f"cannot listen on {host}:{port}: {why}; free it or choose another address") from None


def _url(address: tuple[Any, ...], scheme: str) -> str:
    host, port = address[0], address[1]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
