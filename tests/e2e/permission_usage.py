"""Compares an audit log with the table of permissions: what was refused, what was used, what was never used. Pure.

A request is attributed to the narrowest row that allows it. The API server refuses a request that no row allows, so it
is found among the refusals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from core.api.permission import Permission
from deployment.permissions.table import RoleTable

Event = dict[str, Any]


class Right(NamedTuple):
    """One verb of one row."""

    role: str
    permission: Permission
    verb: str

    def __str__(self) -> str:
        names = f" named {','.join(self.permission.names)}" if self.permission.names else ""
        group = self.permission.resource.group or "core"
        return f"{self.role}: {self.verb} {group}/{self.permission.target}{names}"


@dataclass
class Usage:
    """How often some users used each right, and which requests were refused."""

    requests: Counter[Right] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    """Allowed, but not by a row of the table: another role grants it."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.requests + other.requests, self.refused + other.refused, self.unexplained + other.unexplained)

    def unused(self, tables: Iterable[RoleTable]) -> list[Right]:
        return [right for right in rights(tables) if not self.requests[right]]


def usage(events: Iterable[Event], tables: Iterable[RoleTable], *, of: Callable[[str], bool]) -> Usage:
    """The requests of the users for whose names ``of`` is true."""
    found = Usage()
    known = list(rights(tables))
    for event in events:
        if not of(event["user"]["username"]):
            continue
        words = f"{event['verb']} {event['requestURI']}"
        if (event.get("responseStatus") or {}).get("code") in (401, 403):
            found.refused.append(words)
        elif "objectRef" in event:
            matching = [right for right in known if _allows(right, event)]
            if matching:
                found.requests[max(matching, key=lambda right: bool(right.permission.names))] += 1
            else:
                found.unexplained.append(words)
    return found


def rights(tables: Iterable[RoleTable]) -> Iterator[Right]:
    for table in tables:
        for permission in table.permissions:
            for verb in permission.verbs:
                yield Right(table.name, permission, verb)


def report(found: Usage, tables: Iterable[RoleTable]) -> str:
    """For readers: one line per right. Unused rights have the reason why they are granted nevertheless."""
    lines = []
    for right in rights(tables):
        count = found.requests[right]
        remark = "" if count else f"   never used: {right.permission.seldom or 'WITHOUT A REASON'}"
        lines.append(f"{count:6} {right}{remark}")
    lines += [f"REFUSED {words}" for words in found.refused]
    lines += [f"GRANTED BY SOMEBODY ELSE {words}" for words in found.unexplained]
    return "\n".join(lines)


def _allows(right: Right, event: Event) -> bool:
    asked, row = event["objectRef"], right.permission
    target = f"{asked['resource']}/{asked['subresource']}" if asked.get("subresource") else asked["resource"]
    return (
        event["verb"] == right.verb
        and asked.get("apiGroup", "") == row.resource.group
        and target == row.target
        and (not row.names or asked.get("name", "") in row.names)
    )
