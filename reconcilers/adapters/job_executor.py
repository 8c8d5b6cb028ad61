"""``StepExecutor`` on an API server: StepRuns and Jobs, observed through informers.

Names are the lock: a StepRun and its Job have names that follow from run and step, so whoever creates first wins and
everybody else finds what is there, checks whose it is, and goes on. Nothing is adopted, patched or deleted by name
alone. Source: StepRun contract 7 and 12, reliability of writes as in ``core.engine.ports``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from core.kube.client import KubeClient

from core.api import keys
from core.api.instant import parse_instant_or_none
from core.api.phases import Reason
from core.api.resource import JOB, STEP_RUN
from core.engine.errors import NameConflictError, RejectedError, StaleError
from core.engine.ports import AttemptOrder, Binding, EventSink, Object, Observation
from core.kube.errors import AlreadyExistsError, NotFoundError
from core.workloads.environment import EnvironmentTooLargeError
from core.workloads.job import step_job
from core.workloads.step_workload import StepWorkload
from core.workloads.tls import tls_secret_name
from reconcilers.adapters.binding import Binder, ResolvedStep
from reconcilers.adapters.observation import observe
from reconcilers.adapters.payload import encode
from reconcilers.adapters.run_store import patch_metadata, patch_step_run
from reconcilers.adapters.runner import RunnerAccess
from reconcilers.adapters.secret_check import SecretCheck
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import OWNER_UID, STEP_RUN_NAME, World, controlled_by


class JobExecutor:
    """Engram steps as Kubernetes Jobs."""

    def __init__(
        self, client: KubeClient, world: World, binder: Binder, secrets: SecretCheck, events: EventSink
    ) -> None:
        self._client = client
        self._world = world
        self._binder = binder
        self._secrets = secrets
        self._runner = RunnerAccess(client, binder, events)

    async def prepare_run(self, run: Object, story: Object) -> None:
        await self._runner.ensure(run, story)

    async def bind(self, run: Object, story: Object, step: Mapping[str, Any]) -> Binding:
        del run  # references are resolved from the Story's namespace
        return await self._binder.bind(story, step)

    async def step_runs(self, run: Object) -> list[Object]:
        return self._world.step_runs.by_index(OWNER_UID, run["metadata"]["uid"])

    async def create_step_run(self, run: Object, manifest: Object) -> Object:
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        with port_errors():
            try:
                stored = await self._client.create(STEP_RUN, manifest, namespace=namespace)
            except AlreadyExistsError:
                stored = await self._client.get(STEP_RUN, name, namespace)
        if not controlled_by(stored, run["metadata"]["uid"]):
            raise NameConflictError(f"StepRun {namespace}/{name} exists and does not belong to this run")
        if stored["spec"].get("stepId") != manifest["spec"]["stepId"]:
            raise NameConflictError(
                f"StepRun {namespace}/{name} belongs to step {stored['spec'].get('stepId')!r}; "
                f"rename step {manifest['spec']['stepId']!r} so that their names differ"
            )
        self._world.step_runs.remember(stored)
        return stored

    async def start_attempt(self, order: AttemptOrder) -> None:
        workload = _workload(order)
        resolved: ResolvedStep = order.binding.policy
        await self._secrets.check(workload, resolved.settings.storage.s3_auth_secret_name)
        try:
            manifest = step_job(workload)
        except EnvironmentTooLargeError as error:
            raise RejectedError(str(error), reason=Reason.INPUT_TOO_LARGE) from error
        name, namespace = workload.step_run_name, workload.namespace
        with port_errors():
            try:
                job = await self._client.create(JOB, manifest, namespace=namespace)
            except AlreadyExistsError:
                job = await self._client.get(JOB, name, namespace)
        if not controlled_by(job, workload.step_run_uid):
            raise NameConflictError(f"Job {namespace}/{name} exists and does not belong to this step")
        self._world.jobs.remember(job)
        running = (job["metadata"].get("annotations") or {}).get(keys.ANNOTATION_ATTEMPT)
        if running != str(order.attempt) or job["metadata"].get("deletionTimestamp"):
            raise StaleError(f"Job {namespace}/{name} of attempt {running} is still there")

    async def observe(self, run: Object, step_run_name: str) -> Observation:
        namespace, uid = run["metadata"]["namespace"], run["metadata"]["uid"]
        step_run = self._world.step_runs.get(namespace, step_run_name)
        if step_run is None or not controlled_by(step_run, uid):
            return Observation(None)
        job = self._world.jobs.get(namespace, step_run_name)
        if job is not None and not controlled_by(job, step_run["metadata"]["uid"]):
            job = None
        return observe(step_run, job, self._world.pods.by_index(STEP_RUN_NAME, f"{namespace}/{step_run_name}"))

    async def patch_step_run_status(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        return await patch_step_run(self._client, self._world, step_run, patch)

    async def patch_step_run_metadata(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        return await patch_metadata(self._client, self._world.step_runs, STEP_RUN, step_run, patch)

    async def end_attempt(self, step_run: Object) -> None:
        namespace, name = step_run["metadata"]["namespace"], step_run["metadata"]["name"]
        job = self._world.jobs.get(namespace, name)
        if job is None:
            job = await self._live_job(namespace, name)
        if job is None or not controlled_by(job, step_run["metadata"]["uid"]):
            return
        uid = job["metadata"]["uid"]
        with port_errors(), contextlib.suppress(NotFoundError):
            await self._client.delete(JOB, name, namespace, uid=uid, propagation="Background")
        self._world.jobs.forget(namespace, name, uid)

    async def delete_step_run(self, step_run: Object) -> None:
        namespace, name = step_run["metadata"]["namespace"], step_run["metadata"]["name"]
        uid = step_run["metadata"]["uid"]
        with port_errors(), contextlib.suppress(NotFoundError):
            await self._client.delete(STEP_RUN, name, namespace, uid=uid, propagation="Background")
        self._world.step_runs.forget(namespace, name, uid)

    async def _live_job(self, namespace: str, name: str) -> Object | None:
        """A Job created by an earlier process may not have reached this one's informer yet."""
        with port_errors():
            try:
                return await self._client.get(JOB, name, namespace)
            except NotFoundError:
                return None


