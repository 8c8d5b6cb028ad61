"""The engine's ports on the model cluster, for one process of the operator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from math import inf
from typing import Any, TypeVar

import trio

from core.api.objects import has_ended, step_path, without_data
from core.engine.errors import GoneError, MissingReferenceError, NameConflictError, StaleError
from core.engine.ports import AttemptOrder, AttemptState, Binding, Observation, RunKey
from core.engine.redrive.request import may_have_a_past, pending_redrive
from core.engine.step.record import is_asked_to_end, is_overtaken, retries_of
from core.policy.retry import RetryPolicy
from fuzz.engine.cluster import Cluster, Object, place_of
from fuzz.engine.process import Process
from fuzz.engine.routing import story_of
from fuzz.engine.watches import controlled_by
from fuzz.engine.worker import Worker
from kubewire.wire import copy_value, values_equal

T = TypeVar("T")


NEW_SECONDS = 1.0
"""After which another leader may have started, and ended, the first attempt of what a process has made."""


@dataclass(frozen=True)
class Engram:
    """What ``bind`` finds for a reference."""

    timeout_seconds: float = 1800.0
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(max_retries=0))
    default_with: Mapping[str, Any] | None = None
    max_inline_size_bytes: int = 4096
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    declared_output_keys: frozenset[str] | None = None


@dataclass
class ModelRunStore:
    """Reads out of the process's caches and asks for what they lack, writes with preconditions, as production does."""

    cluster: Cluster
    process: Process

    async def read_run(self, key: RunKey) -> Object | None:
        return await self._find("StoryRun", key.namespace, key.name)

    async def read_run_anew(self, key: RunKey) -> Object | None:
        stored = await self.process.call(self.cluster, lambda: self.cluster.get("StoryRun", *key))
        if stored is not None:
            self.process.known.remember(stored)
        return stored

    async def read_story(self, namespace: str, name: str) -> Object | None:
        return await self._find("Story", namespace, name)

    async def patch_run_status(self, run: Object, patch: Mapping[str, Any]) -> Object:
        return await self._patch(run, "status", patch)

    async def patch_run_metadata(self, run: Object, patch: Mapping[str, Any]) -> Object:
        return await self._patch(run, "metadata", patch)

    async def create_child_run(self, run: Object, manifest: Object) -> Object:
        if step_path(manifest) in ((run.get("status") or {}).get("stepStates") or {}):
            await confirm(self.cluster, self.process, run)
        stored = await self.process.call(self.cluster, lambda: self._create_child(run, manifest))
        self.process.known.remember(stored)
        return stored

    async def child_runs(self, run: Object) -> list[Object]:
        self.process.check()
        return self.process.known.by_owner("StoryRun", run["metadata"]["uid"])

    async def request_cancel(self, run: Object) -> None:
        stored = await self.process.call(self.cluster, lambda: self._request_cancel(run))
        if stored is not None:
            self.process.known.remember(stored)

    async def delete_child_run(self, run: Object) -> None:
        await _delete(self.cluster, self.process, run)

    async def live_runs_of_story(self, namespace: str, name: str) -> list[Object]:
        self.process.check()
        runs = self.process.known.all("StoryRun")
        return [
            run
            for run in runs
            if story_of(run) == (namespace, name)
            and not has_ended(run)
            and not run["metadata"].get("deletionTimestamp")
        ]

    async def pin_story(self, story: Object) -> str:
        return await self.process.call(self.cluster, lambda: self._pin(story))

    async def read_pinned_story(self, namespace: str, name: str) -> Object | None:
        revision = await self.process.call(
            self.cluster, lambda: self.cluster.get("ControllerRevision", namespace, name)
        )
        return None if revision is None else dict(revision["data"])

    async def _find(self, kind: str, namespace: str, name: str) -> Object | None:
        self.process.check()
        known = self.process.known.get(kind, namespace, name)
        if known is not None:
            return known
        return await self.process.call(self.cluster, lambda: self.cluster.get(kind, namespace, name))

    async def _patch(self, run: Object, part: str, patch: Mapping[str, Any]) -> Object:
        return await _patch(self.cluster, self.process, run, part, patch)

    def _create_child(self, run: Object, manifest: Object) -> Object:
        created = self.cluster.create(self.process.actor, manifest)
        if created is not None:
            return created
        existing = self.cluster.get("StoryRun", manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        assert existing is not None
        wanted, found = manifest["spec"], existing["spec"]
        same = all(values_equal(found.get(key), wanted.get(key)) for key in ("storyRef", "inputs"))
        if same and controlled_by(existing, run["metadata"]["uid"]):
            return existing
        raise NameConflictError("the StoryRun belongs to somebody else, or is of another Story or other inputs")

    def _request_cancel(self, run: Object) -> Object | None:
        place = place_of(run)
        stored = self.cluster.objects.get(place)
        if stored is None or stored["metadata"]["uid"] != run["metadata"]["uid"] or has_ended(stored):
            return None
        return self.cluster.force_patch(self.process.actor, place, "spec", {"cancelRequested": True})

    def _pin(self, story: Object) -> str:
        metadata = story["metadata"]
        kept = {"metadata": {key: metadata[key] for key in ("name", "namespace", "uid")}, "spec": story["spec"]}
        digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:10]
        name = f"{metadata['name']}-{digest}"
        manifest: Object = {
            "kind": "ControllerRevision",
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "data": copy_value(story),
        }
        self.cluster.create(self.process.actor, manifest)
        return name


