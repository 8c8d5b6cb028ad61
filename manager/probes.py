"""``/healthz``, ``/readyz`` and ``/metrics`` as one small ASGI application per port.

Readiness is a list of named checks, each with a reason. Liveness only says that the event loop runs (a blocked loop
cannot answer). ``?verbose`` lists the checks, ``?exclude=name`` skips one; the kubelet's probes may use both.
Source: operator contract 6 and 7.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs

import trio

Check = Callable[[], str]
"""The reason why the check fails; empty if it does not."""

Scope = Mapping[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Authorize = Callable[[str], Awaitable[int]]
"""Bearer token → 200, 401, 403 or 500."""


class Probes:
    """The application of the health port."""

    def __init__(self, ready: Mapping[str, Check]) -> None:
        self._checks = {"/healthz": {"ping": _ok}, "/livez": {"ping": _ok}, "/readyz": {"ping": _ok, **ready}}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        path, _, single = scope["path"].lstrip("/").partition("/")
        checks = self._checks.get(f"/{path}")
        if checks is None or (single and single not in checks):
            await answer(send, 404, "not found\n")
            return
        query = parse_qs(scope["query_string"].decode(), keep_blank_values=True)
        chosen = {single: checks[single]} if single else checks
        excluded = query.get("exclude", [])
        reasons = {name: "" if name in excluded else check() for name, check in chosen.items()}
        failed = any(reasons.values())
        if failed or "verbose" in query:
            lines = [_line(name, why, name in excluded) for name, why in reasons.items()]
            body = "\n".join([*lines, f"{path} check {'failed' if failed else 'passed'}", ""])
        else:
            body = "ok"
        await answer(send, 500 if failed else 200, body)


class MetricsPage:
    """The application of the metrics port; with ``authorize``, only callers that it accepts get an answer.

    On a loopback address, the request must name one, too: a web page whose name leads to this machine cannot read it.

    The text is rendered in a thread, one answer at a time: at the bound on label sets it takes a second, and the event
    loop goes on meanwhile.
    """

    def __init__(self, authorize: Authorize | None) -> None:
        self._authorize = authorize
        self._rendering = trio.CapacityLimiter(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        if scope["path"] != "/metrics" or scope["method"] not in ("GET", "HEAD"):
            await answer(send, 404, "not found\n")
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if _is_loopback((scope.get("server") or ("",))[0]) and not _is_loopback(_host(headers.get(b"host", ""))):
            await answer(send, 403, "the Host header must name localhost or a loopback address\n")
            return
        if self._authorize is not None:
            status = await self._authorize(headers.get(b"authorization", ""))
            if status != 200:
                await answer(send, status, f"{status}\n")
                return
        from core.telemetry.metrics import exposition

        async with self._rendering:
            render, content_type = exposition(headers.get(b"accept", ""))
            body = await trio.to_thread.run_sync(render)
        await answer(send, 200, body, content_type)


async def answer(send: Send, status: int, body: str | bytes, content_type: str = "text/plain; charset=utf-8") -> None:
    data = body.encode() if isinstance(body, str) else body
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _host(header: str) -> str:
    """The host in a Host header, without its port."""
    return header[1:].partition("]")[0] if header.startswith("[") else header.partition(":")[0]


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _line(name: str, why: str, excluded: bool) -> str:
    """One line in the form of the API server's own probes."""
    if excluded:
        return f"[+]{name} excluded: ok"
    return f"[-]{name} failed: {why}" if why else f"[+]{name} ok"


def _ok() -> str:
    return ""
