"""Who asks to write an object."""

from __future__ import annotations

from dataclasses import dataclass

ADMINISTRATORS = "system:masters"


@dataclass(frozen=True, slots=True)
class Caller:
    """A user as the API server has authenticated it; whether it is the operator, the server that asks knows."""

    username: str
    groups: frozenset[str] = frozenset()
    is_operator: bool = False

    @property
    def is_trusted(self) -> bool:
        """The operator, and whoever may do anything anyway."""
        return self.is_operator or ADMINISTRATORS in self.groups


def service_account(namespace: str, name: str) -> str:
    """The user name of a ServiceAccount."""
    return f"system:serviceaccount:{namespace}:{name}"
