"""The node's own HTTP endpoint: container logs, with the requests that an API server sends to a kubelet.

``GET /containerLogs/{namespace}/{pod}/{container}`` with ``follow``, ``previous``, ``tailLines``, ``sinceSeconds``,
``sinceTime``, ``limitBytes`` and ``timestamps``; and ``GET /healthz``. Plain ASGI. The TLS handshake decides who may
connect (a client certificate is required).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import trio

from localcluster.clock import Now
from localcluster.node.logbook import LogBook
from localcluster.node.logs import LogOptions, LogWriter, read_log

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_LOGS = "containerLogs"


class BadLogRequestError(Exception):
    """The query is invalid; the text names the parameter."""


class Kubelet:
    """The ASGI application of the endpoint."""

    def __init__(self, logbook: LogBook, now: Now) -> None:
        self._logbook = logbook
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _acknowledge_lifespan(receive, send)
        elif scope["type"] == "http":
            await self._respond(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = [unquote(part) for part in scope["path"].strip("/").split("/")]
        if parts == ["healthz"]:
            await _text(send, 200, "ok")
        elif len(parts) == 4 and parts[0] == _LOGS and scope["method"] == "GET":
            query = dict(parse_qsl(scope["query_string"].decode()))
            found = self._logbook.find(parts[1], parts[2], parts[3], previous=_flag(query, "previous"))
            try:
                options = log_options(query, self._now())
            except BadLogRequestError as error:
                await _text(send, 400, str(error))
            else:
                if found is None:
                    await _text(send, 400, _why_no_log(parts[2], parts[3], previous=_flag(query, "previous")))
                else:
                    await _send_log(*found, options, receive, send)
        else:
            await _text(send, 404, "404 page not found")


def log_options(query: Mapping[str, str], now: datetime) -> LogOptions:
    """The options in the query.

    Raises:
        BadLogRequestError: a number or a time cannot be read.
    """

    def number(name: str) -> int | None:
        text = query.get(name)
        if text is None:
            return None
        if not text.isdecimal():
            raise BadLogRequestError(f"{name}: {text!r} is not a number of 0 or more")
        return int(text)

    seconds = number("sinceSeconds")
    since = None if seconds is None else now - timedelta(seconds=seconds)
    if query.get("sinceTime"):
        try:
            since = datetime.fromisoformat(query["sinceTime"])
        except ValueError as error:
            raise BadLogRequestError(f"sinceTime: {error}") from error
    return LogOptions(
        follow=_flag(query, "follow"),
        tail_lines=number("tailLines"),
        since=since,
        limit_bytes=number("limitBytes"),
        timestamps=_flag(query, "timestamps"),
    )


def _why_no_log(pod: str, container: str, *, previous: bool) -> str:
    if previous:
        return f'previous terminated container "{container}" in pod "{pod}" not found'
    return f'container "{container}" in pod "{pod}" is waiting to start'


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name) in ("true", "1")


async def _send_log(path: Path, writer: LogWriter | None, options: LogOptions, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on_disconnect, receive, nursery.cancel_scope)
        async with aclosing(read_log(path, options, writer)) as pieces:
            async for text in pieces:
                await send({"type": "http.response.body", "body": text, "more_body": True})
        nursery.cancel_scope.cancel()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _cancel_on_disconnect(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _text(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _acknowledge_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
