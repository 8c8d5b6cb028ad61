"""Give the operator its permissions on the embedded cluster.

Elsewhere an administrator applies ``manifests/rbac``, which is rendered from the same table.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from core.api.keys import FIELD_MANAGER
from core.api.objects import Object
from core.api.resource import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING, SERVICE_ACCOUNT
from core.kube.client import KubeClient
from deployment.permissions.names import DEFAULT_INSTALLATION, OPERATOR_ACCOUNT, Installation

TOKEN_LIFETIME: Final = timedelta(days=3650)
"""Lifetime of an embedded operator's token: longer than any embedded cluster runs without a restart."""

_RESOURCES: Final = {
    resource.kind: resource for resource in (SERVICE_ACCOUNT, CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING)
}


async def install_permissions(client: KubeClient, installation: Installation = DEFAULT_INSTALLATION) -> None:
    """``install_objects`` with the current content of the table.

    Raises:
        KubeError: the server refused one.
    """
    from deployment.permissions.roles import operator_objects  # imports every controller

    await install_objects(client, operator_objects(installation))


async def install_objects(client: KubeClient, objects: Iterable[Object]) -> None:
    """Server-side apply of the operator's account, roles and bindings; the namespace must exist.

    Raises:
        KubeError: the server refused one.
    """
    for obj in objects:  # one after the other on one connection: to open more would cost more than it saves
        await client.apply(_RESOURCES[obj["kind"]], obj, field_manager=FIELD_MANAGER, force=True)


async def request_token(
    client: KubeClient, installation: Installation = DEFAULT_INSTALLATION, *, account: str = OPERATOR_ACCOUNT
) -> str:
    """A new token of an account of the installation.

    Raises:
        KubeError: there is no such account.
    """
    seconds = int(TOKEN_LIFETIME.total_seconds())
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": seconds},
    }
    answer = await client.create_subresource(
        SERVICE_ACCOUNT, installation.account(account), "token", request, namespace=installation.namespace
    )
    return str(answer["status"]["token"])
