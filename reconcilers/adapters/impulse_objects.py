"""Creates, corrects and removes the Service and the Deployment or StatefulSet of one Impulse.

An object that the Impulse does not control is never changed, adopted or deleted, whatever its name is. Of a workload
that is no longer wanted, because the mode or the template has changed, all Pods end before the next one is created:
two listeners would start everything twice. Source: Trigger contract 6.3 and 6.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from core.api.objects import Object, controller_of, is_being_deleted, is_controlled_by
from core.api.resource import DEPLOYMENT, IMPULSE, SERVICE, STATEFUL_SET, Resource
from core.engine.errors import GoneError, NameConflictError, UnavailableError
from core.engine.ports import EventSink, EventType
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError
from core.kube.patch import bound_to
from core.workloads.impulse_change import listener_correction, must_be_recreated, notes_of, suspension
from core.workloads.impulse_service import must_be_replaced, service_correction
from kubewire import PatchType
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import OWNER_UID, World
from reconcilers.adapters.writes import create_or_read, delete

WORKLOADS: Final = (DEPLOYMENT, STATEFUL_SET)


class ImpulseObjects:
    """Every method is idempotent, and returns after at most one step: an event about the object calls again."""

    def __init__(self, client: KubeClient, world: World, events: EventSink) -> None:
        self._client = client
        self._world = world
        self._events = events

    def workloads_of(self, impulse: Object) -> list[Object]:
        """Every Deployment and StatefulSet that the Impulse controls."""
        return [stored for resource in WORKLOADS for stored in self._owned(impulse, resource)]

    async def suspend(self, impulse: Object) -> None:
        """Scale every workload of the Impulse to zero, before anything else is looked at: what keeps a listener from
        being as it should be must not keep it running.

        Raises:
            StaleError, GoneError, UnavailableError, RejectedError.
        """
        for stored in self.workloads_of(impulse):
            if not is_being_deleted(stored):
                await self._patch(impulse, stored, suspension(stored))

    async def ensure_listener(self, impulse: Object, wanted: Object, *, suspended: bool) -> str:
        """The Deployment or StatefulSet; returns what has to end first, empty when it is as wanted.

        Raises:
            NameConflictError: an object of that name is not controlled by this Impulse.
            StaleError, GoneError, UnavailableError, RejectedError.
        """
        resource = _resource_of(wanted)
        place = (resource.kind, wanted["metadata"]["name"])
        for stored in self.workloads_of(impulse):
            if (stored["kind"], stored["metadata"]["name"]) != place:
                return await self._end(impulse, stored, "of an earlier mode or template")
        current = await self._existing(impulse, resource, wanted)
        if current is None:
            return ""
        if is_being_deleted(current) or must_be_recreated(current, wanted):
            return await self._end(impulse, current, "with its earlier configuration")
        await self._patch(impulse, current, listener_correction(current, wanted, suspended=suspended))
        return ""

    async def ensure_service(self, impulse: Object, wanted: Object | None) -> str:
        """The Service, and no other of this Impulse; ``None``: no Service at all. Returns as ``ensure_listener``.

        Raises: the same errors.
        """
        name = wanted["metadata"]["name"] if wanted is not None else ""
        services = self._world.informer(SERVICE)
        for stored in list(self._owned(impulse, SERVICE)):
            if stored["metadata"]["name"] != name and not is_being_deleted(stored):
                await self._delete_service(impulse, stored)
        current = await self._existing(impulse, SERVICE, wanted) if wanted is not None else None
        if wanted is None or current is None:
            return ""
        if is_being_deleted(current) or must_be_replaced(current, wanted):
            if not is_being_deleted(current):
                await self._delete_service(impulse, current)
            return f"Service {name} with its earlier configuration must end first"
        patch = service_correction(current, wanted)
        if patch:
            with port_errors():
                changed = await self._client.patch(
                    SERVICE, name, bound_to(current, patch), namespace=wanted["metadata"]["namespace"]
                )
            services.remember(changed)
            self._emit(impulse, changed, "Updated", "has changed ports, labels or annotations")
        return ""

    def _owned(self, impulse: Object, resource: Resource) -> Iterator[Object]:
        yield from self._world.informer(resource).by_index(OWNER_UID, impulse["metadata"]["uid"])

    async def _existing(self, impulse: Object, resource: Resource, wanted: Object) -> Object | None:
        """The stored object of that name, which the Impulse controls; None when it was created here."""
        informer, metadata = self._world.informer(resource), wanted["metadata"]
        stored = informer.get(metadata["namespace"], metadata["name"])
        created = False
        if stored is None:
            await self._confirm(impulse)
            stored, created = await create_or_read(self._client, resource, wanted)
        if not is_controlled_by(stored, impulse["metadata"]["uid"]):
            self._refuse(impulse, stored)
        if created:
            informer.remember(stored)
        return None if created else stored

    async def _confirm(self, impulse: Object) -> None:
        """Ask whether the Impulse is still there: what an Impulse in deletion loses is not created again."""
        metadata = impulse["metadata"]
        with port_errors():
            try:
                stored = await self._client.get(IMPULSE, metadata["name"], metadata["namespace"])
            except NotFoundError:
                stored = None
        if stored is None or stored["metadata"]["uid"] != metadata["uid"] or is_being_deleted(stored):
            raise GoneError(f"Impulse {metadata['namespace']}/{metadata['name']} has been deleted")

    def _refuse(self, impulse: Object, stored: Object) -> None:
        metadata, owner = stored["metadata"], controller_of(stored) or {}
        place = f"{stored['kind']} {metadata['namespace']}/{metadata['name']}"
        if (owner.get("kind"), owner.get("name")) == (IMPULSE.kind, impulse["metadata"]["name"]):
            raise UnavailableError(f"{place} of a deleted Impulse is still being removed")
        whose = f"{owner['kind']} {owner['name']}" if owner else "no Impulse"
        raise NameConflictError(
            f"{place} exists and belongs to {whose}; delete it, or rename this Impulse or its template"
        )

    async def _patch(self, impulse: Object, stored: Object, changes: list[Object]) -> None:
        """A JSON patch of a workload; an empty one is not sent."""
        if not changes:
            return
        resource, metadata = _resource_of(stored), stored["metadata"]
        with port_errors():
            changed = await self._client.patch(
                resource, metadata["name"], changes, namespace=metadata["namespace"], patch_type=PatchType.JSON
            )
        self._world.informer(resource).remember(changed)
        for word, text in notes_of(changes):
            self._emit(impulse, changed, word, text)

    async def _delete_service(self, impulse: Object, stored: Object) -> None:
        await delete(self._client, self._world.informer(SERVICE), SERVICE, stored)
        self._emit(impulse, stored, "Deleted", "was deleted, because Impulse or template have changed")

    async def _end(self, impulse: Object, stored: Object, which: str) -> str:
        """Delete a workload, which stays until its Pods are gone."""
        resource, metadata = _resource_of(stored), stored["metadata"]
        if not is_being_deleted(stored):
            with port_errors(), suppress(NotFoundError):
                await self._client.delete(
                    resource, metadata["name"], metadata["namespace"], uid=metadata["uid"], propagation="Foreground"
                )
            why = "is deleted, because Impulse or template have changed; a new one follows when its Pods have ended"
            self._emit(impulse, stored, "Deleted", why)
        return f"the Pods of {stored['kind']} {metadata['name']} {which} must end first"

    def _emit(self, impulse: Object, obj: Object, word: str, text: str) -> None:
        """A Normal Event about the Impulse, such as ``DeploymentUpdated``."""
        kind, name = obj["kind"], obj["metadata"]["name"]
        self._events.emit(impulse, EventType.NORMAL, f"{kind}{word}", f"{kind} {name} {text}")


def _resource_of(workload: Object) -> Resource:
    return DEPLOYMENT if workload["kind"] == DEPLOYMENT.kind else STATEFUL_SET