def _workload(order: AttemptOrder) -> StepWorkload:
    resolved: ResolvedStep = order.binding.policy
    story_policy = (order.story["spec"].get("policy") or {}).get("execution") or {}
    metadata = order.step_run["metadata"]
    status = order.step_run.get("status") or {}
    started = parse_instant_or_none(status.get("startedAt")) or parse_instant_or_none(metadata["creationTimestamp"])
    assert started is not None, "the API server stamps every object"
    inputs = encode(order.inputs)
    return StepWorkload(
        namespace=metadata["namespace"],
        step_run_name=metadata["name"],
        step_run_uid=metadata["uid"],
        step_id=order.step["name"],
        story_run_name=order.run["metadata"]["name"],
        story_name=order.story["metadata"]["name"],
        story_version=order.story["spec"].get("version") or "",
        engram_name=order.binding.engram_name,
        engram_version=(resolved.engram["spec"].get("version") or "").strip(),
        attempt=order.attempt,
        policy=resolved.policy,
        settings=resolved.settings.engram,
        timeout=order.binding.timeout,
        deadline_at=order.deadline_at,
        started_at=started,
        max_recursion_depth=story_policy.get("maxRecursionDepth") or resolved.settings.engram.max_recursion_depth,
        trigger_data=inputs,
        step_config=inputs,
        template_context=encode(order.template_context),
        secret_schema=resolved.template["spec"].get("secretSchema") or {},
        tls_secret=tls_secret_name(resolved.engram),
        correlation_id=(order.run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_CORRELATION_ID, ""),
    )
