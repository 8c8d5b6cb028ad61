"""The last answers of a replica that stops: each answer closes its connection, so that no connection is cut during use.

A Service sends no new connections to a replica that stops, but API servers keep their open ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class LastAnswers:
    """An ASGI application around another; the process calls ``begin`` when it receives the signal to stop."""

    def __init__(self, inner: Application) -> None:
        self._inner = inner
        self._begun = False

    def begin(self) -> None:
        self._begun = True

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope.get("http_version") != "1.1":
            await self._inner(scope, receive, send)
            return

        async def send_last(message: Message) -> None:
            if self._begun and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._inner(scope, receive, send_last)
