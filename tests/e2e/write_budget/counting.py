"""Counts requests to the API server by who sent them, from the audit log. Pure.

Not counted: requests of users and of the API server itself; those that fail and are sent again; Leases; watches; and
the lists with which a process fills its caches after its start, whatever runs. Those lists are about no single
namespace, and all others are counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final, NamedTuple

from deployment.permissions.roles import DEFAULT_INSTALLATION
from tests.e2e.control_plane.access import CONTROLLERS, NODE

_RUNNER: Final = re.compile(r"system:serviceaccount:[^:]+:.+-((story|engram)-runner|[0-9a-f]{10})")
"""Accounts of runs, of Stories, and of pools of warm workers."""
_CLUSTER: Final = frozenset({CONTROLLERS, NODE})


class Sender(StrEnum):
    """Who has sent a request."""

    OPERATOR = "operator"
    CONTAINER = "container"
    """The SDK in a container of a step."""
    CLUSTER = "cluster"
    """Controllers of Kubernetes, and the node."""

    @property
    def is_ours(self) -> bool:
        return self is not Sender.CLUSTER


class Request(NamedTuple):
    """One kind of request."""

    sender: Sender
    verb: str
    target: str
    """Resource, and subresource after a slash: ``stepruns/status``."""

    def __str__(self) -> str:
        return f"{self.sender} {self.verb} {self.target}"


def sender_of(event: dict[str, Any]) -> Sender | None:
    """None: a user, or the API server itself."""
    name = str(event["user"]["username"])
    if name == DEFAULT_INSTALLATION.user:
        return Sender.OPERATOR
    if _RUNNER.fullmatch(name):
        return Sender.CONTAINER
    return Sender.CLUSTER if name in _CLUSTER else None


def requests_by_namespace(events: Iterable[dict[str, Any]]) -> dict[str, Counter[Request]]:
    """What was sent about the objects of each namespace."""
    found: dict[str, Counter[Request]] = {}
    for event in events:
        about, sender = event.get("objectRef") or {}, sender_of(event)
        if sender is None or event["verb"] == "watch" or not about.get("namespace") or _is_repeated(event):
            continue
        target = about["resource"] + (f"/{about['subresource']}" if about.get("subresource") else "")
        if target == "leases":
            continue
        found.setdefault(about["namespace"], Counter())[Request(sender, event["verb"], target)] += 1
    return found


def _is_repeated(event: dict[str, Any]) -> bool:
    """Whether the request has failed, and is sent again: after a conflict, under load, or after an error."""
    code = int((event.get("responseStatus") or {}).get("code") or 0)
    return code in (409, 429) or code >= 500
