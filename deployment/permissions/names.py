"""Names and places of the operator's own objects. Fast to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OPERATOR_NAMESPACE: Final = "bobrapet-system"
CONFIG_NAME: Final = "bobrapet-operator-config"
LEASE_NAME: Final = "d3a8b358.bubustack.io"
OPERATOR_ACCOUNT: Final = "controller-manager"
HUB_ACCOUNT: Final = "hub"
HUB_LEASE_NAME: Final = "bobrapet-hub"
HUB_TLS_NAME: Final = "bobrapet-hub-tls"


@dataclass(frozen=True, slots=True)
class Installation:
    """The namespace of the operator and the names of its objects."""

    namespace: str = OPERATOR_NAMESPACE
    prefix: str = "bobrapet-"

    @property
    def service_account(self) -> str:
        return self.account(OPERATOR_ACCOUNT)

    def account(self, name: str) -> str:
        """The ServiceAccount with this name without prefix."""
        return f"{self.prefix}{name}"

    @property
    def user(self) -> str:
        """The operator's user name at the API server."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"


DEFAULT_INSTALLATION: Final = Installation()
