"""A webhook over TLS on loopback, for tests. The given handlers answer."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import trio
import trustme
from hypercorn.config import Config
from hypercorn.trio import serve

from core.api.objects import Object

Handler = Callable[[Object], Awaitable[Object]]


@dataclass
class WebhookServer:
    """Where the webhook is, and which requests it got. ``handlers`` maps paths to functions of the review's request."""

    port: int
    ca_bundle: str
    handlers: dict[str, Handler] = field(default_factory=dict)
    asked: list[tuple[str, Object]] = field(default_factory=list)

    def client_config(self, path: str) -> Object:
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.ca_bundle}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        review = orjson.loads(body)
        self.asked.append((scope["path"], review["request"]))
        response = await self.handlers[scope["path"]](review["request"])
        answer = orjson.dumps({**review, "request": None, "response": {"uid": review["request"]["uid"], **response}})
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": answer})


@asynccontextmanager
async def open_webhook_server(directory: Path, *names: str) -> AsyncIterator[WebhookServer]:
    """Serve until the end of the block, with a certificate for loopback and ``names``."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", *names)
    pem = directory / "webhook.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.certfile = config.keyfile = str(pem)
    config.errorlog = None
    config.graceful_timeout = 0.1
    server = WebhookServer(0, base64.b64encode(authority.cert_pem.bytes()).decode())
    async with trio.open_nursery() as nursery:
        (bound,) = await nursery.start(serve, server, config)
        server.port = int(bound.rpartition(":")[2])
        yield server
        nursery.cancel_scope.cancel()


def patch_of(*operations: Object) -> Object:
    """An answer that allows the request and patches the object."""
    return {"allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(operations)).decode()}
