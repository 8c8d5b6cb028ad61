"""Checks of every request before its content is read: an ASGI application around another.

They limit who may connect, how many bytes are in memory at once, and how long a request may take. A body is read here
completely or not at all; the inner application gets it in one piece. Answers are one sentence of plain text.
Source: admission contract 1.2.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Container, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

import trio

from core.telemetry import catalogue, metrics
from webhooks.limits import ReviewLimits
from webhooks.registration import CONVERT_PATH

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
Deny = Callable[[bytes, str], bytes | None]

HEALTH_PATHS: Final = ("/healthz", "/readyz")
"""Paths for kubelets, which show no certificate and must always get an answer."""
CERTIFIED: Final = "certified"
"""In a connection's state: whether the client may send reviews; for conversion, API servers show no certificate."""

_SHARE_OF_TIMEOUT: Final = 0.8  # of the timeout of the API server; the rest is for the network
_HEAD_BYTES: Final = 4 << 10
_MAX_BODY_OF_NONE: Final = 64 << 10  # on paths that expect no body


@dataclass(frozen=True, slots=True)
class _Refusal(Exception):  # noqa: N818 - an answer, raised to leave the reading of a body
    status: int
    sentence: str
    reason: str = ""
    head: bytes = b""
    """The beginning of a body that is too large."""


class RequestLimits:
    """Passes requests to ``application``, which is any ASGI application.

    ``denials``: paths on which a body that is too large is answered with a decision, and a function that makes the
    decision from the beginning of the body and the sentence; if it returns None, the answer is an error.
    """

    def __init__(
        self,
        application: Application,
        limits: ReviewLimits,
        denials: tuple[Container[str], Deny] = ((), lambda *_: None),
    ) -> None:
        self._application = application
        self._limits = limits
        self._denials = denials
        self._inside = 0
        self._held_bytes = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
        elif scope["type"] != "http":
            await self._application(scope, receive, send)
        elif scope["path"] in HEALTH_PATHS:
            await self._application({**scope, "query_string": b""}, receive, send)
        elif scope["path"] != CONVERT_PATH and not (scope.get("state") or {}).get(CERTIFIED, True):
            await _answer(send, 401, "the connection has no client certificate; connect with that of the API server")
        elif self._inside >= self._limits.requests:
            await self._crowded(send, "requests")
        else:
            self._inside += 1
            try:
                await self._in_time(scope, receive, send)
            finally:
                self._inside -= 1

    async def _in_time(self, scope: Message, receive: Receive, send: Send) -> None:
        seconds = min(self._limits.seconds, _asked_seconds(scope["query_string"]) * _SHARE_OF_TIMEOUT)
        deadline, has_begun = trio.move_on_after(seconds), False

        async def note(message: Message) -> None:
            nonlocal has_begun
            if not has_begun:
                await trio.lowlevel.checkpoint_if_cancelled()
                has_begun = True
                deadline.deadline = math.inf  # an answer that has begun is sent completely
            await send(message)

        with deadline:
            await self._with_body(scope, receive, note)
        if deadline.cancelled_caught and not has_begun:
            metrics.count(catalogue.WEBHOOK_SHED, reason="time")
            await _answer(send, 504, f"the review was not decided within {seconds:g} s; try again")

    async def _with_body(self, scope: Message, receive: Receive, send: Send) -> None:
        body = bytearray()
        try:
            try:
                await self._read(scope, receive, body)
            except _Refusal as refusal:
                paths, deny = self._denials
                denial = deny(refusal.head, refusal.sentence) if scope["path"] in paths and refusal.head else None
                if refusal.reason:
                    await self._crowded(send, refusal.reason)
                elif denial is not None:
                    await _send(send, 200, denial, b"application/json")
                else:
                    await _answer(send, refusal.status, refusal.sentence)
                return
            is_given = False

            async def give() -> Message:
                nonlocal is_given
                if is_given:
                    return await receive()
                is_given = True
                return {"type": "http.request", "body": bytes(body), "more_body": False}

            # The inner application does not read the query, and the framework fails if it is not UTF-8.
            await self._application({**scope, "query_string": b""}, give, send)
        finally:
            self._held_bytes -= len(body)

    async def _read(self, scope: Message, receive: Receive, body: bytearray) -> None:
        most = self._most_bytes(scope)
        announced = _content_length(scope["headers"])
        if announced > most:
            raise _too_large(most, await self._drained(scope, receive, b""))
        if self._held_bytes + announced > self._limits.held_bytes:
            raise _Refusal(429, "", "bytes")
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Refusal(400, "the body is incomplete; send all of it")
            part = message.get("body", b"")
            if len(body) + len(part) > most:
                head = bytes(body[:_HEAD_BYTES]) or part[:_HEAD_BYTES]
                raise _too_large(most, await self._drained(scope, receive, head) if message.get("more_body") else head)
            if self._held_bytes + len(part) > self._limits.held_bytes:
                raise _Refusal(429, "", "bytes")
            body += part
            self._held_bytes += len(part)
            more = message.get("more_body", False)

    async def _drained(self, scope: Message, receive: Receive, head: bytes) -> bytes:
        """The beginning of the body. The rest is read and dropped, because a client may not read while it sends.

        This is only done if the answer is a decision. A body that is larger than any of an API server is cut off.
        """
        read = 0
        while scope["path"] in self._denials[0] and read <= self._limits.drained_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            part = message.get("body", b"")
            read += len(part)
            if len(head) < _HEAD_BYTES:
                head += part[: _HEAD_BYTES - len(head)]
            if not message.get("more_body", False):
                break
        return head

    def _most_bytes(self, scope: Message) -> int:
        if scope["method"] != "POST":
            return _MAX_BODY_OF_NONE
        return self._limits.convert_bytes if scope["path"] == CONVERT_PATH else self._limits.review_bytes

    async def _crowded(self, send: Send, reason: str) -> None:
        metrics.count(catalogue.WEBHOOK_SHED, reason=reason)
        await _answer(send, 429, CROWDED, (b"retry-after", b"1"))


CROWDED: Final = "too many reviews at once; try again in a second"


def _too_large(most: int, head: bytes) -> _Refusal:
    return _Refusal(413, f"the body is larger than {most} bytes; make the object smaller", head=head)


async def _answer(send: Send, status: int, sentence: str, *headers: tuple[bytes, bytes]) -> None:
    await _send(send, status, f"{sentence}\n".encode(), b"text/plain; charset=utf-8", *headers)


async def _send(send: Send, status: int, body: bytes, content_type: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    begin = [(b"content-type", content_type), length, *headers]
    await send({"type": "http.response.start", "status": status, "headers": begin})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _content_length(headers: list[tuple[bytes, bytes]]) -> int:
    """Zero if there is no length; the HTTP parser has already checked that it is a number."""
    found = next((value for name, value in headers if name.lower() == b"content-length"), b"0")
    return int(found) if found.isdigit() else 0


def _asked_seconds(query: bytes) -> float:
    """How long the API server waits, from ``timeout=5s``; infinite if it does not say so."""
    try:
        text = parse_qs(query.decode("ascii"), max_num_fields=8).get("timeout", [""])[0]
        number = float(text.removesuffix("s"))
    except ValueError:
        return float("inf")
    return number if text.endswith("s") and number > 0 else float("inf")
