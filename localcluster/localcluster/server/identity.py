"""The identity of a request: user, groups and extras, for authorization, admission and reviews."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from localcluster.server.types import Object

MASTERS: Final = "system:masters"
"""The group whose members may do everything."""
AUTHENTICATED: Final = "system:authenticated"
UNAUTHENTICATED: Final = "system:unauthenticated"
SERVICE_ACCOUNTS: Final = "system:serviceaccounts"


@dataclass(frozen=True)
class Identity:
    """An authenticated or anonymous user."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    @property
    def unrestricted(self) -> bool:
        return MASTERS in self.groups

    def to_user_info(self) -> Object:
        """The ``authentication.k8s.io/v1`` UserInfo, for reviews and admission requests."""
        info: Object = {"username": self.name}
        if self.uid:
            info["uid"] = self.uid
        if self.groups:
            info["groups"] = list(self.groups)
        if self.extra:
            info["extra"] = {key: list(values) for key, values in self.extra.items()}
        return info


ANONYMOUS: Final = Identity("system:anonymous", (UNAUTHENTICATED,))
APISERVER: Final = Identity("system:apiserver", (MASTERS, AUTHENTICATED))
ADMIN: Final = Identity("kubernetes-admin", (MASTERS, AUTHENTICATED))


def service_account(
    namespace: str, name: str, uid: str, extra: Mapping[str, tuple[str, ...]] | None = None
) -> Identity:
    """The identity for a service-account token."""
    return Identity(
        f"system:serviceaccount:{namespace}:{name}",
        (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}", AUTHENTICATED),
        uid,
        extra or {},
    )
