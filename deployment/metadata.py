"""What several documents of an installation share: names, labels, probes, security. Source: operator contract 21."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from core.api.keys import LABEL_APP_NAME
from core.api.objects import Object
from core.api.resource import Resource
from deployment.permissions.names import METRICS_SERVICE, WEBHOOK_SERVICE

__all__ = [
    "METRICS_SERVICE",
    "WEBHOOK_SERVICE",
]

APP: Final = "bobrapet"
IMAGE: Final = "bobrapet-py"
"""Has no registry: an installation adds its own (``make deploy IMG=…``)."""
CONTROL_PLANE: Final = {"control-plane": "controller-manager"}
POD_LABELS: Final = {LABEL_APP_NAME: APP, **CONTROL_PLANE}
WEBHOOK_PORT: Final = 9443
METRICS_PORT: Final = 8443
HEALTH_PORT: Final = 8081
OLDEST_KUBERNETES: Final = (1, 31)
"""The first in which our definitions can name the fields by which runs are selected, without a feature gate."""
NEWEST_KUBERNETES: Final = (1, 37)
"""``make e2e`` runs on both, and on no version between them."""


def image() -> str:
    """The image of exactly this version."""
    return f"{IMAGE}:{version('bobrapet')}"


TEMPORARY_FILES: Final = "/tmp"  # noqa: S108 - the container's own, an emptyDir
SECURITY_CONTEXT: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
"""Of each container: Pod Security Standards, restricted."""


def probe(path: str, *, first: int, period: int) -> Object:
    """A probe of the health port; ``first`` and ``period`` are seconds."""
    return {"httpGet": {"path": path, "port": "health"}, "initialDelaySeconds": first, "periodSeconds": period}


def document(resource: Resource, name: str, *, namespace: str = "", labels: Object | None = None) -> Object:
    """``apiVersion``, ``kind`` and ``metadata``; the caller adds the rest."""
    metadata: Object = {"name": name} | ({"namespace": namespace} if namespace else {})
    metadata["labels"] = {LABEL_APP_NAME: APP, **(labels or {})}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