@dataclass
class ModelStepExecutor:
    cluster: Cluster
    process: Process
    worker: Worker
    engrams: Mapping[str, Engram]
    """By name; a missing one is a missing reference."""
    new: dict[str, float] = field(default_factory=dict)
    """When this process has made StepRuns, for the first time, that it has not yet made a Job for, by UID."""

    async def prepare_run(self, run: Object, story: Object) -> None:
        await self._call(lambda: None)

    async def bind(self, run: Object, story: Object, step: Mapping[str, Any]) -> Binding:
        self.process.check()
        return self._binding(step)

    async def step_runs(self, run: Object) -> list[Object]:
        self.process.check()
        return [without_data(one) for one in self.whole_step_runs(run)]

    def whole_step_runs(self, run: Object) -> Iterator[Object]:
        return iter(self.process.known.by_owner("StepRun", run["metadata"]["uid"]))

    async def create_step_run(self, run: Object, manifest: Object, again: bool = False) -> Object:
        anew = again or step_path(manifest) in ((run.get("status") or {}).get("stepStates") or {})
        if anew:
            await confirm(self.cluster, self.process, run)
        stored, made = await self._call(lambda: self._create_step_run(run, manifest))
        known = partial(self.process.known.get, "StoryRun")
        if made and not anew and not may_have_a_past(run, known):
            self.new[stored["metadata"]["uid"]] = trio.current_time()
        self.process.known.remember(stored)
        return stored

    async def start_attempt(self, order: AttemptOrder) -> None:
        made_at = self.new.pop(order.step_run["metadata"]["uid"], -inf)
        if trio.current_time() - made_at > NEW_SECONDS:
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
        job = await self._call(lambda: self._start(order))
        self.process.known.remember(job)
        if job["spec"]["attempt"] != order.attempt or job["metadata"].get("deletionTimestamp"):
            raise StaleError("a Job of another attempt is still there")

    async def observe(self, run: Object, step_run_name: str) -> Observation:
        self.process.check()
        known, namespace = self.process.known, run["metadata"]["namespace"]
        step_run = known.get("StepRun", namespace, step_run_name)
        if step_run is None or not controlled_by(step_run, run["metadata"]["uid"]):
            alive = _any_alive(known.pods_of(namespace, step_run_name))
            return Observation(None, AttemptState.LINGERING if alive else AttemptState.ABSENT)
        job = known.get("Job", namespace, step_run_name)
        if job is not None and not controlled_by(job, step_run["metadata"]["uid"]):
            job = None
        pods = known.pods_of(namespace, step_run_name)
        if job is not None and (job.get("status") or {}).get("failed"):  # its Pod's watch may be behind
            uid = job["metadata"]["uid"]
            pods = await self._call(lambda: [pod for pod in self.cluster.list_all("Pod") if controlled_by(pod, uid)])
        return _observation(step_run, job, pods)

    async def patch_step_run_status(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        return await _patch(self.cluster, self.process, step_run, "status", patch)

    async def patch_step_run_metadata(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        return await _patch(self.cluster, self.process, step_run, "metadata", patch)

    async def end_attempt(self, step_run: Object) -> None:
        job = await self._job_of(step_run)
        if job is not None:
            await self._end(step_run, job)

    async def end_earlier_attempt(self, step_run: Object) -> None:
        job = await self._job_of(step_run)
        if job is not None and job["spec"]["attempt"] != retries_of(step_run.get("status") or {}):
            await self._end(step_run, job)

    async def end_leftover(self, step_run: Object) -> None:
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
        await _delete(self.cluster, self.process, job)

    async def _job_of(self, step_run: Object) -> Object | None:
        namespace, name = step_run["metadata"]["namespace"], step_run["metadata"]["name"]
        self.process.check()
        job = self.process.known.get("Job", namespace, name)
        if job is None:
            job = await self._call(lambda: self.cluster.get("Job", namespace, name))
        return job if job is not None and controlled_by(job, step_run["metadata"]["uid"]) else None

    async def delete_step_run(self, step_run: Object) -> None:
        await _delete(self.cluster, self.process, step_run)

    async def occupants(self) -> list[Object]:
        return await self._call(lambda: [found for found in self.cluster.list_all("StepRun") if not has_ended(found)])

    async def _call(self, apply: Callable[[], T]) -> T:
        return await self.process.call(self.cluster, apply)

    async def _is_started(self, order: AttemptOrder) -> bool:
        metadata = order.step_run["metadata"]
        job = await self._call(lambda: self.cluster.get("Job", metadata["namespace"], metadata["name"]))
        if job is None or job["metadata"].get("deletionTimestamp"):
            return False
        return controlled_by(job, metadata["uid"]) and bool(job["spec"]["attempt"] == order.attempt)

    def _binding(self, step: Mapping[str, Any]) -> Binding:
        name = step["ref"]["name"]
        engram = self.engrams.get(name)
        if engram is None:
            raise MissingReferenceError(f"Engram {name} does not exist")
        return Binding(
            engram_namespace="default",
            engram_name=name,
            engram_version="",
            template_name=name,
            template_generation=1,
            default_with=engram.default_with,
            retry_spec=None,
            retry=engram.retry,
            timeout=timedelta(seconds=engram.timeout_seconds),
            max_inline_size_bytes=engram.max_inline_size_bytes,
            input_schema=engram.input_schema,
            output_schema=engram.output_schema,
            declared_output_keys=engram.declared_output_keys,
            policy=None,
        )

    def _create_step_run(self, run: Object, manifest: Object) -> tuple[Object, bool]:
        created = self.cluster.create(self.process.actor, manifest)
        if created is not None:
            return created, True
        existing = self.cluster.get(*place_of(manifest))
        assert existing is not None
        same = existing["spec"].get("stepId") == manifest["spec"]["stepId"]
        if same and controlled_by(existing, run["metadata"]["uid"]):
            return existing, False
        raise NameConflictError("the StepRun belongs to somebody else")

    def _start(self, order: AttemptOrder) -> Object:
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
                "inputs": dict(order.inputs),
                "resolved": order.is_resolved,
            },
        }
        created = self.cluster.create(self.process.actor, manifest)
        if created is not None:
            return created
        job = self.cluster.get("Job", metadata["namespace"], metadata["name"])
        assert job is not None
        if not controlled_by(job, metadata["uid"]):
            raise NameConflictError("the Job belongs to somebody else")
        return job


