"""The StatefulSet controller: executes the decisions of ``stateful_decision``."""

from __future__ import annotations

from localcluster.controllers.context import ControllerContext, pod_from_template
from localcluster.controllers.feed import Feed, Key, controller_uid, key_of
from localcluster.controllers.stateful_decision import claims_of, pod_of, stateful_actions
from localcluster.controllers.workqueue import WorkQueue
from localcluster.server.errors import StatusError
from localcluster.server.types import Object


class StatefulSetController:
    """Keeps the Pods and the status of every StatefulSet up to date. It does not adopt Pods without an owner."""

    def __init__(self, context: ControllerContext) -> None:
        self._context = context
        self._sets = context.feeds.of("apps", "statefulsets")
        self._pods = context.feeds.of("", "pods")
        self._claims = context.feeds.of("", "persistentvolumeclaims")
        self._queue: WorkQueue[Key] = WorkQueue("statefulset", self._reconcile)
        self._keys: dict[str, Key] = {}
        self._sets.listen(self._set_changed)
        self._pods.listen(self._pod_changed)

    async def run(self) -> None:
        await self._queue.run()

    def _set_changed(self, _: Feed, stateful_set: Object, gone: bool) -> None:
        uid = stateful_set["metadata"]["uid"]
        if gone:
            self._keys.pop(uid, None)
        else:
            self._keys[uid] = key_of(stateful_set)
            self._queue.add(key_of(stateful_set))

    def _pod_changed(self, _: Feed, pod: Object, _gone: bool) -> None:
        key = self._keys.get(controller_uid(pod) or "")
        if key is not None:
            self._queue.add(key)

    async def _reconcile(self, key: Key) -> None:
        stateful_set = self._sets.get(key)
        if stateful_set is None:
            return
        context, now = self._context, self._context.now()
        uid = stateful_set["metadata"]["uid"]
        pods = [pod for pod in self._pods.owned_by(uid) if controller_uid(pod) == uid]
        decision = stateful_actions(stateful_set, pods, now)
        for ordinal in decision.create:
            for claim in claims_of(stateful_set, ordinal):
                await self._claim(claim)
            made = pod_from_template(stateful_set["spec"]["template"], stateful_set, context.node_name)
            await context.create(self._pods, pod_of(stateful_set, ordinal, made))
        for pod in decision.delete:
            await context.delete(self._pods, pod)
        if decision.status != (stateful_set.get("status") or {}):
            await context.replace_status(self._sets, stateful_set, decision.status)
        if decision.wake_at is not None:
            self._queue.add_after(key, (decision.wake_at - now).total_seconds())

    async def _claim(self, claim: Object) -> None:
        """A claim that is there belongs to an earlier Pod with that ordinal, and is used again."""
        if self._claims.get(key_of(claim)) is None:
            try:
                await self._context.create(self._claims, claim)
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
