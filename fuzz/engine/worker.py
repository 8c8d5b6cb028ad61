"""Plays what executes steps: a Job's Pod, its container and the SDK in it, following a script per attempt.

The SDK is modelled with its own rules (StepRun contract 19.1): it may not write ``Succeeded`` out of ``Pending`` and
then exits with 1 instead; its writes carry no precondition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import trio

from core.api.objects import Object
from fuzz.engine.cluster import Cluster, Place, Write
from fuzz.engine.texts import text_of
from kubewire.wire import copy_value

KUBELET = "model.example.com/kubelet"
"""Finalizer that stands for the grace a living Pod is given."""
UNSAID: Final = "ok, unsaid"
"""How a container ended that did well, without a word of it in its StepRun."""
Order = tuple[Place, Object]

SDK_MAY_SUCCEED_FROM = (None, "Running", "Failed")
SDK_MAY_FAIL_FROM = (None, "Pending", "Running", "Paused", "Blocked", "Scheduling")


class Act(StrEnum):
    SUCCEED = "succeed"
    """The SDK writes ``Succeeded`` with the output, the container exits 0."""
    FAIL = "fail"
    """The SDK writes ``Failed`` with ``exit_class``, the container exits ``exit_code``."""
    EXIT = "exit"
    """The container exits ``exit_code`` and nobody writes a status."""
    HANG = "hang"
    """Runs until its Job is deleted."""


@dataclass(frozen=True)
class Script:
    """What one attempt does."""

    act: Act = Act.SUCCEED
    after_seconds: float = 1.0
    output: Mapping[str, Any] | None = None
    echo: bool = False
    """The output is the input."""
    exit_code: int = 0
    exit_class: str | None = None
    exit_lag_seconds: float = 0.0
    """Between the SDK's last write and the container's end."""
    grace_seconds: float = 0.0
    """How long the Pod goes on after its Job was deleted."""
    text: str = ""
    """What the SDK writes about a failure; empty: one of ``TEXTS``."""


def script_of(scripts: Mapping[str, tuple[Script, ...]], step: str, attempt: int) -> Script:
    """Of a branch: what stands under its full name, else under its own, else under its parent's with ``/*``."""
    parent, _, own = step.rpartition("/")
    anywhere = re.sub(r"/\d+(?=/|$)", "/*", step)
    places = (step, anywhere, own, f"{parent}/*") if parent else (step,)
    found = next((found for place in places if (found := scripts.get(place))), (Script(),))
    return found[min(attempt, len(found) - 1)]


@dataclass
class Pod:
    """Of one Job: what the kubelet does. Its object in the cluster says the same."""

    job: Object
    place: Place
    state: str = "starting"
    marked: trio.Event = field(default_factory=trio.Event)
    """Its deletion was asked for."""

    @property
    def job_uid(self) -> str:
        return str(self.job["metadata"]["uid"])

    @property
    def alive(self) -> bool:
        return self.state in ("starting", "running")


