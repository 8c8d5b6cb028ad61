"""Makes the objects of a pool of warm workers: account, bindings, copy of the store's Secret, Deployment.

A pool that stands costs no request, unless its Pods cannot start: then all of it is looked at once more, and what is
missing is made again. The Deployment is the last, because it starts the work; the controller
``reconcilers.worker_pool`` scales it, restores the rights of the account, and deletes it. Source: StepRun contract 3.5.
"""

from __future__ import annotations

from typing import Any

import trio

from core.api.objects import Object, is_being_deleted
from core.api.resource import SERVICE_ACCOUNT, WORKER_DEPLOYMENT
from core.engine.errors import NameConflictError
from core.kube.client import KubeClient
from core.policy.settings import StorageSettings
from core.workloads.storage_copy import CopyOwner
from core.workloads.worker_pool import WorkersWanted, standing_pool
from reconcilers.adapters.pool_objects import PoolObjects
from reconcilers.adapters.secret_check import SecretCheck
from reconcilers.adapters.world import World


class WorkerPools:
    """One caller at a time makes a pool; the others find it."""

    def __init__(self, client: KubeClient, world: World, secrets: SecretCheck) -> None:
        self._objects = PoolObjects(client, world)
        self._deployments = world.informer(WORKER_DEPLOYMENT)
        self._secrets = secrets
        self._turns: dict[tuple[str, str], trio.Lock] = {}
        self._doubted: set[tuple[str, str]] = set()

    def doubt(self, namespace: str, name: str) -> None:
        """A Pod of the pool cannot start: look at everything when the pool is needed next."""
        self._doubted.add((namespace, name))

    def is_there(self, wanted: WorkersWanted) -> bool:
        if (wanted.namespace, wanted.name) in self._doubted:
            return False
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
                self._doubted.discard((wanted.namespace, wanted.name))

    async def _make(self, wanted: WorkersWanted, storage: StorageSettings) -> None:
        namespace, name = wanted.namespace, wanted.name
        account = await self._objects.ensure(SERVICE_ACCOUNT, wanted.account())
        uid = str(account["metadata"]["uid"])
        await self._objects.ensure_rights(namespace, name, uid)
        owner = CopyOwner(SERVICE_ACCOUNT, namespace, name, uid, account["metadata"].get("labels") or {})
        checked = await self._secrets.check(wanted.workload, storage, owner)
        manifest = wanted.deployment(uid, checked.policy)
        made = await self._objects.ensure(WORKER_DEPLOYMENT, manifest, uid)
        if patch := _outdated(made, manifest):
            made = await self._objects.patch(WORKER_DEPLOYMENT, made, patch)
        if standing_pool(made) is None:
            raise NameConflictError(f"Deployment {namespace}/{name} was changed; delete it")
        self._deployments.remember(made)

    def _turn(self, wanted: WorkersWanted) -> trio.Lock:
        place = (wanted.namespace, wanted.name)
        lock = self._turns.get(place)
        if lock is None:
            self._turns = {other: held for other, held in self._turns.items() if held.locked()}
            lock = self._turns[place] = trio.Lock()
        return lock


def _outdated(stored: Object, manifest: Object) -> Object:
    """The merge patch for a Deployment whose Pods would not be those of this account, or would read a copy of the
    store's Secret that cannot be made again; empty if they are right. It replaces all Pods.
    """
    have, want = stored["spec"]["template"], manifest["spec"]["template"]
    if _secrets_of(have) == _secrets_of(want):
        return {}
    return {"spec": {"template": {"spec": {"containers": want["spec"]["containers"]}}}}


def _secrets_of(template: Object) -> list[Any]:
    """The Secrets that variables are from."""
    variables = [each for container in template["spec"]["containers"] for each in container.get("env") or ()]
    references = [(each["name"], (each.get("valueFrom") or {}).get("secretKeyRef")) for each in variables]
    return [(name, found["name"], found["key"]) for name, found in references if found]
