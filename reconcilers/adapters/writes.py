"""Writes to single objects, bound to what they were decided on, and visible to this process's own reads at once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from core.api.objects import Object, is_being_deleted
from core.api.resource import Resource
from core.engine.errors import GoneError, StaleError, UnavailableError
from core.engine.step.record import is_overtaken
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from core.kube.informer import Informer
from core.kube.patch import bound_to
from reconcilers.adapters.translation import port_errors


async def create_or_read(client: KubeClient, resource: Resource, manifest: Object) -> tuple[Object, bool]:
    """What has the name of ``manifest`` now: made here (True), or whatever stands there already, whosesoever it is.

    Raises:
        UnavailableError: also when what stood there went while it was looked at.
        RejectedError.
    """
    metadata = manifest["metadata"]
    with port_errors():
        try:
            return await client.create(resource, manifest), True
        except AlreadyExistsError:
            with contextlib.suppress(NotFoundError):
                return await client.get(resource, metadata["name"], metadata["namespace"]), False
    raise UnavailableError(f"{resource.kind} {metadata['namespace']}/{metadata['name']} is being replaced")


async def confirm(client: KubeClient, informer: Informer, resource: Resource, owner: Object) -> Object:
    """That the owner of what is made anew still wants it; what it gets for the first time needs no question.

    When a run was deleted, the watch may tell of the end of what it owned long before its own. One made in between is
    removed at once, because its owner is gone, and would be made again and again. And another leader, which this one
    has not heard of yet, may have brought the owner to its end, or to another attempt.

    Returns:
        It, as it is stored.

    Raises:
        GoneError: it is not there, or is another, or on its way out.
        StaleError: it has ended or is being ended, or is on another attempt; this process knows it now.
        UnavailableError.
    """
    metadata = owner["metadata"]
    place = f"{resource.kind} {metadata['namespace']}/{metadata['name']}"
    with port_errors():
        stored = await client.get(resource, metadata["name"], metadata["namespace"])
    if stored["metadata"]["uid"] != metadata["uid"] or is_being_deleted(stored):
        raise GoneError(f"{place} has been deleted")
    informer.remember(stored)
    if is_overtaken(owner, stored):
        raise StaleError(f"{place} has ended, or is at another attempt")
    return stored


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


async def delete(
    client: KubeClient, informer: Informer, resource: Resource, obj: Object, *, unchanged: bool = False
) -> None:
    """Delete exactly this object, what it owns in the background; gone already, or replaced, is success.

    ``unchanged``: only as it was when its end was decided.

    Raises:
        StaleError: it changed, or is another, and ``unchanged`` is asked for.
        UnavailableError, RejectedError.
    """
    metadata = obj["metadata"]
    namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
    version = metadata["resourceVersion"] if unchanged else None
    forgiven = (NotFoundError,) if unchanged else (NotFoundError, ConflictError)
    with port_errors(), contextlib.suppress(*forgiven):
        await client.delete(resource, name, namespace, uid=uid, resource_version=version, propagation="Background")
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
    return informer.remember(stored)
