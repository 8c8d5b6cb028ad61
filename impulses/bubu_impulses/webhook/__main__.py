"""The program of a webhook Impulse's container."""

from __future__ import annotations

import os
import socket
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import trio

from bubu_impulses.webhook.application import Webhook
from bubu_impulses.webhook.config import (
    PORT_VARIABLE,
    ConfigurationError,
    Settings,
    WebhookConfig,
    checked,
    is_repeatable,
    unsigned,
)
from bubu_impulses.webhook.server import ServerLimits, serve
from bubu_sdk import AsyncImpulseContext, impulse

HOST_VARIABLE: Final = "BUBU_WEBHOOK_HOST"
"""Where to listen, unless the configuration says it; the image map of the embedded cluster sets 127.0.0.1."""
UNSIGNED: Final = (
    "anybody who has recorded a request can send it again with other headers, as a new event; take them from the body, "
    "for example key: '{{ body | toJson | sha256sum }}'"
)
REPEATABLE: Final = (
    "key is empty, so each request starts a run, also a recorded one that anybody sends again; without this setting, "
    "such a request meets the StoryTrigger of the first one"
)
PROBE_LIMITS: Final = ServerLimits(body_bytes=0, connections=16)


@impulse(backend="trio")
async def main(ctx: AsyncImpulseContext[WebhookConfig]) -> None:
    """Listen, and start a Story for each event."""
    async with AsyncExitStack() as opened:
        try:
            settings = checked(ctx.config, ctx.secrets)
            for name in unsigned(ctx.config):
                ctx.log.warning("%s reads headers, which the signature does not cover: %s", name, UNSIGNED)
            if is_repeatable(ctx.config):
                ctx.log.warning(REPEATABLE)
            port, probe_port = ctx.config.ports(os.environ)
            listeners = await _listen("port", ctx.config, port, opened)
            probed = await _listen("probePort", ctx.config, probe_port, opened)
        except ConfigurationError as error:
            ctx.log.error("the configuration cannot be used: %s", error)  # noqa: TRY400 - the message says everything
            raise SystemExit(1) from error
        await _serve(ctx, settings, listeners, probed)


async def _serve(
    ctx: AsyncImpulseContext[WebhookConfig],
    settings: Settings,
    listeners: list[trio.SocketListener],
    probed: list[trio.SocketListener],
) -> None:
    config = ctx.config
    ports = {"port": _port_of(listeners), "probePort": _port_of(probed)}
    ctx.log.info("listening", extra={**ports, "path": config.path, "auth": str(config.auth.type)})
    name = os.environ.get("BUBU_IMPULSE_NAME", "")
    webhook = Webhook(settings, ctx, ctx.log, ctx.cancelled.is_set, impulse=name)
    limits = ServerLimits(config.max_body_bytes, config.max_connections)
    async with trio.open_nursery() as nursery:
        probes = partial(serve, linger_seconds=config.linger_seconds)
        nursery.start_soon(probes, probed, webhook.probe, PROBE_LIMITS, ctx.log)
        await serve(
            listeners, webhook.handle, limits, ctx.log, admission=webhook.admit, linger_seconds=config.linger_seconds
        )


async def _listen(name: str, config: WebhookConfig, port: int, opened: AsyncExitStack) -> list[trio.SocketListener]:
    """Listen on ``port``, the setting ``name``, until ``opened`` ends.

    Raises:
        ConfigurationError: another program has the port, or it is not an address of this machine.
    """
    host = config.host or os.environ.get(HOST_VARIABLE, "")
    try:
        if config.port is None and PORT_VARIABLE in os.environ:
            listeners = [_shared_listener(host, port)]
        else:
            listeners = await trio.open_tcp_listeners(port, host=host or None)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigurationError(
            f"{name}: cannot listen on {host or '*'}:{port}: {why}; free the port, or choose another one with {name} "
            "and in the ImpulseTemplate (service.ports, probes)"
        ) from error
    for listener in listeners:
        await opened.enter_async_context(listener)
    return listeners


def _shared_listener(host: str, port: int) -> trio.SocketListener:
    """A listener whose port other Pods of this Impulse use as well: the node has lent it to all of them."""
    with socket.create_server((host, port), reuse_port=True) as opened:
        return trio.SocketListener(trio.socket.from_stdlib_socket(opened.dup()))


def _port_of(listeners: list[trio.SocketListener]) -> int:
    return int(listeners[0].socket.getsockname()[1])


if __name__ == "__main__":
    main.run()
