"""Writes to single objects: bound to the version that was read, and visible to this process's own reads at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
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


async def drop_finalizer(
    client: KubeClient, informer: Informer, resource: Resource, obj: Object, finalizer: str
) -> None:
    """Remove ``finalizer``, if the object has it. Raises as ``patch_metadata``."""
    finalizers = obj["metadata"].get("finalizers") or []
    if finalizer in finalizers:
        kept = [name for name in finalizers if name != finalizer]
        await patch_metadata(client, informer, resource, obj, {"finalizers": kept or None})


async def create_or_read(client: KubeClient, resource: Resource, manifest: Object) -> tuple[Object, bool]:
    """The object with the name of ``manifest``: created here (True), or the existing one, whatever its owner is.

    Raises:
        UnavailableError: also when the existing object was deleted while it was read.
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
    """Check that the owner of a recreated object still needs it; creating an object for the first time needs no check.

    When a run is deleted, the watch may report the end of its objects long before its own end. An object that is
    created in between would be removed at once, because its owner is gone, and would be created again and again. Also,
    another leader, whose writes this process has not seen yet, may have ended the owner, or moved it to another
    attempt.

    Returns:
        The owner, as stored.

    Raises:
        GoneError: it does not exist, is another object, or is being deleted.
        StaleError: it has ended or is being ended, or has another attempt.
        UnavailableError.
        The informer knows now what the API server has answered.
    """
    metadata = owner["metadata"]
    place = f"{resource.kind} {metadata['namespace']}/{metadata['name']}"
    with port_errors(), _forgotten_if_absent(informer, owner):
        stored = await client.get(resource, metadata["name"], metadata["namespace"])
    informer.remember(stored)
    if stored["metadata"]["uid"] != metadata["uid"] or is_being_deleted(stored):
        raise GoneError(f"{place} has been deleted")
    if is_overtaken(owner, stored):
        raise StaleError(f"{place} has ended, or is at another attempt")
    return stored


async def patch_status(
    client: KubeClient, informer: Informer, resource: Resource, obj: Object, patch: Mapping[str, Any]
) -> Object:
    """Merge ``patch`` into the status of ``obj``, which must still be the newest version; returns the stored object.

    Raises:
        PortError: see ``RunStore.patch_run_status``.
    """
    return await _patch(client, informer, resource, obj, {"status": patch}, subresource="status")


async def patch_metadata(
    client: KubeClient, informer: Informer, resource: Resource, obj: Object, patch: Mapping[str, Any]
) -> Object:
    """Like ``patch_status``, for ``metadata``."""
    return await _patch(client, informer, resource, obj, {"metadata": patch}, subresource=None)


async def patch_spec(
    client: KubeClient, informer: Informer, resource: Resource, obj: Object, patch: Mapping[str, Any]
) -> Object:
    """Like ``patch_status``, for ``spec``."""
    return await _patch(client, informer, resource, obj, {"spec": patch}, subresource=None)


async def delete(
    client: KubeClient, informer: Informer, resource: Resource, obj: Object, *, unchanged: bool = False
) -> None:
    """Delete exactly this object; Kubernetes deletes its dependents in the background. A deleted or replaced object is
    a success. The informer knows at once whether the object is gone, or waits for finalizers.

    ``unchanged``: only if it still has the version on which the deletion was decided.

    Raises:
        StaleError: it has changed or is another object, and ``unchanged`` is set.
        UnavailableError, RejectedError.
    """
    metadata = obj["metadata"]
    namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
    version = metadata["resourceVersion"] if unchanged else None
    forgiven = (NotFoundError,) if unchanged else (NotFoundError, ConflictError)
    left: Object | None = None
    with port_errors(), contextlib.suppress(*forgiven):
        left = await client.delete(
            resource, name, namespace, uid=uid, resource_version=version, propagation="Background"
        )
    if left is None:
        informer.forget(namespace, name, uid)
    else:
        informer.remember(left)


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
    with port_errors(), _forgotten_if_absent(informer, obj):
        stored = await client.patch(
            resource,
            metadata["name"],
            bound_to(obj, body),
            namespace=metadata.get("namespace"),
            subresource=subresource,
        )
    return informer.remember(stored)


@contextlib.contextmanager
def _forgotten_if_absent(informer: Informer, obj: Object) -> Iterator[None]:
    """Let the informer forget ``obj`` at once if the API server answers that it does not exist.

    The watch of its kind may be away while those of other kinds are not. What is decided by the stale copy would begin
    again with each of their events.
    """
    try:
        yield
    except NotFoundError:
        metadata = obj["metadata"]
        informer.forget(metadata.get("namespace"), metadata["name"], metadata["uid"])
        raise