@dataclass
class Worker:
    """Runs Pods; outlives every process of the engine."""

    cluster: Cluster
    scripts: Mapping[str, tuple[Script, ...]]
    """By step; the last one goes for all later attempts, none at all means success after a second."""
    pods: dict[Place, list[Pod]] = field(default_factory=dict)
    """By place of the Job."""
    _running: dict[Place, Pod] = field(default_factory=dict)
    """By place of the Pod."""
    _orders: tuple[trio.MemorySendChannel[Order], trio.MemoryReceiveChannel[Order]] = field(
        default_factory=lambda: trio.open_memory_channel[Order](10_000)
    )
    ran: list[tuple[str, int, str]] = field(default_factory=list)
    """Step, attempt and end of every container that came to its end by itself: the side effects in the world."""
    effects: list[tuple[str, str, str]] = field(default_factory=list)
    """The same with the UID of the StepRun in front."""
    refused: list[str] = field(default_factory=list)
    """Steps whose SDK was not allowed to report success because of the phase it found: there must be none."""
    overlaps: list[tuple[str, int]] = field(default_factory=list)
    """StepRuns, with the attempt that was started while something was still at work for one of the same name."""
    elsewhere: Callable[[Place], bool] = lambda place: False
    """Whether anything but a Pod is at work for that StepRun."""

    def script(self, step: str, attempt: int) -> Script:
        return script_of(self.scripts, step, attempt)

    def see(self, write: Write) -> None:
        """A listener of the cluster."""
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
        """A Pod was deleted by hand: one that had ended is not lost to its Job, whose finalizer it had."""
        for of_job, pods in self.pods.items():
            job = self.cluster.objects.get(of_job)
            for pod in pods:
                if pod.place == place and not pod.alive and job is not None and job["metadata"]["uid"] == pod.job_uid:
                    self.cluster.force_patch("job-controller", of_job, "status", {pod.state: True})

    async def run(self) -> None:
        """Start a Pod for every Job; in tasks of its own, not of whoever created the Job."""
        async with trio.open_nursery() as nursery:
            async for place, job in self._orders[1]:
                nursery.start_soon(self._play, place, job)

    async def _play(self, place: Place, job: Object) -> None:
        if self.cluster.objects.get(place, {}).get("metadata", {}).get("uid") != job["metadata"]["uid"]:
            return  # deleted before it had a Pod
        pod = self._create_pod(place, job)
        script = self.script(job["spec"]["step"], job["spec"]["attempt"])
        self._running[pod.place] = pod
        try:
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
        code = script.exit_code
        step_run = ("StepRun", place[1], place[2])
        stored = self.cluster.objects.get(step_run)
        phase = (stored.get("status") or {}).get("phase") if stored else None
        owner = pod.job["metadata"]["ownerReferences"][0]["uid"]
        if stored is None or stored["metadata"]["uid"] != owner:
            stored, code = None, code or 1
        elif script.act is Act.SUCCEED:
            if phase in SDK_MAY_SUCCEED_FROM:
                output = pod.job["spec"]["inputs"] if script.echo else script.output or {}
                patch: Object = {"phase": "Succeeded", "exitClass": "success", "output": dict(output)}
                self._sdk_writes(step_run, stored, patch)
            else:
                retried = ((stored.get("status") or {}).get("retries") or 0) > attempt
                if not retried and phase != "Timeout":  # else its time was over: I08 says whether that was so
                    self.refused.append(f"{step} out of {phase}")
                code = 1
        elif script.act is Act.FAIL and phase in SDK_MAY_FAIL_FROM:
            patch = {"phase": "Failed", "exitCode": code, "lastFailureMsg": script.text or text_of(step, attempt)}
            if script.exit_class:
                patch["exitClass"] = script.exit_class
            self._sdk_writes(step_run, stored, patch)
        end = "ok" if code == 0 and script.act is not Act.FAIL else "failed"
        self.ran.append((step, attempt, end))
        unsaid = end == "ok" and script.act is Act.EXIT
        self.effects.append((owner, step, UNSAID if unsaid else end))
        await trio.sleep(script.exit_lag_seconds)
        self._end(place, pod, code)

    def _sdk_writes(self, place: Place, stored: Object, patch: Object) -> None:
        if "retries" not in (stored.get("status") or {}):
            patch["retries"] = 0
        self.cluster.force_patch("sdk", place, "status", patch)

    def _end(self, place: Place, pod: Pod, code: int) -> None:
        pod.state = "succeeded" if code == 0 else "failed"
        stored = self.cluster.objects.get(pod.place)
        if stored is None:
            return
        ended = copy_value(stored)
        del ended["metadata"]["finalizers"]
        ended["status"] = {"phase": pod.state.capitalize(), "exitCode": code}
        self.cluster.replace("kubelet", pod.place, ended, "patch status")
        job = self.cluster.objects.get(place)
        if job is None or job["metadata"]["uid"] != pod.job_uid:
            self.pods[place].remove(pod)
        elif pod.place not in self.cluster.objects:  # somebody has deleted the Pod of a Job that is wanted
            self.cluster.force_patch("job-controller", place, "status", {"failed": True})
