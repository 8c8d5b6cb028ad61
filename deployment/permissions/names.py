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
DEFAULT_PREFIX: Final = "bobrapet-"
WEBHOOK_SERVICE: Final = "bobrapet-webhook-service"
METRICS_SERVICE: Final = "bobrapet-controller-manager-metrics-service"
NAMES_WITH_PREFIX: Final = frozenset(
    {
        CONFIG_NAME,
        WEBHOOK_SERVICE,
        METRICS_SERVICE,
        "bobrapet-mutating-webhook-configuration",
        "bobrapet-validating-webhook-configuration",
    }
)
"""Names in the default installation that begin with the prefix in any other one. Leases and Secrets that the operator
creates, and the two ClusterRoles that it binds, have the same names everywhere.
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """The namespace of the operator and the names of its objects."""

    namespace: str = OPERATOR_NAMESPACE
    prefix: str = DEFAULT_PREFIX
    manager_account: str = ""
    """Name of the operator's ServiceAccount; empty: prefix and ``controller-manager``."""

    @property
    def service_account(self) -> str:
        return self.account(OPERATOR_ACCOUNT)

    def account(self, name: str) -> str:
        """The ServiceAccount with this name without prefix."""
        return (name == OPERATOR_ACCOUNT and self.manager_account) or f"{self.prefix}{name}"

    def named(self, default: str) -> str:
        """The name of an object that the default installation calls ``default``."""
        return self.prefix + default.removeprefix(DEFAULT_PREFIX) if default in NAMES_WITH_PREFIX else default

    @property
    def user(self) -> str:
        """The operator's user name at the API server."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"


DEFAULT_INSTALLATION: Final = Installation()
