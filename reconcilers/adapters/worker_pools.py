"""Makes the objects of a pool of warm workers: account, bindings, Deployment.

A pool that stands costs no request. Names are the lock: a second process finds what the first one has made. The
Deployment is the last, because it starts the work; the controller ``reconcilers.worker_pool`` scales and deletes it.
Source: StepRun contract 3.5, reliability of writes as in ``core.engine.ports``.
"""

from __future__ import annotations

import trio

from core.api.objects import Object, is_being_deleted, owners_of
from core.api.resource import SERVICE_ACCOUNT, WORKER_DEPLOYMENT, Resource
from core.engine.errors import GoneError, NameConflictError, UnavailableError
from core.kube.client import KubeClient
from core.policy.settings import StorageSettings
from core.workloads.storage_copy import CopyOwner
from core.workloads.worker_pool import WorkersWanted, standing_pool
from reconcilers.adapters.secret_check import SecretCheck
from reconcilers.adapters.world import World
from reconcilers.adapters.writes import create_or_read


class WorkerPools:
    """One caller at a time makes a pool; the others find it."""

    def __init__(self, client: KubeClient, world: World, secrets: SecretCheck) -> None:
        self._client = client
        self._deployments = world.informer(WORKER_DEPLOYMENT)
        self._secrets = secrets
        self._turns: dict[tuple[str, str], trio.Lock] = {}

    def is_there(self, wanted: WorkersWanted) -> bool:
        deployment = self._deployments.get(wanted.namespace, wanted.name)
        return deployment is not None and not is_being_deleted(deployment) and standing_pool(deployment) is not None

    async def ensure(self, wanted: WorkersWanted, storage: StorageSettings) -> None:
        """Return when the pool is there; its workers need not be ready.

        Args:
            storage: the operator's own store, as it was when the policy was resolved.
        Raises:
            MissingReferenceError: Secrets or keys are missing.
            NameConflictError: an object of the name belongs to somebody else.
            UnavailableError: also while objects of a deleted pool of this name are being removed.
            DeniedError, RejectedError.
        """
        if self.is_there(wanted):
            return
        async with self._turn(wanted):
            if not self.is_there(wanted):
                await self._make(wanted, storage)

    async def _make(self, wanted: WorkersWanted, storage: StorageSettings) -> None:
        account = await self._ensured(SERVICE_ACCOUNT, wanted.account(), "")
        uid = str(account["metadata"]["uid"])
        for resource, manifest in wanted.rights(uid):
            await self._ensured(resource, manifest, uid)
        owner = CopyOwner(SERVICE_ACCOUNT, wanted.namespace, wanted.name, uid, account["metadata"].get("labels") or {})
        checked = await self._secrets.check(wanted.workload, storage, owner)
        made = await self._ensured(WORKER_DEPLOYMENT, wanted.deployment(uid, checked.policy), uid)
        if standing_pool(made) is None:
            raise NameConflictError(f"Deployment {wanted.namespace}/{wanted.name} was changed; delete it")
        self._deployments.remember(made)

    async def _ensured(self, resource: Resource, manifest: Object, owner_uid: str) -> Object:
        """
        Args:
            owner_uid: of the account that owns it; empty: it is the account itself.
        """
        metadata = manifest["metadata"]
        place = f"{resource.kind} {metadata['namespace']}/{metadata['name']}"
        try:
            stored, _ = await create_or_read(self._client, resource, manifest)
        except GoneError as error:  # the namespace is being deleted, or a role of a binding is missing
            raise UnavailableError(str(error)) from error
        if is_being_deleted(stored):
            raise UnavailableError(f"{place} is being removed")
        labels = stored["metadata"].get("labels") or {}
        if any(labels.get(key) != value for key, value in metadata["labels"].items()):
            raise NameConflictError(f"{place} exists and does not belong to a pool of workers; delete it")
        if owner_uid and all(owner.get("uid") != owner_uid for owner in owners_of(stored)):
            raise UnavailableError(f"{place} of a deleted pool is still being removed")
        if stored.get("roleRef") != manifest.get("roleRef"):
            raise NameConflictError(f"{place} binds another role, which cannot be changed; delete it")
        return stored

    def _turn(self, wanted: WorkersWanted) -> trio.Lock:
        place = (wanted.namespace, wanted.name)
        lock = self._turns.get(place)
        if lock is None:
            self._turns = {other: held for other, held in self._turns.items() if held.locked()}
            lock = self._turns[place] = trio.Lock()
        return lock
