"""Sends one request to an ASGI application, without sockets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import trio


@dataclass(frozen=True)
class Asked:
    """A request; its body is sent in these parts."""

    path: str
    body: Sequence[bytes]
    method: str = "POST"
    query: bytes = b""
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


async def ask(app: Any, asked: Asked) -> Answer:
    """Returns the answer of the application."""
    parts = [*asked.body, None]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        if not parts:
            await trio.sleep_forever()
        part = parts.pop(0)
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    headers = {"content-type": "application/json"} if asked.headers is None else asked.headers
    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "https",
        "method": asked.method,
        "path": asked.path,
        "query_string": asked.query,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
    }
    await app(cast("Any", scope), receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(sent[0]["status"], body)
