"""The Deployment controller: one ReplicaSet per template; ``rollout`` decides how to scale them."""

from __future__ import annotations

from kubewire import copy_value
from localcluster.controllers import rollout
from localcluster.controllers.context import ControllerContext, owner_reference
from localcluster.controllers.feed import Feed, Key, controller_uid, key_of
from localcluster.controllers.workqueue import WorkQueue
from localcluster.server.types import Object

_DEADLINE_CHECK_SECONDS = 10.0


class DeploymentController:
    """Keeps the ReplicaSets and the status of every Deployment up to date."""

    def __init__(self, context: ControllerContext) -> None:
        self._context = context
        self._deployments = context.feeds.of("apps", "deployments")
        self._sets = context.feeds.of("apps", "replicasets")
        self._queue: WorkQueue[Key] = WorkQueue("deployment", self._reconcile)
        self._keys: dict[str, Key] = {}
        self._deployments.listen(self._deployment_changed)
        self._sets.listen(self._set_changed)

    async def run(self) -> None:
        await self._queue.run()

    def _deployment_changed(self, _: Feed, deployment: Object, gone: bool) -> None:
        uid = deployment["metadata"]["uid"]
        if gone:
            self._keys.pop(uid, None)
        else:
            self._keys[uid] = key_of(deployment)
            self._queue.add(key_of(deployment))

    def _set_changed(self, _: Feed, replica_set: Object, _gone: bool) -> None:
        key = self._keys.get(controller_uid(replica_set) or "")
        if key is not None:
            self._queue.add(key)

    async def _reconcile(self, key: Key) -> None:
        deployment = self._deployments.get(key)
        if deployment is None:
            return
        uid, context = deployment["metadata"]["uid"], self._context
        sets = [entry for entry in self._sets.owned_by(uid) if controller_uid(entry) == uid]
        current = rollout.new_replica_set(deployment, sets)
        if not deployment["metadata"].get("deletionTimestamp"):
            if current is None:
                current = await self._create(deployment, sets)
                sets.append(current)
            deployment = await self._number(deployment, current, sets)
            old = [entry for entry in sets if entry["metadata"]["uid"] != current["metadata"]["uid"]]
            for step in rollout.scaling(deployment, current, old):
                await context.patch(self._sets, step.replica_set, {"spec": {"replicas": step.replicas}})
            for replica_set in rollout.obsolete(deployment, old):
                await context.delete(self._sets, replica_set)
        sets = [self._sets.get(key_of(entry)) or entry for entry in sets]
        status = rollout.deployment_status(deployment, current, sets, context.now())
        if status != (deployment.get("status") or {}):
            await context.replace_status(self._deployments, deployment, status)
        if any(
            entry["type"] == "Progressing" and entry["reason"] == "ReplicaSetUpdated" for entry in status["conditions"]
        ):
            self._queue.add_after(key, _DEADLINE_CHECK_SECONDS)

    async def _create(self, deployment: Object, sets: list[Object]) -> Object:
        manifest = rollout.replica_set_for(deployment, sets, owner_reference(deployment))
        return await self._context.create(self._sets, copy_value(manifest))

    async def _number(self, deployment: Object, current: Object, sets: list[Object]) -> Object:
        """Give the current ReplicaSet, new or reused, the newest revision; give the Deployment the same number."""
        newest = rollout.next_revision([entry for entry in sets if entry is not current])
        if rollout.revision_of(current) < newest:
            patch = {"metadata": {"annotations": {rollout.REVISION: str(newest)}}}
            await self._context.patch(self._sets, current, patch)
        revision = str(max(newest, rollout.revision_of(current)))
        if (deployment["metadata"].get("annotations") or {}).get(rollout.REVISION) == revision:
            return deployment
        patch = {"metadata": {"annotations": {rollout.REVISION: revision}}}
        return await self._context.patch(self._deployments, deployment, patch)
