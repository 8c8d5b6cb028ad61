"""What the checks of ``bobrapet doctor`` look at: a cluster, as one user sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cli.embedded.folder import EmbeddedCluster
from cli.session import Session
from cli.target import embedded_at
from core.api.objects import Object
from core.api.resource import DEPLOYMENT, Resource
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError
from deployment.permissions.names import Installation

ENDPOINT_SLICE: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
RESOURCE_QUOTA: Final = Resource("", "v1", "resourcequotas", "ResourceQuota")
DEPLOYMENT_NAME: Final = "controller-manager"


@dataclass(frozen=True, slots=True)
class DoctorContext:
    """``session`` has the namespace whose runs are examined; ``installation`` says where the operator is."""

    session: Session
    installation: Installation = field(default_factory=Installation)
    reads_secrets: bool = True
    """Whether checks may read Secrets: that of the operator's certificate, and that of its object store."""

    @property
    def client(self) -> KubeClient:
        return self.session.client

    @property
    def embedded(self) -> EmbeddedCluster | None:
        """The embedded cluster: its processes take the place of Deployment, webhooks and Lease."""
        return self.session.embedded or embedded_at(self.session.config.server, Path(self.session.config.source))

    @property
    def is_embedded(self) -> bool:
        return self.embedded is not None

    @property
    def deployment_name(self) -> str:
        return self.installation.account(DEPLOYMENT_NAME)

    async def deployment(self) -> Object | None:
        """The operator's Deployment, if there is one.

        Raises:
            KubeError: it cannot be read.
        """
        try:
            return await self.client.get(DEPLOYMENT, self.deployment_name, self.installation.namespace)
        except NotFoundError:
            return None
