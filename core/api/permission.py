"""One thing somebody may do at an API server, and why: a row of the table from which RBAC is rendered. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.api.resource import Resource


@dataclass(frozen=True, slots=True)
class Permission:
    """``verbs`` on a resource, or on one of its subresources.

    ``names`` limits them to objects of these names; RBAC cannot do that for ``create``.
    """

    resource: Resource
    verbs: tuple[str, ...]
    why: str
    """What would fail without it: one sentence, for the person who reviews the installation."""
    subresource: str = ""
    names: tuple[str, ...] = ()
    seldom: str = ""
    """Why it is granted although a day's work may pass without a request of its kind; empty: every day has one."""

    @property
    def target(self) -> str:
        """The resource as RBAC writes it, e.g. ``storyruns/status``."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural

    def rule(self) -> dict[str, Any]:
        """The ``PolicyRule``, as the API server keeps it."""
        rule: dict[str, Any] = {
            "apiGroups": [self.resource.group],
            "resources": [self.target],
            "verbs": list(self.verbs),
        }
        return rule | ({"resourceNames": list(self.names)} if self.names else {})
