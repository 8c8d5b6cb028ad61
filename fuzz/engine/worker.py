"""Plays the execution of steps: a Job's Pod, its container and the SDK in it, with one script per attempt.

The SDK has its own rules (StepRun contract 19.1): it may not write ``Succeeded`` in phase ``Pending`` and then exits
with 1 instead. Its writes have no precondition.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

import trio

from bubu_contract.instants import format_precise_instant
from core.api.objects import Object
from fuzz.engine.clients.effects import KILLED_CODE, Effect, EffectResult
from fuzz.engine.cluster import Cluster, Place, Write
from fuzz.engine.texts import text_of
from kubewire import copy_value

KUBELET = "model.example.com/kubelet"
"""A finalizer that represents the grace of a living Pod."""
UNSAID: Final = "ok, unsaid"
"""The result of a container that succeeded without a report in its StepRun."""
ARGUMENTS: Final = "args"
"""Only in the spec of a Job whose container has no SDK: what it is called with."""
LEFT: Final = "left"
"""In the status of a Pod: what such a container leaves behind when it succeeds."""
Order = tuple[Place, Object]
Perform = Callable[[str, Object, Effect, trio.Event, float], Awaitable[EffectResult]]
"""Name of the Pod, StepRun, effect, the event that asks it to end, and its grace in seconds."""

SDK_MAY_SUCCEED_FROM = (None, "Running", "Failed")
SDK_MAY_FAIL_FROM = (None, "Pending", "Running", "Paused", "Blocked", "Scheduling")


class Act(StrEnum):
    SUCCEED = "succeed"
    """The SDK writes ``Succeeded`` with the output, the container exits 0."""
    FAIL = "fail"
    """The SDK writes ``Failed`` with ``exit_class``, the container exits ``exit_code``."""
    EXIT = "exit"
    """The container exits ``exit_code``, and no status is written."""
    HANG = "hang"
    """Runs until its Job is deleted."""


@dataclass(frozen=True)
class Script:
    """The behaviour of one attempt."""

    act: Act = Act.SUCCEED
    after_seconds: float = 1.0
    output: Mapping[str, Any] | None = None
    echo: bool = False
    """Whether the output is the input."""
    exit_code: int = 0
    exit_class: str | None = None
    exit_lag_seconds: float = 0.0
    """The time between the SDK's last write and the container's end."""
    grace_seconds: float = 0.0
    """How long the Pod continues after its Job was deleted."""
    text: str = ""
    """The text that the SDK writes about a failure; empty: one of ``TEXTS``."""
    retry_after_seconds: float | None = None
    """How long after a failure the SDK wants the next attempt to start (``error.details.retryAt``)."""
    retry_at: str = ""
    """The same as an instant."""
    effect: Effect | None = None
    """The effect that the container of a Pod performs first."""


def script_of(scripts: Mapping[str, tuple[Script, ...]], step: str, attempt: int) -> Script:
    """The script for the full name of a branch; else for its own name; else for its parent's name with ``/*``."""
    parent, _, own = step.rpartition("/")
    anywhere = re.sub(r"/\d+(?=/|$)", "/*", step)
    places = (step, anywhere, own, f"{parent}/*") if parent else (step,)
    found = next((found for place in places if (found := scripts.get(place))), (Script(),))
    return found[min(attempt, len(found) - 1)]


@dataclass
class Pod:
    """The Pod of a Job, as the kubelet knows it; its object in the cluster has the same state."""

    job: Object
    place: Place
    state: str = "starting"
    marked: trio.Event = field(default_factory=trio.Event)
    """Whether its deletion was requested."""

    @property
    def job_uid(self) -> str:
        return str(self.job["metadata"]["uid"])

    @property
    def alive(self) -> bool:
        return self.state in ("starting", "running")


