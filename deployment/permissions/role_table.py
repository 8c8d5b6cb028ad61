"""One role of one ServiceAccount, as a table of permissions. Pure data; fast to import."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.api.permission import Permission
from deployment.permissions.names import OPERATOR_ACCOUNT


class Reach(StrEnum):
    """Where a role applies."""

    CLUSTER = "every namespace"
    OPERATOR_NAMESPACE = "the operator's namespace"
    RUN_NAMESPACES = "every namespace, for the containers of runs"
    IMPULSE_NAMESPACES = "every namespace, for the containers of Impulses"


@dataclass(frozen=True, slots=True)
class RoleTable:
    """One role. Its names have no prefix of the installation."""

    name: str
    binding: str
    reach: Reach
    purpose: str
    permissions: tuple[Permission, ...]
    account: str = OPERATOR_ACCOUNT
    """The ServiceAccount that has it."""
