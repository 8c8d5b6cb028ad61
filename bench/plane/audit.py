"""Counts the operator's requests to the API server, from the server's own audit log."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
LEASES = "leases"


def writes_by_kind(log: Path, user: str, *, since: int = 0) -> Counter[str]:
    """``verb resource[/subresource]`` → the writes of ``user`` after byte ``since``, without Lease renewals."""
    with log.open("rb") as file:
        file.seek(since)
        lines = file.read().splitlines()
    return Counter(_what(event) for event in map(orjson.loads, lines) if _counts(event, user))


def size(log: Path) -> int:
    """The size of the log in bytes; later events are written after it."""
    return log.stat().st_size


def _counts(event: dict[str, Any], user: str) -> bool:
    if event["user"]["username"] != user or event["verb"] not in WRITES:
        return False
    return "objectRef" in event and event["objectRef"]["resource"] != LEASES


def _what(event: dict[str, Any]) -> str:
    target = event["objectRef"]
    resource: str = target["resource"]
    return f"{event['verb']} {resource}" + (f"/{target['subresource']}" if "subresource" in target else "")
