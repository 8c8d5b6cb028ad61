"""Requests and responses of the server, independent of how they are transported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request, complete."""

    method: str
    target: str
    """Path and query, as the client sent them."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name; values of a header that comes several times are joined with a comma."""
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True)
class Response:
    """One response."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def answer(status: int, content: Mapping[str, Any], *headers: tuple[str, str]) -> Response:
    """A response with a JSON object."""
    body = json.dumps(content, ensure_ascii=False).encode(errors="replace") + b"\n"
    return Response(status, body, (("Content-Type", "application/json"), *headers))


def refusal(status: int, reason: str, message: str, *headers: tuple[str, str]) -> Response:
    """A response that says why the request was not accepted: ``reason`` for programs, ``message`` for people."""
    return answer(status, {"reason": reason, "message": message}, *headers)
