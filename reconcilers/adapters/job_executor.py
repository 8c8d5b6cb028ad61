"""The executor that runs each attempt as a Kubernetes Job, observed through informers.

Names are the lock: the Job has the name of its StepRun, so the first creator wins, and every other creator finds the
existing Job, checks its owner, and continues. Nothing is adopted, patched or deleted by name alone. The Job has its
attempt and its deadline. Source: StepRun contract 7 and 12, reliability of writes as in ``core.engine.ports``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bubu_contract.canonical import NotJsonError
from core.api import keys
from core.api.objects import Object, controller_of, is_being_deleted, is_controlled_by
from core.api.phases import Reason
from core.api.resource import JOB, POD, STEP_RUN
from core.engine.errors import NameConflictError, RejectedError, StaleError
from core.engine.executor_port import ExecutorTraits, StopReason
from core.engine.ports import JOB as JOB_EXECUTOR
from core.engine.ports import AttemptOrder, AttemptState, EventSink, EventType, Observation
from core.engine.step.record import retries_of
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError
from core.workloads.environment import EnvironmentTooLargeError
from core.workloads.job import step_job
from core.workloads.plain_container import NotPassableError
from core.workloads.step_workload import StepWorkload
from core.workloads.warm_steps import why_not_warm
from reconcilers.adapters.attempt_result import read_attempt, succeeded_container
from reconcilers.adapters.binding import Binder, ResolvedBinding
from reconcilers.adapters.lent_rights import refuse_lent_rights
from reconcilers.adapters.observation import any_alive, is_under_way, is_unexplained, observe
from reconcilers.adapters.ordered_workload import ordered_workload
from reconcilers.adapters.runner import RunnerAccess
from reconcilers.adapters.secret_check import SecretCheck
from reconcilers.adapters.start_check import confirm_start
from reconcilers.adapters.step_runs import KubeStepRuns
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import STEP_RUN_NAME, World
from reconcilers.adapters.writes import confirm, create_or_read, delete


class JobExecutor:
    """Engram steps as Kubernetes Jobs."""

    traits: Final = ExecutorTraits(JOB_EXECUTOR, word="Job")

    def __init__(
        self,
        client: KubeClient,
        world: World,
        step_runs: KubeStepRuns,
        binder: Binder,
        secrets: SecretCheck,
        events: EventSink,
        runner: RunnerAccess,
    ) -> None:
        self._client = client
        self._world = world
        self._step_runs = step_runs
        self._binder = binder
        self._secrets = secrets
        self._events = events
        self._runner = runner

    async def prepare_run(self, run: Object, story: Object) -> None:
        await self._runner.ensure(run, story)

    async def start(self, order: AttemptOrder) -> None:
        account = await self._runner.account_of(order.run, order.story)
        try:
            workload = ordered_workload(order, account)
            manifest = step_job(workload)
        except EnvironmentTooLargeError as error:
            raise RejectedError(str(error), reason=Reason.INPUT_TOO_LARGE) from error
        except NotJsonError as error:
            raise RejectedError(str(error), reason=Reason.EXPRESSION_FAILED) from error
        except NotPassableError as error:
            raise RejectedError(str(error), reason=error.reason) from error
        resolved = ResolvedBinding.of(order)
        await refuse_lent_rights(order, self._binder)
        checked = await self._secrets.check(workload, resolved.settings.storage)
        for note in workload.policy.notes:
            text = f"step {order.step_run['spec']['stepId']}: {note}"
            self._events.emit(order.run, EventType.WARNING, "PolicyEnforced", text)
        manifest = manifest if checked is workload else step_job(checked)
        if why := why_not_warm(resolved.policy, resolved.engram, resolved.template, workload.namespace):
            manifest["metadata"]["annotations"][keys.ANNOTATION_NOT_WARM] = why
            text = f"step {order.step_run['spec']['stepId']} runs as a Job, not in a warm worker: {why}"
            self._events.emit(order.run, EventType.NORMAL, "NotWarm", text)
        if not self._step_runs.take_new(order.step_run):
            await self._step_runs.let_its_maker_go_first(order.step_run)
            if any_alive(await self._pods_named(order.step_run)):
                await self._refuse_beside_living_pods(workload)
            # Last: another leader may do all of this meanwhile, and end the Job that this one would create again.
            await confirm_start(self._client, self._world, order)
        await self._ensure_job(workload, manifest)

    async def _refuse_beside_living_pods(self, workload: StepWorkload) -> None:
        """Living Pods do not matter if the Job of exactly this attempt exists, or a Job of another owner, to which they
        belong.

        Raises:
            StaleError: they belong to an earlier attempt, or to a StepRun that is gone, whose Job is then deleted.
        """
        job = await self._unseen_job(workload.namespace, workload.step_run_name)
        if job is not None and not is_being_deleted(job):
            ours = is_controlled_by(job, workload.step_run_uid)
            if ours and _attempt_of(job) == workload.attempt:
                return
            if not ours and not _is_of_a_predecessor(job, workload.step_run_name):
                return
            if not ours:
                await delete(self._client, self._world.jobs, JOB, job)
        raise StaleError(f"a Pod of an earlier attempt of {workload.step_run_name} is still alive")

    async def _ensure_job(self, workload: StepWorkload, manifest: Object) -> None:
        name, namespace = workload.step_run_name, workload.namespace
        job, _ = await create_or_read(self._client, JOB, manifest)
        if not is_controlled_by(job, workload.step_run_uid):
            if _is_of_a_predecessor(job, name):
                await delete(self._client, self._world.jobs, JOB, job)
                raise StaleError(f"Job {namespace}/{name} of a deleted StepRun still exists")
            raise NameConflictError(f"Job {namespace}/{name} exists and does not belong to this step")
        self._world.jobs.remember(job)
        attempt = _attempt_of(job)
        if attempt != workload.attempt or is_being_deleted(job):
            raise StaleError(f"Job {namespace}/{name} of attempt {attempt} still exists")

    async def observe(self, namespace: str, name: str, step_run: Object | None) -> Observation:
        pods = self._known_pods(namespace, name)
        if step_run is None:
            return Observation(None, AttemptState.LINGERING if any_alive(pods) else AttemptState.ABSENT)
        job = self._world.jobs.get(namespace, name)
        if job is not None and not is_controlled_by(job, step_run["metadata"]["uid"]):
            job = None
        seen = observe(step_run, job, pods)
        if job is not None and is_unexplained(seen):
            return observe(step_run, job, await self._pods_of(job))
        return seen

    async def read_result(self, step_run: Object) -> Mapping[str, Any]:
        job = await self._job_of(step_run)
        if job is None or is_being_deleted(job) or _attempt_of(job) != retries_of(step_run.get("status") or {}):
            raise StaleError(f"the Job of {step_run['metadata']['name']} was deleted, or belongs to another attempt")
        known = self._known_pods(job["metadata"]["namespace"], job["metadata"]["name"])
        own = [pod for pod in known if is_controlled_by(pod, job["metadata"]["uid"])]
        found = succeeded_container(own) or succeeded_container(await self._pods_of(job))
        return await read_attempt(self._client, job, found)

    async def stop(self, step_run: Object, why: StopReason) -> None:
        if why is StopReason.RECORDED:
            await self._stop_leftover(step_run)
            return
        job = await self._job_of(step_run)
        if job is None:
            return
        if why is not StopReason.SUPERSEDED or _attempt_of(job) != retries_of(step_run.get("status") or {}):
            await self._end(step_run, job)

    async def _stop_leftover(self, step_run: Object) -> None:
        job = await self._unseen_job(step_run["metadata"]["namespace"], step_run["metadata"]["name"])
        if job is None or not is_controlled_by(job, step_run["metadata"]["uid"]):
            return
        if is_under_way(observe(step_run, job, await self._pods_of(job))):
            await self._end(step_run, job)

    async def _end(self, step_run: Object, job: Object) -> None:
        if _attempt_of(job) > retries_of(step_run.get("status") or {}):  # another leader's, unless this one is wrong
            await confirm(self._client, self._world.step_runs, STEP_RUN, step_run)
        await delete(self._client, self._world.jobs, JOB, job)

    async def _job_of(self, step_run: Object) -> Object | None:
        metadata = step_run["metadata"]
        job = self._world.jobs.get(metadata["namespace"], metadata["name"])
        if job is None:
            job = await self._unseen_job(metadata["namespace"], metadata["name"])
        return job if job is not None and is_controlled_by(job, metadata["uid"]) else None

    def _known_pods(self, namespace: str, step_run_name: str) -> list[Object]:
        """Pods of Jobs of that name, of any attempt."""
        return self._world.pods.by_index(STEP_RUN_NAME, f"{namespace}/{step_run_name}")

    async def _pods_of(self, job: Object) -> list[Object]:
        """Read from the API server: kinds are watched separately, so the end of a Job may arrive before that of its
        Pod.
        """
        metadata = job["metadata"]
        with port_errors():
            selector = f"{keys.LABEL_JOB_UID}={metadata['uid']}"
            return (await self._client.list(POD, metadata["namespace"], label_selector=selector)).items

    async def _pods_named(self, step_run: Object) -> list[Object]:
        """Pods of all Jobs of that name, read from the API server: the watch of Pods may be behind that of Jobs."""
        metadata = step_run["metadata"]
        with port_errors():
            selector = f"{keys.LABEL_JOB_NAME}={metadata['name']}"
            return (await self._client.list(POD, metadata["namespace"], label_selector=selector)).items

    async def _unseen_job(self, namespace: str, name: str) -> Object | None:
        """A Job that was created a moment ago, by a process that crashed then, may not have reached the informer."""
        with port_errors():
            try:
                return await self._client.get(JOB, name, namespace)
            except NotFoundError:
                return None


def _attempt_of(job: Object) -> int:
    """The attempt of one of our Jobs; -1 when the annotation is missing."""
    text = str((job["metadata"].get("annotations") or {}).get(keys.ANNOTATION_ATTEMPT) or "")
    return int(text) if text.isdecimal() else -1


def _is_of_a_predecessor(job: Object, step_run_name: str) -> bool:
    """Whether it was created for a StepRun of the same name that is gone, and has not been collected yet."""
    owner = controller_of(job)
    return owner is not None and owner.get("kind") == STEP_RUN.kind and owner.get("name") == step_run_name
