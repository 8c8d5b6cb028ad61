"""Builders that the manager's unit tests share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

Ask = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def ask() -> Ask:
    """Call an ASGI application directly: ``ask(application, "/path?query", method=…, headers=…)`` → status and body."""
    return _ask


async def _ask(
    application: Any, target: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    sent: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()
