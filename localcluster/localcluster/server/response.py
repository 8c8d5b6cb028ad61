"""Answers: content negotiation, Status bodies, warnings, and the bytes that are sent.

The server sends only JSON (and YAML on request). It refuses protobuf with 406; every client then falls back to JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from localcluster.server import errors
from localcluster.server.request import Send
from localcluster.server.tables import Include
from localcluster.server.types import Object

JSON: Final = "application/json"
ACCEPTED: Final = (JSON,)
_WARNING_LIMIT: Final = 4096
"""The limit for the characters of all Warning headers together, as in the real server."""


@dataclass(frozen=True)
class Form:
    """The form that a client wants: ``kind`` is its ``as``, such as ``Table``; empty for the plain object."""

    kind: str = ""
    group: str = ""
    version: str = ""

    @property
    def is_table(self) -> bool:
        return self.kind == "Table"

    @property
    def is_metadata(self) -> bool:
        return self.kind in ("PartialObjectMetadata", "PartialObjectMetadataList")


PLAIN: Final = Form()
_KNOWN_FORMS: Final = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


@dataclass(frozen=True)
class Response:
    """A complete answer."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(obj: Object, status: int = 200) -> Response:
    return Response(status, orjson.dumps(obj))


def status_response(error: errors.StatusError) -> Response:
    headers = {}
    retry_after = (error.status.get("details") or {}).get("retryAfterSeconds")
    if retry_after:
        headers["retry-after"] = str(retry_after)
    if error.code == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(error.code, orjson.dumps(error.status), headers=headers)


def negotiate(accept: str, known_forms: Sequence[str] = _KNOWN_FORMS) -> Form:
    """The first form in ``accept`` that this server supports.

    Raises:
        StatusError: 406, it supports none of them.
    """
    if not accept or accept in (JSON, "*/*"):
        return PLAIN
    for media_range in accept.split(","):
        media_type, *parameters = [part.strip() for part in media_range.split(";")]
        if media_type not in (JSON, "*/*", "application/*"):
            continue
        named = dict(parameter.partition("=")[::2] for parameter in parameters)
        form = Form(named.get("as", ""), named.get("g", ""), named.get("v", ""))
        if not form.kind:
            return PLAIN
        if form.kind in known_forms and form.version in ("v1", "v1beta1", "v2", "v2beta1"):
            return form
    raise errors.not_acceptable(ACCEPTED)


def wanted_rows(query: Mapping[str, str]) -> Include:
    """The object in each row of a Table, beside its cells.

    Raises:
        StatusError: 400, ``includeObject`` is not one of the known values.
    """
    match query.get("includeObject", "") or "Metadata":
        case "Metadata":
            return "Metadata"
        case "None":
            return "None"
        case "Object":
            return "Object"
        case other:
            raise errors.bad_request(f"unrecognized includeObject value: {other!r}; use None, Metadata or Object")


async def send_response(send: Send, response: Response, warnings: Sequence[str] = (), *, head: bool = False) -> None:
    """Send a complete answer."""
    body = response.body
    headers = [(b"content-type", response.content_type.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in response.headers.items()]
    headers += warning_headers(warnings)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


def warning_headers(warnings: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """``Warning: 299 - "…"`` for each text, as many as fit in the limit."""
    headers = []
    room = _WARNING_LIMIT
    for text in warnings:
        quoted = "".join(character for character in text if character.isprintable())
        quoted = quoted.replace("\\", "\\\\").replace('"', '\\"')
        room -= len(quoted)
        if room < 0:
            break
        headers.append((b"warning", f'299 - "{quoted}"'.encode("utf-8", "replace")))
    return headers
