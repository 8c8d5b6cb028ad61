"""The engine's ports on the model cluster, for one incarnation of the process: it can be faulty, and it can be dead.

A kill is not a cancel: once ``Process.dead`` is set every call raises ``Killed``, which nothing in the engine catches,
so that clean-up code has no effect on the world. A call has three moments: before the server has it, applied but not
yet answered, answered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

import trio

from core.engine.clock import WallClock
from core.engine.errors import MissingReferenceError, NameConflictError, StaleError, UnavailableError
from core.engine.ports import AttemptOrder, AttemptState, Binding, EventType, Observation, RunKey
from core.engine.state import has_ended
from core.kube.wire import copy_value, values_equal
from core.policy.retry import RetryPolicy
from fuzz.engine.cluster import Cluster, Object
from fuzz.engine.worker import Worker

T = TypeVar("T")

STEP_PATH = "runs.bubustack.io/step-path"
"""Annotation of StepRuns and child runs below the top level: the full name of their step."""


class Killed(BaseException):
    """The process does not exist any more."""


class Fault(StrEnum):
    UNAVAILABLE = "unavailable"
    """Never reached the server."""
    LOST_ANSWER = "lost answer"
    """Applied, but the caller is told that the server is unavailable."""
    STALE = "stale"
    """Refused as out of date (writes with preconditions only; else as UNAVAILABLE)."""
    SLOW = "slow"
    """Half a virtual second there, half a second back."""


@dataclass
class Process:
    """One incarnation: its epoch, its faults by number of the call, whether it lives."""

    epoch: int = 0
    faults: Mapping[int, Fault] = field(default_factory=dict)
    dead: bool = False
    calls: int = 0
    latency_seconds: float = 0.0
    on_the_wire: list[Callable[[], object]] = field(default_factory=list)
    """Requests whose caller was cancelled before they reached the server: they reach it all the same."""

    @property
    def actor(self) -> str:
        return f"operator-{self.epoch}"

    async def call(self, apply: Callable[[], T], *, versioned: bool = False) -> T:
        """Take one request to the server and back."""
        fault = self.faults.get(self.calls)
        self.calls += 1
        latency = 0.5 if fault is Fault.SLOW else self.latency_seconds
        try:
            await trio.sleep(latency)
        except trio.Cancelled:
            if not self.dead:
                self.on_the_wire.append(apply)
            raise
        self._check()
        if fault is Fault.STALE and versioned:
            raise StaleError("injected: out of date")
        if fault in (Fault.UNAVAILABLE, Fault.STALE):
            raise UnavailableError("injected: no connection")
        answer = apply()
        await trio.sleep(latency)
        self._check()
        if fault is Fault.LOST_ANSWER:
            raise UnavailableError("injected: the answer was lost")
        return answer

    def _check(self) -> None:
        if self.dead:
            raise Killed


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
    cluster: Cluster
    process: Process

    async def read_run(self, key: RunKey) -> Object | None:
        return await self.process.call(lambda: self.cluster.get("StoryRun", key.namespace, key.name))

    async def read_story(self, namespace: str, name: str) -> Object | None:
        return await self.process.call(lambda: self.cluster.get("Story", namespace, name))

    async def patch_run_status(self, run: Object, patch: Mapping[str, Any]) -> Object:
        return await self._patch(run, "status", patch)

    async def patch_run_metadata(self, run: Object, patch: Mapping[str, Any]) -> Object:
        return await self._patch(run, "metadata", patch)

    async def create_child_run(self, run: Object, manifest: Object) -> Object:
        return await self.process.call(lambda: self._create_child(run, manifest))

    async def child_runs(self, run: Object) -> list[Object]:
        uid, namespace = run["metadata"]["uid"], run["metadata"]["namespace"]
        return await self.process.call(
            lambda: [found for found in self.cluster.list("StoryRun", namespace) if _controller(found) == uid]
        )

    async def request_cancel(self, run: Object) -> None:
        await self.process.call(lambda: self._request_cancel(run))

    async def delete_child_run(self, run: Object) -> None:
        await self.process.call(lambda: self._delete(run))

    async def live_runs_of_story(self, namespace: str, name: str) -> list[Object]:
        return await self.process.call(
            lambda: [run for run in self.cluster.list_all("StoryRun") if _is_live(run) and _runs(run, namespace, name)]
        )

    async def pin_story(self, story: Object) -> str:
        return await self.process.call(lambda: self._pin(story))

    async def read_pinned_story(self, namespace: str, name: str) -> Object | None:
        revision = await self.process.call(lambda: self.cluster.get("ControllerRevision", namespace, name))
        return None if revision is None else dict(revision["data"])

    async def _patch(self, run: Object, part: str, patch: Mapping[str, Any]) -> Object:
        return await self.process.call(
            lambda: self.cluster.patch(self.process.actor, run, part, dict(patch)), versioned=True
        )

    def _create_child(self, run: Object, manifest: Object) -> Object:
        created = self.cluster.create(self.process.actor, manifest)
        if created is not None:
            return created
        existing = self.cluster.get("StoryRun", manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        assert existing is not None
        wanted, found = manifest["spec"], existing["spec"]
        same = all(values_equal(found.get(key), wanted.get(key)) for key in ("storyRef", "inputs"))
        if same and _controller(existing) == run["metadata"]["uid"]:
            return existing
        raise NameConflictError("the StoryRun belongs to somebody else, or is of another Story or other inputs")

    def _request_cancel(self, run: Object) -> None:
        place = ("StoryRun", run["metadata"]["namespace"], run["metadata"]["name"])
        stored = self.cluster.objects.get(place)
        if stored is None or stored["metadata"]["uid"] != run["metadata"]["uid"] or has_ended(stored):
            return
        self.cluster.force_patch(self.process.actor, place, "spec", {"cancelRequested": True})

    def _delete(self, run: Object) -> None:
        place = ("StoryRun", run["metadata"]["namespace"], run["metadata"]["name"])
        self.cluster.delete(self.process.actor, place, uid=run["metadata"]["uid"])

    def _pin(self, story: Object) -> str:
        metadata = story["metadata"]
        kept = {"metadata": {key: metadata[key] for key in ("name", "namespace", "uid")}, "spec": story["spec"]}
        digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:10]
        name = f"{metadata['name']}-{digest}"
        manifest: Object = {
            "kind": "ControllerRevision",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "ownerReferences": [{"kind": "Story", "name": metadata["name"], "uid": metadata["uid"]}],
            },
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

    async def prepare_run(self, run: Object, story: Object) -> None:
        await self.process.call(lambda: None)

    async def bind(self, run: Object, story: Object, step: Mapping[str, Any]) -> Binding:
        return await self.process.call(lambda: self._binding(step))

    async def step_runs(self, run: Object) -> list[Object]:
        uid, namespace = run["metadata"]["uid"], run["metadata"]["namespace"]
        return await self.process.call(
            lambda: [found for found in self.cluster.list("StepRun", namespace) if _controller(found) == uid]
        )

    async def create_step_run(self, run: Object, manifest: Object) -> Object:
        return await self.process.call(lambda: self._create_step_run(run, manifest))

    async def start_attempt(self, order: AttemptOrder) -> None:
        await self.process.call(lambda: self._start(order))

    async def observe(self, run: Object, step_run_name: str) -> Observation:
        return await self.process.call(lambda: self._look(run["metadata"]["namespace"], step_run_name))

    async def patch_step_run_status(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        return await self._patch(step_run, "status", patch)

    async def patch_step_run_metadata(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        return await self._patch(step_run, "metadata", patch)

    async def end_attempt(self, step_run: Object) -> None:
        await self.process.call(lambda: self._end(step_run))

    async def delete_step_run(self, step_run: Object) -> None:
        metadata = step_run["metadata"]
        place = ("StepRun", metadata["namespace"], metadata["name"])
        await self.process.call(lambda: self.cluster.delete(self.process.actor, place, uid=metadata["uid"]))

    async def occupants(self) -> list[Object]:
        return await self.process.call(
            lambda: [found for found in self.cluster.list_all("StepRun") if not has_ended(found)]
        )

    async def _patch(self, step_run: Object, part: str, patch: Mapping[str, Any]) -> Object:
        return await self.process.call(
            lambda: self.cluster.patch(self.process.actor, step_run, part, dict(patch)), versioned=True
        )

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

    def _create_step_run(self, run: Object, manifest: Object) -> Object:
        created = self.cluster.create(self.process.actor, manifest)
        if created is not None:
            return created
        existing = self.cluster.get("StepRun", manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        assert existing is not None
        if _controller(existing) == run["metadata"]["uid"] and existing["spec"]["stepId"] == manifest["spec"]["stepId"]:
            return existing
        raise NameConflictError("the StepRun belongs to somebody else")

    def _end(self, step_run: Object) -> None:
        """Only a Job that this very StepRun controls: a namesake's is not ours to delete."""
        metadata = step_run["metadata"]
        place = ("Job", metadata["namespace"], metadata["name"])
        job = self.cluster.objects.get(place)
        if job is not None and _controller(job) == metadata["uid"]:
            self.cluster.delete(self.process.actor, place, uid=job["metadata"]["uid"])

    def _start(self, order: AttemptOrder) -> None:
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
                "step": step_path(order.step_run),
                "run": order.step_run["spec"]["storyRunRef"]["name"],
                "attempt": order.attempt,
                "deadlineAt": order.deadline_at.isoformat(),
                "inputs": dict(order.inputs),
            },
        }
        if self.cluster.create(self.process.actor, manifest) is None:
            job = self.cluster.get("Job", metadata["namespace"], metadata["name"])
            assert job is not None
            if job["spec"]["attempt"] != order.attempt or _controller(job) != metadata["uid"]:
                raise StaleError("a Job of another attempt is still there")

    def _look(self, namespace: str, name: str) -> Observation:
        step_run = self.cluster.get("StepRun", namespace, name)
        job = self.cluster.objects.get(("Job", namespace, name))
        pods = self.worker.pods.get(("Job", namespace, name), [])
        others = [pod for pod in pods if pod.alive and (job is None or pod.job_uid != job["metadata"]["uid"])]
        if job is None or step_run is None:
            return Observation(step_run, AttemptState.LINGERING if others else AttemptState.ABSENT)
        own = next((pod for pod in pods if pod.job_uid == job["metadata"]["uid"]), None)
        return Observation(
            step_run,
            AttemptState(own.state) if own is not None else AttemptState.STARTING,
            attempt=job["spec"]["attempt"],
            exit_code=own.exit_code if own is not None else None,
            deadline_at=datetime.fromisoformat(job["spec"]["deadlineAt"]),
            job_uid=job["metadata"]["uid"],
        )


