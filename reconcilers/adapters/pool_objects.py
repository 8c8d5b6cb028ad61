"""Makes and restores the objects of a pool of warm workers that give it its rights, and checks whose they are.

Accounts and bindings are watched, so a pool that is as it must be costs no request. Names are the lock: a second
process finds what the first one has made. Source: StepRun contract 3.5, reliability of writes as in
``core.engine.ports``.
"""

from __future__ import annotations

from typing import Any

from core.api import keys
from core.api.objects import Object, is_being_deleted, is_owned_by, owners_of
from core.api.resource import DEPLOYMENT, ROLE_BINDING, SERVICE_ACCOUNT, Resource
from core.engine.errors import DeniedError, GoneError, NameConflictError, PortError, RejectedError, UnavailableError
from core.kube.client import KubeClient
from core.kube.patch import bound_to
from core.workloads.worker_access import worker_rights
from core.workloads.worker_pool import StandingPool
from reconcilers.adapters.owned_access import difference
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import World
from reconcilers.adapters.writes import create_or_read


class PoolObjects:
    """The objects of all pools."""

    def __init__(self, client: KubeClient, world: World) -> None:
        self._client = client
        self._world = world

    def lacks_rights(self, pool: StandingPool) -> bool:
        """Whether the account of the pool has not the rights that it must have, as far as the watches have delivered.

        An account that is gone needs none: the garbage collector deletes the rest of the pool.
        """
        account = self._world.informer(SERVICE_ACCOUNT).get(pool.namespace, pool.name)
        if account is None or is_being_deleted(account) or account["metadata"]["uid"] != pool.account_uid:
            return False
        rights = worker_rights(pool.namespace, pool.name, pool.account_uid)
        return not all(_is_right(self._known(resource, manifest), manifest) for resource, manifest in rights)

    async def ensure_rights(self, namespace: str, pool: str, account_uid: str) -> None:
        """Raises as ``ensure``."""
        for resource, manifest in worker_rights(namespace, pool, account_uid):
            await self.ensure(resource, manifest, account_uid)

    async def ensure(self, resource: Resource, manifest: Object, owner_uid: str = "") -> Object:
        """Create the object, or restore what it needs to do its work; returns it as it is stored.

        Args:
            owner_uid: of the account that owns it; empty: it is the account itself.
        Raises:
            NameConflictError: an object of the name belongs to somebody else, or binds another role.
            UnavailableError: also while the object is being removed.
            DeniedError, RejectedError.
        """
        metadata = manifest["metadata"]
        place = f"{resource.kind} {metadata['namespace']}/{metadata['name']}"
        stored = self._known(resource, manifest) if resource == ROLE_BINDING else None
        if stored is None or not is_owned_by(stored, owner_uid):  # what the watch shows may have gone with its account
            try:
                stored, _ = await create_or_read(self._client, resource, manifest)
            except GoneError as error:  # the namespace is being deleted, or a role of a binding is missing
                raise UnavailableError(str(error)) from error
        if is_being_deleted(stored):
            raise UnavailableError(f"{place} is being removed")
        labels = stored["metadata"].get("labels") or {}
        if any(labels.get(key) != value for key, value in metadata["labels"].items()):
            raise NameConflictError(f"{place} exists and does not belong to a pool of workers; delete it")
        if owner_uid and owners_of(stored) and not is_owned_by(stored, owner_uid):
            raise UnavailableError(f"{place} of a deleted pool is still being removed")
        if stored.get("roleRef") != manifest.get("roleRef"):
            raise NameConflictError(f"{place} binds another role, which cannot be changed; delete it")
        if patch := _changes(stored, manifest):
            stored = await self.patch(resource, stored, patch)
        return self._world.informer(resource).remember(stored) if resource == ROLE_BINDING else stored

    async def patch(self, resource: Resource, stored: Object, patch: Object) -> Object:
        """Merge ``patch`` into the object, if it is still the one that was read.

        Raises:
            UnavailableError: it is not.
            DeniedError, RejectedError.
        """
        metadata = stored["metadata"]
        try:
            with port_errors():
                return await self._client.patch(
                    resource, metadata["name"], bound_to(stored, patch), namespace=metadata["namespace"]
                )
        except (RejectedError, DeniedError, UnavailableError):
            raise
        except PortError as error:  # it has changed or is gone, which the watch will tell
            raise UnavailableError(str(error)) from error

    def _known(self, resource: Resource, manifest: Object) -> Object | None:
        metadata = manifest["metadata"]
        return self._world.informer(resource).get(metadata["namespace"], metadata["name"])


def _is_right(stored: Object | None, manifest: Object) -> bool:
    if stored is None or is_being_deleted(stored):
        return False
    return stored.get("roleRef") == manifest.get("roleRef") and not _changes(stored, manifest)


def _changes(stored: Object, manifest: Object) -> dict[str, Any]:
    """The merge patch that gives the object its subjects, annotations and owner; empty when it has them.

    The deletion of an account without that of its dependents leaves these without an owner.
    """
    patch = difference(stored, manifest)
    owners = manifest["metadata"].get("ownerReferences")
    if owners and not owners_of(stored):
        patch["metadata"] = {**patch.get("metadata", {}), "ownerReferences": owners}
        if manifest["kind"] == DEPLOYMENT.kind:  # its Pods have tokens of the former account
            account = {keys.ANNOTATION_POOL_ACCOUNT: owners[0]["uid"]}
            patch["spec"] = {"template": {"metadata": {"annotations": account}}}
    return patch
