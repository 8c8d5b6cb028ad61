"""Serve an ASGI application on an address with Hypercorn, for as long as the surrounding nursery lives."""

from __future__ import annotations

import logging
import socket
import ssl
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from manager.bind import Address

SHUTDOWN_SECONDS = 2.0
BACKLOG = 128


class ListenError(Exception):
    """The address cannot be listened on; the message names it, the reason and the remedy."""


class _TLSConfig(Config):
    """Serves with a context that was made elsewhere."""

    context: ssl.SSLContext | None = None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        return self.context

    @property
    def ssl_enabled(self) -> bool:
        return self.context is not None


async def serve_on(
    application: Any,
    address: Address,
    *,
    context: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Started with the URLs that are served.

    Raises:
        ListenError: the address is taken or not ours.
    """
    config = _TLSConfig()
    config.context = context
    config.bind = [f"fd://{_listen(address).detach()}"]
    config.graceful_timeout = SHUTDOWN_SECONDS
    config.keep_alive_timeout = 30
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    await serve(application, config, mode="asgi", shutdown_trigger=trio.sleep_forever, task_status=task_status)


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = error.strerror or str(error)
        raise ListenError(f"cannot listen on {address}: {why}; free it or choose another address") from None
