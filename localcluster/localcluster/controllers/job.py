"""The Job controller: executes the decisions of ``job_decision``."""

from __future__ import annotations

from localcluster.controllers.context import ControllerContext, pod_from_template
from localcluster.controllers.feed import Feed, Key, controller_uid, key_of
from localcluster.controllers.job_decision import JobDecision, job_actions
from localcluster.controllers.workqueue import WorkQueue
from localcluster.server.options import Propagation
from localcluster.server.types import Object

_COUNT_DELAY_SECONDS = 0.5  # counters may wait for the end of a short Pod: one write instead of three
_MANAGED_BY = "kubernetes.io/job-controller"


class JobController:
    """Keeps the Pods and the status of every Job up to date."""

    def __init__(self, context: ControllerContext) -> None:
        self._context = context
        self._jobs = context.feeds.of("batch", "jobs")
        self._pods = context.feeds.of("", "pods")
        self._queue: WorkQueue[Key] = WorkQueue("job", self._reconcile)
        self._keys: dict[str, Key] = {}
        self._owed: dict[Key, float] = {}
        self._jobs.listen(self._job_changed)
        self._pods.listen(self._pod_changed)

    async def run(self) -> None:
        await self._queue.run()

    def _job_changed(self, _: Feed, job: Object, gone: bool) -> None:
        uid = job["metadata"]["uid"]
        if gone:
            self._keys.pop(uid, None)
            self._owed.pop(key_of(job), None)
        else:
            self._keys[uid] = key_of(job)
            self._queue.add(key_of(job))

    def _pod_changed(self, _: Feed, pod: Object, _gone: bool) -> None:
        key = self._keys.get(controller_uid(pod) or "")
        if key is not None:
            self._queue.add(key)

    async def _reconcile(self, key: Key) -> None:
        job = self._jobs.get(key)
        if job is None or job["spec"].get("managedBy") not in (None, _MANAGED_BY):
            return
        context, now = self._context, self._context.now()
        uid = job["metadata"]["uid"]
        pods = [pod for pod in self._pods.owned_by(uid) if controller_uid(pod) == uid]
        decision = job_actions(job, pods, now, failure_delay_seconds=context.job_failure_delay_seconds)
        if decision.remove_job:
            await context.delete(self._jobs, job, Propagation.FOREGROUND)
            return
        for _ in range(decision.create):
            await context.create(self._pods, pod_from_template(job["spec"]["template"], job, context.node_name))
        await self._store(key, job, decision)
        for pod in decision.delete:
            await context.delete(self._pods, pod)
        if decision.wake_at is not None:
            self._queue.add_after(key, (decision.wake_at - now).total_seconds())

    async def _store(self, key: Key, job: Object, decision: JobDecision) -> None:
        """Write the status; if only counters changed, wait ``_COUNT_DELAY_SECONDS`` for the next change."""
        now = self._context.now().timestamp()
        if decision.status is None:
            self._owed.pop(key, None)
            return
        owed_since = self._owed.setdefault(key, now)
        if not decision.urgent and now - owed_since < _COUNT_DELAY_SECONDS:
            self._queue.add_after(key, _COUNT_DELAY_SECONDS)
            return
        self._owed.pop(key, None)
        await self._context.replace_status(self._jobs, job, decision.status)