@dataclass
class RecordedEvents:
    told: list[tuple[str, str, str]] = field(default_factory=list)
    """Type, reason, message."""

    def emit(self, regarding: Object, type_: EventType, reason: str, message: str) -> None:
        self.told.append((str(type_), str(reason), message))


def virtual_clock(epoch: datetime, stepped: Callable[[], timedelta] = timedelta) -> WallClock:
    """The wall clock of a world that starts at ``epoch`` with Trio's mock clock at zero; ``stepped`` moves it apart."""
    return WallClock(lambda: epoch + timedelta(seconds=trio.current_time()) + stepped())


def step_path(step_run: Object) -> str:
    """The full name of the step that a StepRun or a child run is of: ``fan/a``, or ``spec.stepId`` at the top."""
    path = (step_run["metadata"].get("annotations") or {}).get(STEP_PATH)
    return str(path or step_run["spec"].get("stepId") or "")


def _is_live(run: Object) -> bool:
    return not has_ended(run) and not run["metadata"].get("deletionTimestamp")


def _runs(run: Object, namespace: str, name: str) -> bool:
    reference = run["spec"].get("storyRef") or {}
    return (reference.get("namespace") or run["metadata"]["namespace"], reference.get("name")) == (namespace, name)


def _controller(object_: Object) -> str | None:
    for owner in object_["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return None
