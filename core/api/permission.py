"""One permission at an API server and its reason: a row of the table from which RBAC is rendered. Pure data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from core.api.resource import Resource


@dataclass(frozen=True, slots=True)
class Permission:
    """``verbs`` on a resource, or on one of its subresources.

    ``names`` limits them to objects with these names; RBAC cannot do that for ``create``.
    """

    resource: Resource
    verbs: tuple[str, ...]
    why: str
    """What would fail without it: one sentence, for the person who reviews the installation."""
    subresource: str = ""
    names: tuple[str, ...] = ()
    seldom: str = ""
    """Why it is granted although a day may pass without such a request; empty: there is one every day."""

    @property
    def target(self) -> str:
        """The resource in the notation of RBAC, e.g. ``storyruns/status``."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural

    def rule(self) -> dict[str, Any]:
        """The ``PolicyRule``, as the API server stores it."""
        rule: dict[str, Any] = {
            "apiGroups": [self.resource.group],
            "resources": [self.target],
            "verbs": list(self.verbs),
        }
        return rule | ({"resourceNames": list(self.names)} if self.names else {})


def combined(permissions: Iterable[Permission]) -> tuple[Permission, ...]:
    """Each permission once, with the reasons of all its users; permissions on one kind are next to each other.

    Kinds, and the permissions on a kind, keep the order of their first occurrence. Permissions are equal if resource,
    verbs, subresource and names are equal. A permission that one user needs daily counts as needed daily.
    """
    by_kind: dict[Resource, dict[object, Permission]] = {}
    for row in permissions:
        rights = by_kind.setdefault(row.resource, {})
        right = (row.verbs, row.subresource, row.names)
        known = rights.get(right)
        rights[right] = row if known is None else _both(known, row)
    return tuple(row for rights in by_kind.values() for row in rights.values())


def _both(one: Permission, other: Permission) -> Permission:
    seldom = _joined(one.seldom, other.seldom) if one.seldom and other.seldom else ""
    return replace(one, why=_joined(one.why, other.why), seldom=seldom)


def _joined(one: str, other: str) -> str:
    return one if one == other else f"{one} {other}"