@dataclass
class Worker:
    """Runs Pods; lives longer than all processes of the engine."""

    cluster: Cluster
    scripts: Mapping[str, tuple[Script, ...]]
    """By step; the last script is used for all later attempts. Without a script the attempt succeeds after a second."""
    pods: dict[Place, list[Pod]] = field(default_factory=dict)
    """By place of the Job."""
    _running: dict[Place, Pod] = field(default_factory=dict)
    """By place of the Pod."""
    _orders: tuple[trio.MemorySendChannel[Order], trio.MemoryReceiveChannel[Order]] = field(
        default_factory=lambda: trio.open_memory_channel[Order](10_000)
    )
    ran: list[tuple[str, int, str]] = field(default_factory=list)
    """Step, attempt and result of every container that ended by itself: the side effects outside."""
    effects: list[tuple[str, str, str]] = field(default_factory=list)
    """The same, with the UID of the StepRun instead of the attempt."""
    refused: list[str] = field(default_factory=list)
    """Steps whose SDK could not report success because of the phase that it found; there must be none."""
    overlaps: list[tuple[str, int]] = field(default_factory=list)
    """StepRuns, with an attempt that started while another one of the same name was still running."""
    elsewhere: Callable[[Place], bool] = lambda place: False
    """Whether anything but a Pod works for this StepRun."""
    perform: Perform | None = None
    """Performs the effects of scripts."""

    def script(self, step: str, attempt: int) -> Script:
        return script_of(self.scripts, step, attempt)

    def see(self, write: Write) -> None:
        """Listens to the writes of the cluster."""
        match write.place[0], write.verb:
            case "Job", "create":
                assert write.new is not None
                step_run = ("StepRun", *write.place[1:])
                if any(pod.alive for pod in self.pods.get(write.place, ())) or self.elsewhere(step_run):
                    self.overlaps.append((write.place[2], write.new["spec"]["attempt"]))
                self._orders[0].send_nowait((write.place, write.new))
            case "Pod", "mark" if write.place in self._running:
                self._running[write.place].marked.set()

    def count(self, place: Place) -> None:
        """Count a Pod that a user deleted after its end: its Job does not lose it, because of the Job's finalizer."""
        for of_job, pods in self.pods.items():
            job = self.cluster.objects.get(of_job)
            for pod in pods:
                if pod.place == place and not pod.alive and job is not None and job["metadata"]["uid"] == pod.job_uid:
                    self.cluster.force_patch("job-controller", of_job, "status", {pod.state: True})

    async def run(self) -> None:
        """Start a Pod for every Job, in tasks of the worker and not of the process that created the Job."""
        async with trio.open_nursery() as nursery:
            async for place, job in self._orders[1]:
                nursery.start_soon(self._play, place, job)

    async def _play(self, place: Place, job: Object) -> None:
        if self.cluster.objects.get(place, {}).get("metadata", {}).get("uid") != job["metadata"]["uid"]:
            return  # the Job was deleted before it had a Pod
        pod = self._create_pod(place, job)
        script = self.script(job["spec"]["step"], job["spec"]["attempt"])
        self._running[pod.place] = pod
        try:
            if script.effect is not None:
                script = await self._perform(place, pod, script, script.effect)
                if pod.marked.is_set():
                    self._end(place, pod, 143)
                    return
            if script.act is Act.HANG:
                await pod.marked.wait()
            else:
                with trio.move_on_after(script.after_seconds):
                    await pod.marked.wait()
            if pod.marked.is_set():
                await trio.sleep(script.grace_seconds)
                self._end(place, pod, 143)
            else:
                await self._act(place, pod, job["spec"]["step"], job["spec"]["attempt"], script)
        finally:
            del self._running[pod.place]

    async def _perform(self, place: Place, pod: Pod, script: Script, effect: Effect) -> Script:
        """What the container does after it has performed the effect, or has failed to."""
        step_run = self.cluster.objects.get(("StepRun", *place[1:]))
        if step_run is None or self.perform is None:
            return script
        result = await self.perform(pod.place[2], step_run, effect, pod.marked, script.grace_seconds)
        if result.outcome is not None:
            return script
        if result.error is None:
            return Script(Act.EXIT, 0.0, exit_code=KILLED_CODE)
        failed = Script(Act.FAIL, 0.0, exit_code=1, exit_class=str(result.error.exit_class), text=result.error.message)
        return replace(failed, retry_at=result.retry_at)

    def _create_pod(self, place: Place, job: Object) -> Pod:
        metadata = job["metadata"]
        name = f"{metadata['name']}-{metadata['uid'].removeprefix('uid-')}"
        owner = {"kind": "Job", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
        manifest: Object = {
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "ownerReferences": [owner],
                "finalizers": [KUBELET],
            },
            "spec": {"stepRun": metadata["name"]},
        }
        pod = Pod(job, ("Pod", metadata["namespace"], name), "running")
        self.pods.setdefault(place, []).append(pod)
        self.cluster.create("job-controller", manifest)
        self.cluster.force_patch("kubelet", pod.place, "status", {"phase": "Running"})
        return pod

    async def _act(self, place: Place, pod: Pod, step: str, attempt: int, script: Script) -> None:
        code, left = script.exit_code, None
        step_run = ("StepRun", place[1], place[2])
        stored = self.cluster.objects.get(step_run)
        phase = (stored.get("status") or {}).get("phase") if stored else None
        owner = pod.job["metadata"]["ownerReferences"][0]["uid"]
        if stored is None or stored["metadata"]["uid"] != owner:
            stored, code = None, code or 1
        elif ARGUMENTS in pod.job["spec"]:
            left = pod.job["spec"]["inputs"] if script.echo else script.output or {}
        elif script.act is Act.SUCCEED:
            if phase in SDK_MAY_SUCCEED_FROM:
                output = pod.job["spec"]["inputs"] if script.echo else script.output or {}
                patch: Object = {"phase": "Succeeded", "exitClass": "success", "output": dict(output)}
                self._sdk_writes(step_run, stored, patch)
            else:
                retried = ((stored.get("status") or {}).get("retries") or 0) > attempt
                if not retried and phase != "Timeout":  # otherwise its time was over: I08 checks that
                    self.refused.append(f"{step} out of {phase}")
                code = 1
        elif script.act is Act.FAIL and phase in SDK_MAY_FAIL_FROM:
            patch = {"phase": "Failed", "exitCode": code, "lastFailureMsg": script.text or text_of(step, attempt)}
            if script.exit_class:
                patch["exitClass"] = script.exit_class
            if retry_at := self._retry_at(script):
                patch["error"] = {"version": "v1", "details": {"retryAt": retry_at}}
            self._sdk_writes(step_run, stored, patch)
        end = "ok" if code == 0 and script.act is not Act.FAIL else "failed"
        self.ran.append((step, attempt, end))
        unsaid = end == "ok" and (script.act is Act.EXIT or left is not None)
        self.effects.append((owner, step, UNSAID if unsaid else end))
        await trio.sleep(script.exit_lag_seconds)
        self._end(place, pod, code, left if end == "ok" else None)

    def _retry_at(self, script: Script) -> str:
        if script.retry_after_seconds is None:
            return script.retry_at
        return format_precise_instant(self.cluster.now() + timedelta(seconds=script.retry_after_seconds))

    def _sdk_writes(self, place: Place, stored: Object, patch: Object) -> None:
        if "retries" not in (stored.get("status") or {}):
            patch["retries"] = 0
        self.cluster.force_patch("sdk", place, "status", patch)

    def _end(self, place: Place, pod: Pod, code: int, left: Mapping[str, Any] | None = None) -> None:
        pod.state = "succeeded" if code == 0 else "failed"
        stored = self.cluster.objects.get(pod.place)
        if stored is None:
            return
        ended = copy_value(stored)
        del ended["metadata"]["finalizers"]
        ended["status"] = {"phase": pod.state.capitalize(), "exitCode": code}
        if left is not None:
            ended["status"][LEFT] = dict(left)
        self.cluster.replace("kubelet", pod.place, ended, "patch status")
        job = self.cluster.objects.get(place)
        if job is None or job["metadata"]["uid"] != pod.job_uid:
            self.pods[place].remove(pod)
        elif pod.place not in self.cluster.objects:  # a user deleted the Pod, but its Job is still needed
            self.cluster.force_patch("job-controller", place, "status", {"failed": True})
