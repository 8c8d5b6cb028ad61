"""Plays the workloads of realtime steps: one Pod for each, whose container is started again whenever it ends.

A script says how long the container runs and how it exits; ``exit_lag_seconds`` is the time that the hub needs to
deliver the last messages to it. Nothing is written into the StepRun: a streaming SDK does not report there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import trio

from core.api.objects import Object
from fuzz.engine.cluster import Cluster, Place, Write
from fuzz.engine.model_hub import BINDING, Client, ModelHub, lowest_generation
from fuzz.engine.worker import KUBELET, Act, Worker
from kubewire import copy_value

WORKLOAD: Final = "Deployment"
STREAM_POD: Final = "generation"
"""Only in the spec of its Pods."""
RESTART_SECONDS: Final = 0.5
"""The pause before a container is started again; it doubles each time."""
_LONGEST_PAUSE_SECONDS: Final = 40.0


@dataclass
class StreamPod:
    """The Pod of a workload, as the kubelet knows it."""

    workload: Object
    place: Place
    marked: trio.Event = field(default_factory=trio.Event)
    """Set when its deletion was requested."""

    @property
    def generation(self) -> int:
        return int(self.workload["spec"]["attempt"]) + 1


@dataclass
class StreamWorkers:
    """Lives longer than all processes of the operator. ``containers`` has the scripts."""

    cluster: Cluster
    containers: Worker
    hub: ModelHub
    pods: dict[Place, list[StreamPod]] = field(default_factory=dict)
    """The living Pods, by place of the workload."""
    unfenced: list[tuple[str, int]] = field(default_factory=list)
    """StepRuns and generations of workloads that started beside an earlier one which the hub still admitted."""
    _orders: tuple[trio.MemorySendChannel[Object], trio.MemoryReceiveChannel[Object]] = field(
        default_factory=lambda: trio.open_memory_channel[Object](10_000)
    )

    def see(self, write: Write) -> None:
        """Listens to the writes of the cluster."""
        if write.place[0] == WORKLOAD and write.verb == "create":
            assert write.new is not None
            self._orders[0].send_nowait(write.new)
        elif write.place[0] == "Pod" and write.verb == "mark":
            for pod in (pod for pods in self.pods.values() for pod in pods if pod.place == write.place):
                pod.marked.set()

    def alive(self) -> list[str]:
        """The names of the StepRuns that have a living Pod."""
        return [place[2] for place, pods in self.pods.items() if pods]

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            async for workload in self._orders[1]:
                nursery.start_soon(self._keep, workload)

    async def _keep(self, workload: Object) -> None:
        """A Pod after the other, as long as the workload exists."""
        place = (WORKLOAD, workload["metadata"]["namespace"], workload["metadata"]["name"])
        number = 0
        while self._exists(place, workload):
            number += 1
            await self._live(self._create_pod(place, workload, number), place)

    def _exists(self, place: Place, workload: Object) -> bool:
        stored = self.cluster.objects.get(place)
        return stored is not None and stored["metadata"]["uid"] == workload["metadata"]["uid"]

    def _create_pod(self, place: Place, workload: Object, number: int) -> StreamPod:
        metadata = workload["metadata"]
        name = f"{metadata['name']}-{metadata['uid'].removeprefix('uid-')}-{number}"
        owner = {"kind": WORKLOAD, "name": metadata["name"], "uid": metadata["uid"], "controller": True}
        pod = StreamPod(workload, ("Pod", metadata["namespace"], name))
        binding = self.cluster.objects.get((BINDING, place[1], workload["spec"]["binding"]))
        others = [one for one in self.pods.get(place, ()) if one.generation != pod.generation]
        if others and (binding is None or lowest_generation(binding) <= min(one.generation for one in others)):
            self.unfenced.append((place[2], pod.generation))
        self.pods.setdefault(place, []).append(pod)
        manifest: Object = {
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "ownerReferences": [owner],
                "finalizers": [KUBELET],
            },
            "spec": {"stepRun": metadata["name"], STREAM_POD: pod.generation},
        }
        self.cluster.create("deployment-controller", manifest)
        self.cluster.force_patch("kubelet", pod.place, "status", {"phase": "Running"})
        return pod

    async def _live(self, pod: StreamPod, of: Place) -> None:
        spec = pod.workload["spec"]
        script = self.containers.script(spec["step"], spec["attempt"])
        binding = (BINDING, of[1], spec["binding"])
        restarts, pause = 0, RESTART_SECONDS
        while not pod.marked.is_set():
            client = Client(binding, spec["bindingUid"], pod.generation, script.exit_lag_seconds)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.hub.stay_connected, client)
                if script.act is Act.HANG:
                    await pod.marked.wait()
                else:
                    with trio.move_on_after(script.after_seconds):
                        await pod.marked.wait()
                nursery.cancel_scope.cancel()
            self.hub.disconnect(client)
            if pod.marked.is_set():
                await trio.sleep(script.grace_seconds)
                break
            code = 0 if script.act is Act.SUCCEED else script.exit_code
            restarts += 1
            self._tell(pod, {"exitCode": code, "restarts": restarts})
            with trio.move_on_after(pause):
                await pod.marked.wait()
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        self._end(pod, of)

    def _tell(self, pod: StreamPod, status: Object) -> None:
        if pod.place in self.cluster.objects:
            self.cluster.force_patch("kubelet", pod.place, "status", status)

    def _end(self, pod: StreamPod, of: Place) -> None:
        self.pods[of].remove(pod)
        stored = self.cluster.objects.get(pod.place)
        if stored is None:
            return
        ended = copy_value(stored)
        ended["metadata"].pop("finalizers", None)
        ended["status"] = {**(stored.get("status") or {}), "phase": "Failed"}
        self.cluster.replace("kubelet", pod.place, ended, "patch status")
