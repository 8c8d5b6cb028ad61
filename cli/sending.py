"""``stream send``: sends packets to a step, or as a step, one after the other."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import trio

from cli.exit_code import ExitCode
from cli.problem import CommandError, UsageError
from cli.render.output import json_text
from cli.session import Session
from cli.stream_console import (
    ANSWER_SECONDS,
    LOOK_SECONDS,
    ConsoleAccess,
    ConsoleRoute,
    StreamOverError,
    explained,
    may_pass,
    open_console,
)
from core.api.objects import Object
from core.kube.errors import ApiError, KubeError, TooManyRequestsError, TransportError, error_from_answer
from hub.console_grants import ConsoleReason, ConsoleVerb

MAX_INPUT_BYTES: Final = 16 * 1024 * 1024
_ASK_SECONDS: Final = 5.0
"""For room, in one request; the command asks again until its own time is over."""
_READ_BYTES: Final = 64 * 1024
_WORDS: Final = {
    "buffered": "is in the buffer of",
    "routed": "was routed to",
    "skipped": "is not meant for",
    "joining": "waits for others to be joined, or has come too late for them, at",
    "evaluating": "is still being evaluated for",
}


@dataclass(frozen=True, slots=True)
class SendWish:
    """What is sent, and how."""

    source: str = ""
    is_out: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    message_id: str = ""
    seconds: float = 10.0
    """How long to wait for room."""


async def send(
    session: Session, binding: Object, wish: SendWish, payloads: AsyncIterator[tuple[str, Mapping[str, Any]]]
) -> ExitCode:
    """Send each payload, and print what has become of it; each has the place that it comes from.

    Raises:
        CommandError, KubeError: one was refused, or it is not known whether it was accepted.
    """
    by = await _who(session)
    async with open_console(session, binding, ConsoleVerb.SEND) as console:
        async for place, payload in payloads:
            order = {
                "payload": payload,
                "metadata": dict(wish.metadata),
                "from": wish.source,
                "out": wish.is_out,
                "messageId": wish.message_id,
                "by": by,
            }
            answer = await _accepted(session, console, order, wish.seconds, place)
            session.console.result(_shown(session, answer))
    return ExitCode.DONE


def metadata_of(pairs: Iterable[str]) -> dict[str, str]:
    """The metadata in ``key=value`` flags.

    Raises:
        UsageError: one has another form.
    """
    found = {}
    for pair in pairs:
        name, equals, word = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--metadata {pair!r} must be key=value")
        found[name] = word
    return found


async def payloads_of(text: str | None, file: Path | None, *, lines: bool) -> AsyncGenerator[tuple[str, Object], None]:
    """The payloads of the command line, of a file, or for ``-`` of standard input, each with its place.

    Raises:
        UsageError: one is not a JSON object, or is too large.
    """
    if file is None and text != "-":
        yield "--payload", _object("--payload", (text or "").encode())
        return
    name = str(file) if file is not None and str(file) != "-" else "standard input"
    chunks = _standard_input() if name == "standard input" else _file(Path(name))
    if not lines:
        whole = bytearray()
        async for chunk in chunks:
            whole += chunk
            _bound(name, whole)
        yield name, _object(name, bytes(whole))
        return
    rest, number = bytearray(), 0
    async for chunk in chunks:
        rest += chunk
        while (end := rest.find(b"\n")) >= 0:
            line, rest, number = bytes(rest[:end]), rest[end + 1 :], number + 1
            if line.strip():
                yield f"{name}:{number}", _object(f"{name}:{number}", line)
        _bound(name, rest)
    if rest.strip():
        yield f"{name}:{number + 1}", _object(f"{name}:{number + 1}", bytes(rest))


async def _accepted(
    session: Session, console: ConsoleAccess, order: Mapping[str, Any], seconds: float, place: str
) -> Object:
    """The answer of the hub; asks again while that can help."""
    began = trio.current_time()
    while True:
        error: KubeError | None = None
        left = began + seconds - trio.current_time()
        try:
            route = await console.route()
        except StreamOverError:
            raise CommandError(f"the step has finished; {place} was not sent") from None
        if route is not None:
            response = await _post(console, route, order, max(min(left, _ASK_SECONDS), 0.0))
            if isinstance(response, httpx.Response) and not response.is_error:
                answer: Object = orjson.loads(response.content)
                return answer
            error = (
                response
                if isinstance(response, KubeError)
                else error_from_answer(response.status_code, response.content)
            )
            if not _may_ask_again(error):
                raise _told(explained(error, route), place)
        now = trio.current_time()
        is_full = isinstance(error, ApiError) and error.status.get("reason") == ConsoleReason.FULL
        if is_full and now >= began + seconds:
            assert isinstance(error, ApiError)
            remedy = f"wait longer with --timeout; nothing of {place} was sent"
            raise CommandError(error.message, code=ExitCode.WAIT_TIMED_OUT, remedy=remedy) from error
        if not is_full and now >= began + max(seconds, ANSWER_SECONDS):
            raise (explained(error, route) if error and route else await console.explain_silence()) from error
        if not is_full:
            await trio.sleep(LOOK_SECONDS)


async def _post(
    console: ConsoleAccess, route: ConsoleRoute, order: Mapping[str, Any], wait: float
) -> httpx.Response | KubeError:
    """The answer, or why there is none."""
    path = f"{route.prefix}{console.path}/packets"
    try:
        return await route.client.request(
            "POST", path, params={"timeout": f"{wait:.3f}"}, json=order, headers=dict(route.headers)
        )
    except TransportError as error:
        if error.outcome_unknown:
            raise CommandError(
                f"it is not known whether the hub has accepted the packet: {error}",
                remedy="look with: bobrapet stream tap; with --message-id a packet that comes twice can be recognised",
            ) from error
        return error


def _may_ask_again(error: KubeError) -> bool:
    if isinstance(error, ApiError) and error.status.get("reason") == ConsoleReason.FULL:
        return True
    return may_pass(error) or isinstance(error, TooManyRequestsError)


def _told(error: Exception, place: str) -> Exception:
    """A refusal of the hub, with what was refused."""
    if isinstance(error, ApiError) and error.status.get("reason") in (ConsoleReason.INVALID, ConsoleReason.REFUSED):
        return CommandError(f"{place}: {error.message}", code=ExitCode.REJECTED)
    return error


def _shown(session: Session, answer: Mapping[str, Any]) -> str:
    output = session.options.output
    if output in ("json", "jsonl"):
        return json_text(answer)
    if output == "name":
        return str(answer.get("id"))
    steps = ", ".join(map(str, answer.get("steps") or ())) or "nobody"
    words = _WORDS.get(str(answer.get("outcome")), str(answer.get("outcome")))
    why = f" ({answer['reason']})" if answer.get("reason") else ""
    return f"{answer.get('id')} {words} {steps}{why}"


async def _who(session: Session) -> str:
    """The user as the API server knows him; empty if it does not say."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        response = await session.client.request(
            "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", json=review
        )
        found = orjson.loads(response.content) if not response.is_error else {}
    except (KubeError, orjson.JSONDecodeError):
        return ""
    user = ((found.get("status") or {}).get("userInfo") or {}) if isinstance(found, dict) else {}
    name = user.get("username")
    return name if isinstance(name, str) else ""


def _object(place: str, text: bytes) -> Object:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UsageError(
            f"{place} is not JSON: {error}", remedy="""for example: --payload '{"text": "hello"}'"""
        ) from None
    if not isinstance(found, dict):
        raise UsageError(f"{place} must be a JSON object")
    return found


def _bound(name: str, text: bytearray) -> None:
    if len(text) > MAX_INPUT_BYTES:
        raise UsageError(f"{name} has more than {MAX_INPUT_BYTES} bytes for one packet", remedy="send less")


async def _file(path: Path) -> AsyncIterator[bytes]:
    async with await trio.open_file(path, "rb") as file:
        while chunk := await file.read(_READ_BYTES):
            yield chunk


async def _standard_input() -> AsyncIterator[bytes]:
    """Not by a thread: it could not be interrupted while it waits."""
    descriptor = sys.stdin.fileno()
    while True:
        try:
            await trio.lowlevel.wait_readable(descriptor)
        except OSError:  # a file is always readable, and cannot be waited for
            await trio.lowlevel.checkpoint()
        chunk = os.read(descriptor, _READ_BYTES)
        if not chunk:
            return
        yield chunk