async def confirm(cluster: Cluster, process: Process, owner: Object) -> Object:
    """That the owner of what is made anew still wants it."""
    stored = await process.call(cluster, lambda: cluster.get(*place_of(owner)))
    if stored is None or stored["metadata"]["uid"] != owner["metadata"]["uid"]:
        raise GoneError(f"{place_of(owner)} has been deleted")
    if stored["metadata"].get("deletionTimestamp"):
        raise GoneError(f"{place_of(owner)} is being deleted")
    process.known.remember(stored)
    if is_overtaken(owner, stored):
        raise StaleError(f"{place_of(owner)} is not at the same attempt any more")
    return stored


async def _patch(cluster: Cluster, process: Process, seen: Object, part: str, patch: Mapping[str, Any]) -> Object:
    stored = await process.call(cluster, lambda: cluster.patch(process.actor, seen, part, dict(patch)), versioned=True)
    process.known.remember(stored)
    return stored


async def _delete(cluster: Cluster, process: Process, obj: Object) -> None:
    uid = obj["metadata"]["uid"]
    await process.call(cluster, lambda: cluster.delete(process.actor, place_of(obj), uid=uid))
    process.known.forget(obj)


def _any_alive(pods: list[Object]) -> bool:
    return any(_pod_phase(pod) not in ("Succeeded", "Failed") for pod in pods)


def _observation(step_run: Object, job: Object | None, pods: list[Object]) -> Observation:
    """As ``reconcilers.adapters.observation`` reads the real objects."""
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
        job_uid=job["metadata"]["uid"],
    )


def _pod_phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


_ATTEMPT_STATES = {
    "Pending": AttemptState.STARTING,
    "Running": AttemptState.RUNNING,
    "Succeeded": AttemptState.SUCCEEDED,
    "Failed": AttemptState.FAILED,
}
