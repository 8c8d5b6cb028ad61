"""The user who asks the API server to write an object."""

from __future__ import annotations

from dataclasses import dataclass

ADMINISTRATORS = "system:masters"
POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
"""Key that the API server adds to a user whose token is bound to a Pod, such as a token that is mounted into a Pod."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A user as the API server has authenticated it.

    ``pod`` and ``pod_uid`` name the Pod that the caller's token is bound to; both are empty for other tokens.
    """

    username: str
    groups: frozenset[str] = frozenset()
    is_operator: bool = False
    is_hub: bool = False
    """Whether it is an account of the operator's namespace, where only administrators may create any."""
    pod: str = ""
    pod_uid: str = ""

    @property
    def is_trusted(self) -> bool:
        """Whether the caller is the operator, or an administrator, who may do anything."""
        return self.is_operator or ADMINISTRATORS in self.groups


def service_account(namespace: str, name: str) -> str:
    """The user name of a ServiceAccount."""
    return f"system:serviceaccount:{namespace}:{name}"


def is_beside(account: str, username: str) -> bool:
    """Whether both are user names of ServiceAccounts of one namespace."""
    namespace = account.rpartition(":")[0]
    return namespace.startswith("system:serviceaccount:") and username.startswith(f"{namespace}:")
