"""The program of a webhook Impulse's container."""

from __future__ import annotations

import trio

from bubu_impulses.webhook.application import Webhook
from bubu_impulses.webhook.config import ConfigurationError, WebhookConfig, checked
from bubu_impulses.webhook.server import ServerLimits, serve
from bubu_sdk import AsyncImpulseContext, impulse


@impulse(backend="trio")
async def main(ctx: AsyncImpulseContext[WebhookConfig]) -> None:
    """Listen, and start a Story for each event."""
    config = ctx.config
    try:
        settings = checked(config, ctx.secrets)
        listeners = await trio.open_tcp_listeners(config.port, host=config.host or None)
    except (ConfigurationError, OSError) as error:
        ctx.log.error("the configuration cannot be used: %s", error)  # noqa: TRY400 - the message says everything
        raise SystemExit(1) from error
    port = listeners[0].socket.getsockname()[1]
    ctx.log.info("listening", extra={"port": port, "path": config.path, "auth": str(config.auth.type)})
    webhook = Webhook(settings, ctx, ctx.log, ctx.cancelled.is_set)
    limits = ServerLimits(config.max_body_bytes, config.max_connections)
    await serve(listeners, webhook.handle, limits, ctx.log, linger_seconds=config.linger_seconds)


if __name__ == "__main__":
    main.run()
