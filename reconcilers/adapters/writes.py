"""Writes to single objects, bound to what they were decided on, and visible to this process's own reads at once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from core.api.resource import Resource
from core.engine.ports import Object
from core.kube.client import KubeClient
from core.kube.errors import ConflictError, NotFoundError
from core.kube.informer import Informer
from core.kube.patch import bound_to
from reconcilers.adapters.translation import port_errors


async def patch_status(
    client: KubeClient, informer: Informer, resource: Resource, obj: Object, patch: Mapping[str, Any]
) -> Object:
    """Merge ``patch`` into the status of ``obj``, which must still be the newest version; the object as stored.

    Raises:
        PortError: as ``RunStore.patch_run_status``.
    """
    return await _patch(client, informer, resource, obj, {"status": patch}, subresource="status")


async def patch_metadata(
    client: KubeClient, informer: Informer, resource: Resource, obj: Object, patch: Mapping[str, Any]
) -> Object:
    """Like ``patch_status``, for ``metadata``."""
    return await _patch(client, informer, resource, obj, {"metadata": patch}, subresource=None)


async def delete(client: KubeClient, informer: Informer, resource: Resource, obj: Object) -> None:
    """Delete exactly this object, what it owns in the background; gone already, or replaced, is success.

    Raises:
        UnavailableError, RejectedError.
    """
    metadata = obj["metadata"]
    namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
    with port_errors(), contextlib.suppress(NotFoundError, ConflictError):
        await client.delete(resource, name, namespace, uid=uid, propagation="Background")
    if not metadata.get("finalizers"):
        informer.forget(namespace, name, uid)


async def _patch(
    client: KubeClient,
    informer: Informer,
    resource: Resource,
    obj: Object,
    body: Mapping[str, Any],
    *,
    subresource: str | None,
) -> Object:
    metadata = obj["metadata"]
    with port_errors():
        stored = await client.patch(
            resource,
            metadata["name"],
            bound_to(obj, body),
            namespace=metadata.get("namespace"),
            subresource=subresource,
        )
    informer.remember(stored)
    return stored
