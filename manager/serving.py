"""The health and metrics ports, while the surrounding nursery lives.

Both are served like the admission port: the number of connections is bounded, idle connections are closed, and HTTP/1.1
is used unless the client negotiates HTTP/2 by ALPN.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from core.telemetry.logs import get_logger
from manager.bind import Address
from webhooks.connection import ConnectionRules
from webhooks.server import ListenError as ListenError
from webhooks.server import serve_http

SHUTDOWN_SECONDS: Final = 2.0
MAX_CONNECTIONS: Final = 64
"""Connections to each port: there are few kubelets and metrics collectors."""

_log = get_logger("setup")


async def serve_on(
    application: Callable[[Any, Any, Any], Awaitable[None]],
    address: Address,
    *,
    context: ssl.SSLContext | None = None,
    http2: bool = False,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; started with the URL, which is also logged. Uses TLS when there is a ``context``.

    Raises:
        ListenError: the address is in use or is not an address of this machine.
    """
    rules = ConnectionRules(None if context is None else lambda: context, http2=http2, most=MAX_CONNECTIONS)
    await serve_http(
        _HttpOnly(application),
        address.host,
        address.port,
        rules,
        grace_seconds=SHUTDOWN_SECONDS,
        task_status=_Logged(task_status),
    )


class _Logged(trio.TaskStatus[str]):
    """Passes the URL to the caller that waits for it, and logs it."""

    def __init__(self, waiting: trio.TaskStatus[str]) -> None:
        self._waiting = waiting

    def started(self, value: str | None = None) -> None:
        assert value is not None, "a URL"
        _log.info(f"Running on {value}")
        self._waiting.started(value)


class _HttpOnly:
    """``application`` without WebSockets, which it does not support."""

    def __init__(self, application: Callable[[Any, Any, Any], Awaitable[None]]) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
        else:
            await self._application(scope, receive, send)
