"""The console of a hub: a small HTTP application through which people look at packets, and send some.

``GET …/bindings/{name}/tap`` is answered by lines of JSON as packets pass, ``POST …/bindings/{name}/packets`` sends
one. Each request needs a key that the binding itself allows (``console_grants``); refusals are ``Status`` objects as
those of an API server. It runs only while somebody asks for it. Source: streaming contract 5.5.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NoReturn, Protocol
from urllib.parse import parse_qs

import orjson
import trio

from bubu_wire.messages import MAX_FRAME_BYTES
from core.api.objects import NamespacedName, Object
from core.telemetry.logs import get_logger
from hub.console_grants import KEY_BYTES, KEY_HEADER, ConsoleReason, ConsoleRefusalError, ConsoleVerb, TapEnd, authorise
from hub.injection import inject, read_order
from hub.run_book import BindingStanding
from hub.service import Hub
from hub.taps import DEFAULT_RATE, MAX_RATE, TapDirection, TooManyTapsError
from hub.topology import Place
from kubewire import status_failure

MAX_BODY_BYTES: Final = MAX_FRAME_BYTES + 256 * 1024
MAX_SENDS: Final = 8
"""Packets that are received or wait for room at the same time; half of them in one namespace."""
MAX_WAIT_SECONDS: Final = 10.0
"""For room, in one request."""
BODY_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 1.0
"""Between two looks of a tap at its permission and at its run."""
SILENCE_SECONDS: Final = 10.0
"""Without a line, until an empty one says that the tap lives."""

_PATH: Final = re.compile(r"/v1/namespaces/([a-z0-9.-]{1,253})/bindings/([a-z0-9.-]{1,253})/(tap|packets)")
_KEY: Final = re.compile(rf"[0-9a-f]{{{2 * KEY_BYTES}}}")
_CODES: Final = {
    ConsoleReason.NOT_SERVED: 409,
    ConsoleReason.BUSY: 429,
    ConsoleReason.INVALID: 422,
    ConsoleReason.REFUSED: 422,
    ConsoleReason.FULL: 504,
    ConsoleReason.NOT_FOUND: 404,
}
"""All other reasons: 403."""

AsgiSend = Callable[[Mapping[str, Any]], Awaitable[None]]
AsgiReceive = Callable[[], Awaitable[Mapping[str, Any]]]
_log = get_logger("hub")


class ConsoleBindings(Protocol):
    """What the console asks about the cluster."""

    def binding(self, name: NamespacedName) -> Object | None:
        """The binding as the watch has it."""
        ...

    def standing(self, name: NamespacedName) -> BindingStanding | None:
        """How it stands in the hub."""
        ...


@dataclass(frozen=True, slots=True)
class _Request:
    name: NamespacedName
    verb: ConsoleVerb
    key: bytes
    query: Mapping[str, str]


class ConsoleApp:
    """The application.

    Args:
        now: the wall clock.
    """

    def __init__(self, bindings: ConsoleBindings, hub: Hub, now: Callable[[], datetime]) -> None:
        self._bindings = bindings
        self._hub = hub
        self._now = now
        self._sending: Counter[str] = Counter()
        """How many packets are being received or wait, by namespace."""
        self._sent: Counter[NamespacedName] = Counter()

    async def __call__(self, scope: Mapping[str, Any], receive: AsgiReceive, send: AsgiSend) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        try:
            request = _read(scope)
            if request.verb is ConsoleVerb.TAP:
                await self._tap(request, receive, send)
            else:
                await self._send(request, receive, send)
        except ConsoleRefusalError as refused:
            code = _CODES.get(refused.reason, 403)
            await _answer(send, code, status_failure(refused.reason, str(refused), code=code))

    # Looking.

    async def _tap(self, request: _Request, receive: AsgiReceive, send: AsgiSend) -> None:
        direction, rate = _direction(request.query), _number(request.query, "rate", DEFAULT_RATE, 1, MAX_RATE)
        place = self._authorised(request)
        live = self._hub.runs.get(place.run)
        fields = live.routes.steps[place.step].delivery.redact_fields if live and place.step in live.steps else ()
        try:
            with self._hub.taps.opened(place, direction, rate, self._now, fields) as tap:
                await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                    said_at = -SILENCE_SECONDS
                    while (end := self._end_of(request)) is None:
                        await tap.wait(LOOK_SECONDS)
                        lines, missed = tap.take()
                        if missed:
                            lines.append(orjson.dumps({"missed": missed}))
                        now = trio.current_time()
                        if lines or now >= said_at + SILENCE_SECONDS:
                            said_at = now
                            await _part(send, b"".join(line + b"\n" for line in lines) or b"\n")
                    await _part(send, orjson.dumps({"end": end}) + b"\n", more=False)
                    nursery.cancel_scope.cancel()
        except TooManyTapsError as error:
            raise ConsoleRefusalError(ConsoleReason.BUSY, str(error)) from None

    def _end_of(self, request: _Request) -> TapEnd | None:
        """Why a tap that was opened ends; None if it goes on."""
        standing = self._bindings.standing(request.name)
        if standing is None or standing.has_ended:
            return TapEnd.RUN_ENDED
        if standing.is_finished:
            return TapEnd.STEP_FINISHED
        try:
            authorise(self._bindings.binding(request.name), request.key, request.verb, self._now())
        except ConsoleRefusalError:
            return TapEnd.EXPIRED
        return None

    # Sending.

    async def _send(self, request: _Request, receive: AsgiReceive, send: AsgiSend) -> None:
        seconds = _number(request.query, "timeout", 0.0, 0.0, MAX_WAIT_SECONDS)
        self._authorised(request)  # a stranger's body is not even read
        namespace, _ = request.name
        if self._sending[namespace] >= MAX_SENDS // 2 or self._sending.total() >= MAX_SENDS:
            text = f"{self._sending.total()} packets are being sent already, {self._sending[namespace]} of them in this"
            raise ConsoleRefusalError(ConsoleReason.BUSY, f"{text} namespace; try again")
        self._sending[namespace] += 1
        try:
            order = read_order(await _body(receive))
            place = self._authorised(request)
            live = self._hub.runs.get(place.run)
            if live is None:
                self._refuse_unserved(request.name, place)
            done = await inject(live, place.step, order, self._now(), seconds)
        finally:
            self._sending[namespace] -= 1
            self._sending += Counter()  # keep no namespace that sends nothing
        before = self._sent[request.name]
        self._sent[request.name] = count = before + 1
        if before.bit_length() != count.bit_length():  # the 1st, 2nd, 4th, 8th …
            _log.info("a packet was injected", step=str(place), id=done.message_id, by=order.by, count=count)
        answer = {"id": done.message_id, "outcome": done.outcome, "reason": done.reason, "steps": list(done.steps)}
        await _answer(send, 200, answer)

    # Both.

    def _authorised(self, request: _Request) -> Place:
        """The step of the binding, which the hub serves.

        Raises:
            ConsoleRefusalError: the key does not allow it, or nobody serves the step.
        """
        authorise(self._bindings.binding(request.name), request.key, request.verb, self._now())
        standing = self._bindings.standing(request.name)
        if standing is None or standing.place is None or standing.problem or standing.waits_for:
            self._refuse_unserved(request.name, standing.place if standing is not None else None)
        if standing.is_finished:
            raise ConsoleRefusalError(ConsoleReason.NOT_SERVED, f"step {standing.place.step} has finished")
        return standing.place

    def _refuse_unserved(self, name: NamespacedName, place: Place | None) -> NoReturn:
        standing = self._bindings.standing(name)
        why = (standing.problem or standing.waits_for) if standing is not None else ""
        text = why or f"the hub does not serve {place or '/'.join(name)} now; try again"
        raise ConsoleRefusalError(ConsoleReason.NOT_SERVED, text)


def _read(scope: Mapping[str, Any]) -> _Request:
    found = _PATH.fullmatch(scope["path"])
    if found is None or scope["method"] != {"tap": "GET", "packets": "POST"}[found[3]]:
        text = "the console has GET …/tap and POST …/packets below /v1/namespaces/NAMESPACE/bindings/NAME"
        raise ConsoleRefusalError(ConsoleReason.NOT_FOUND, text)
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    word = headers.get(KEY_HEADER.encode(), "")
    query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
    verb = ConsoleVerb.TAP if found[3] == "tap" else ConsoleVerb.SEND
    key = bytes.fromhex(word) if _KEY.fullmatch(word) else b""
    return _Request(NamespacedName(found[1], found[2]), verb, key, query)


def _direction(query: Mapping[str, str]) -> TapDirection:
    try:
        return TapDirection(query.get("direction", TapDirection.BOTH))
    except ValueError:
        text = f"direction must be one of {', '.join(TapDirection)}"
        raise ConsoleRefusalError(ConsoleReason.INVALID, text) from None


def _number(query: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    try:
        found = float(query.get(name, default))
    except ValueError:
        found = float("nan")
    if not least <= found <= most:
        raise ConsoleRefusalError(ConsoleReason.INVALID, f"{name} must be a number from {least:g} to {most:g}")
    return found


async def _body(receive: AsgiReceive) -> bytes:
    parts, size = [], 0
    with trio.move_on_after(BODY_SECONDS):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise ConsoleRefusalError(ConsoleReason.INVALID, "the request has ended before its body")
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > MAX_BODY_BYTES:
                text = f"the request is too large; at most {MAX_BODY_BYTES} bytes are allowed"
                raise ConsoleRefusalError(ConsoleReason.INVALID, text)
            if not message.get("more_body"):
                return b"".join(parts)
    raise ConsoleRefusalError(ConsoleReason.INVALID, f"the body of the request must come within {BODY_SECONDS:g} s")


async def _until_gone(receive: AsgiReceive, scope: trio.CancelScope) -> None:
    """The reader has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


_STREAM_HEADERS: Final = [(b"content-type", b"application/jsonl"), (b"cache-control", b"no-store")]


async def _part(send: AsgiSend, data: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def _answer(send: AsgiSend, code: int, answer: Mapping[str, Any]) -> None:
    data = orjson.dumps(answer)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await _part(send, data, more=False)


async def _lifespan(receive: AsgiReceive, send: AsgiSend) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
