"""The executor of Jobs on the model cluster, for one process of the operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from core.api.objects import Object, step_path
from core.engine.errors import NameConflictError, ResultLostError, StaleError
from core.engine.executor_port import StopReason
from core.engine.ports import AttemptOrder, AttemptState, Observation
from core.engine.redrive.request import pending_redrive
from core.engine.step.record import is_asked_to_end, retries_of
from fuzz.engine.adapters import ModelStepRuns, confirm, delete
from fuzz.engine.cluster import Cluster
from fuzz.engine.process import Process
from fuzz.engine.watches import controlled_by
from fuzz.engine.worker import ARGUMENTS, LEFT
from kubewire import copy_value
from reconcilers.adapters.job_executor import JobExecutor

T = TypeVar("T")


@dataclass
class ModelJobExecutor:
    """Creates a Job for each attempt, as ``reconcilers.adapters.job_executor`` does; ``worker`` plays its Pods."""

    traits = JobExecutor.traits

    cluster: Cluster
    process: Process
    step_runs: ModelStepRuns

    async def prepare_run(self, run: Object, story: Object) -> None:
        await self._call(lambda: None)

    async def start(self, order: AttemptOrder) -> None:
        if not self.step_runs.take_new(order.step_run):
            await confirm(self.cluster, self.process, order.step_run)
            run = await confirm(self.cluster, self.process, order.run)
            if is_asked_to_end(order.run, run) and not order.outlives_cancel:
                raise StaleError("the run has been canceled")
            if pending_redrive(run) is not None:
                raise StaleError("the run is to run again")
            named = order.step_run["metadata"]["namespace"], order.step_run["metadata"]["name"]
            pods = await self._call(lambda: self.cluster.list_all("Pod"))
            alive = [pod for pod in pods if (pod["metadata"]["namespace"], pod["spec"]["stepRun"]) == named]
            if _any_alive(alive) and not await self._is_started(order):
                raise StaleError("a Pod of an earlier attempt is still alive")
        job = await self.process.write(self.cluster, lambda: self._start(order))
        self.process.known.remember(job)
        if job["spec"]["attempt"] != order.attempt or job["metadata"].get("deletionTimestamp"):
            raise StaleError("a Job of another attempt is still there")

    async def observe(self, namespace: str, name: str, step_run: Object | None) -> Observation:
        self.process.check()
        known = self.process.known
        if step_run is None:
            alive = _any_alive(known.pods_of(namespace, name))
            return Observation(None, AttemptState.LINGERING if alive else AttemptState.ABSENT)
        job = known.get("Job", namespace, name)
        if job is not None and not controlled_by(job, step_run["metadata"]["uid"]):
            job = None
        pods = known.pods_of(namespace, name)
        if job is not None and (job.get("status") or {}).get("failed"):  # the watch of its Pod may be behind
            uid = job["metadata"]["uid"]
            pods = await self._call(lambda: [pod for pod in self.cluster.list_all("Pod") if controlled_by(pod, uid)])
        return _observation(step_run, job, pods)

    async def read_result(self, step_run: Object) -> Mapping[str, Any]:
        job = await self._job_of(step_run)
        if job is None or job["spec"]["attempt"] != retries_of(step_run.get("status") or {}):
            raise StaleError("the Job was deleted, or belongs to another attempt")
        uid = job["metadata"]["uid"]
        pods = await self._call(lambda: [pod for pod in self.cluster.list_all("Pod") if controlled_by(pod, uid)])
        left = [pod["status"][LEFT] for pod in pods if LEFT in (pod.get("status") or {})]
        if not left:
            raise ResultLostError("its Pod is gone")
        output: Mapping[str, Any] = copy_value(left[-1])
        return output

    async def stop(self, step_run: Object, why: StopReason) -> None:
        if why is StopReason.RECORDED:
            await self._stop_leftover(step_run)
            return
        job = await self._job_of(step_run)
        if job is None:
            return
        if why is not StopReason.SUPERSEDED or job["spec"]["attempt"] != retries_of(step_run.get("status") or {}):
            await self._end(step_run, job)

    async def _stop_leftover(self, step_run: Object) -> None:
        namespace, name = step_run["metadata"]["namespace"], step_run["metadata"]["name"]
        job = await self._call(lambda: self.cluster.get("Job", namespace, name))
        if job is None or not controlled_by(job, step_run["metadata"]["uid"]):
            return
        uid = job["metadata"]["uid"]
        pods = await self._call(lambda: [pod for pod in self.cluster.list_all("Pod") if controlled_by(pod, uid)])
        if _observation(step_run, job, pods).state in (AttemptState.STARTING, AttemptState.RUNNING):
            await self._end(step_run, job)

    async def _end(self, step_run: Object, job: Object) -> None:
        if job["spec"]["attempt"] > retries_of(step_run.get("status") or {}):
            await confirm(self.cluster, self.process, step_run)
        await delete(self.cluster, self.process, job)

    async def _job_of(self, step_run: Object) -> Object | None:
        namespace, name = step_run["metadata"]["namespace"], step_run["metadata"]["name"]
        self.process.check()
        job = self.process.known.get("Job", namespace, name)
        if job is None:
            job = await self._call(lambda: self.cluster.get("Job", namespace, name))
        return job if job is not None and controlled_by(job, step_run["metadata"]["uid"]) else None

    async def _call(self, apply: Callable[[], T]) -> T:
        return await self.process.call(self.cluster, apply)

    async def _is_started(self, order: AttemptOrder) -> bool:
        metadata = order.step_run["metadata"]
        job = await self._call(lambda: self.cluster.get("Job", metadata["namespace"], metadata["name"]))
        if job is None or job["metadata"].get("deletionTimestamp"):
            return False
        return controlled_by(job, metadata["uid"]) and bool(job["spec"]["attempt"] == order.attempt)

    def _start(self, order: AttemptOrder) -> Object:
        assert order.deadline_at is not None, "every Job has a deadline"
        metadata = order.step_run["metadata"]
        manifest: Object = {
            "kind": "Job",
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "ownerReferences": [
                    {"kind": "StepRun", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
                ],
            },
            "spec": {
                "stepRun": metadata["name"],
                "step": step_path(order.step_run),
                "attempt": order.attempt,
                "deadlineAt": order.deadline_at.isoformat(),
                "executionKey": order.execution_key,
                "inputs": dict(order.inputs),
                "resolved": order.is_resolved,
                **({ARGUMENTS: copy_value(order.container["args"])} if order.container is not None else {}),
            },
        }
        created = self.cluster.create(self.process.actor, manifest)
        if created is not None:
            return created
        job = self.cluster.get("Job", metadata["namespace"], metadata["name"])
        assert job is not None
        if not controlled_by(job, metadata["uid"]):
            raise NameConflictError("the Job belongs to another owner")
        return job


def _any_alive(pods: list[Object]) -> bool:
    return any(_pod_phase(pod) not in ("Succeeded", "Failed") for pod in pods)


def _observation(step_run: Object, job: Object | None, pods: list[Object]) -> Observation:
    """Reads the objects as ``reconcilers.adapters.observation`` reads the real ones."""
    if job is None or job["metadata"].get("deletionTimestamp"):
        alive = job is not None or _any_alive(pods)
        return Observation(step_run, AttemptState.LINGERING if alive else AttemptState.ABSENT)
    own = [pod for pod in pods if controlled_by(pod, job["metadata"]["uid"])]
    status = (own[-1].get("status") or {}) if own else {}
    state = _ATTEMPT_STATES[str(status.get("phase") or "Pending")]
    if state is AttemptState.STARTING and (job.get("status") or {}).get("failed"):
        state = AttemptState.FAILED
    if state is AttemptState.STARTING and (job.get("status") or {}).get("succeeded"):
        state = AttemptState.SUCCEEDED
    return Observation(
        step_run,
        state,
        attempt=job["spec"]["attempt"],
        exit_code=status.get("exitCode"),
        deadline_at=datetime.fromisoformat(job["spec"]["deadlineAt"]),
        has_result=ARGUMENTS in job["spec"],
        execution_key=job["spec"]["executionKey"],
    )


def _pod_phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


_ATTEMPT_STATES = {
    "Pending": AttemptState.STARTING,
    "Running": AttemptState.RUNNING,
    "Succeeded": AttemptState.SUCCEEDED,
    "Failed": AttemptState.FAILED,
}
