"""The ReplicaSet controller: keeps the desired number of Pods, and counts them in the status."""

from __future__ import annotations

from localcluster.controllers.context import ControllerContext, pod_from_template
from localcluster.controllers.feed import Feed, Key, controller_uid, key_of
from localcluster.controllers.replicas import replica_actions, with_failure
from localcluster.controllers.workqueue import WorkQueue
from localcluster.server.errors import StatusError
from localcluster.server.types import Object


class ReplicaSetController:
    """Keeps the Pods of every ReplicaSet up to date. It does not adopt Pods without an owner."""

    def __init__(self, context: ControllerContext) -> None:
        self._context = context
        self._sets = context.feeds.of("apps", "replicasets")
        self._pods = context.feeds.of("", "pods")
        self._queue: WorkQueue[Key] = WorkQueue("replicaset", self._reconcile)
        self._keys: dict[str, Key] = {}
        self._sets.listen(self._set_changed)
        self._pods.listen(self._pod_changed)

    async def run(self) -> None:
        await self._queue.run()

    def _set_changed(self, _: Feed, replica_set: Object, gone: bool) -> None:
        uid = replica_set["metadata"]["uid"]
        if gone:
            self._keys.pop(uid, None)
        else:
            self._keys[uid] = key_of(replica_set)
            self._queue.add(key_of(replica_set))

    def _pod_changed(self, _: Feed, pod: Object, _gone: bool) -> None:
        key = self._keys.get(controller_uid(pod) or "")
        if key is not None:
            self._queue.add(key)

    async def _reconcile(self, key: Key) -> None:
        replica_set = self._sets.get(key)
        if replica_set is None:
            return
        context, now = self._context, self._context.now()
        uid = replica_set["metadata"]["uid"]
        pods = [pod for pod in self._pods.owned_by(uid) if controller_uid(pod) == uid]
        decision = replica_actions(replica_set, pods, now)
        refusal = await self._create_pods(replica_set, decision.create)
        for pod in decision.delete:
            await context.delete(self._pods, pod)
        previous = replica_set.get("status") or {}
        status = with_failure(decision.status, previous, str(refusal or ""), now)
        if status != previous:
            await context.replace_status(self._sets, replica_set, status)
        if refusal is not None:
            raise refusal
        if decision.wake_at is not None:
            self._queue.add_after(key, (decision.wake_at - now).total_seconds())

    async def _create_pods(self, replica_set: Object, count: int) -> StatusError | None:
        """The error at which it stopped: it is tried again later, and the status says so until then."""
        context, template = self._context, replica_set["spec"]["template"]
        for _ in range(count):
            try:
                await context.create(self._pods, pod_from_template(template, replica_set, context.node_name))
            except StatusError as error:
                return error
        return None
