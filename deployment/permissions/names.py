"""Names and places of the operator's own objects. Fast to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OPERATOR_NAMESPACE: Final = "bobrapet-system"
CONFIG_NAME: Final = "bobrapet-operator-config"
LEASE_NAME: Final = "d3a8b358.bubustack.io"


@dataclass(frozen=True, slots=True)
class Installation:
    """The namespace of the operator and the names of its objects."""

    namespace: str = OPERATOR_NAMESPACE
    prefix: str = "bobrapet-"

    @property
    def service_account(self) -> str:
        return f"{self.prefix}controller-manager"

    @property
    def user(self) -> str:
        """The operator's user name at the API server."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"


DEFAULT_INSTALLATION: Final = Installation()
