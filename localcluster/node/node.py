"""The node: takes Pods from an API server and runs their containers as processes of this machine.

An ordinary API client: it joins the embedded server and a real kube-apiserver alike. It never enforces what it cannot:
resource limits, ``runAsUser`` and network isolation do not exist here; containers share the machine's network and run
as the user of the node.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
import trio

from localcluster.clock import Now
from localcluster.node.capacity import ContainerSlots
from localcluster.node.client import ApiClient, ApiError, Change, Changed, Gone, Synced, UnreachableError, namespaced
from localcluster.node.environment import machine_variables, service_variables
from localcluster.node.images import ImageMap
from localcluster.node.logbook import LogBook, pod_directory
from localcluster.node.pod import PodWorker
from localcluster.node.podfields import HostFacts
from localcluster.node.podstatus import FINISHED
from localcluster.node.processes import open_launcher
from localcluster.node.services import NodeServices
from localcluster.node.settings import HOST_IP, NodeSettings

Object = dict[str, Any]

_log = structlog.get_logger("localcluster.node")
_PODS = "/api/v1/pods"
_CHANGE_BUFFER = 256


@asynccontextmanager
async def open_services(
    settings: NodeSettings, client: ApiClient, logbook: LogBook, now: Now
) -> AsyncIterator[NodeServices]:
    """What the Pods of one node share; when the block is left, no process of theirs is alive."""
    async with open_launcher(settings.data_dir / "staging", isolate=settings.isolate) as launcher:
        if settings.isolate and not launcher.isolated:
            _log.warning("node_without_namespaces", remedy="programs find volumes below $BUBU_VOLUME_ROOT")
        yield NodeServices(
            settings=settings,
            client=client,
            launcher=launcher,
            images=ImageMap(settings.image_map),
            logbook=logbook,
            slots=ContainerSlots(settings.max_containers),
            host=HostFacts(settings.name, HOST_IP, settings.capacity),
            base_variables={
                **machine_variables(os.environ, str(Path(sys.executable).parent)),
                **service_variables(settings.api_url),
            },
            now=now,
        )


async def run_pods(services: NodeServices) -> None:
    """Run the Pods of this node, for ever. Cancelled, it ends them and returns."""
    selector = (
        {} if services.settings.take_unscheduled else {"fieldSelector": f"spec.nodeName={services.settings.name}"}
    )
    send, receive = trio.open_memory_channel[Change](_CHANGE_BUFFER)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(services.client.follow, _PODS, selector, send)
        roster = _Roster(services, nursery)
        async for change in receive:
            match change:
                case Synced(objects):
                    roster.replace(objects)
                case Changed(pod):
                    roster.see(pod)
                case Gone(pod):
                    roster.drop(pod)


class _Roster:
    """Which Pods this node runs."""

    def __init__(self, services: NodeServices, nursery: trio.Nursery) -> None:
        self._services = services
        self._nursery = nursery
        self._workers: dict[str, PodWorker] = {}
        self._binding: set[str] = set()
        self._disk = trio.CapacityLimiter(1)

    def replace(self, pods: list[Object]) -> None:
        present = {pod["metadata"]["uid"] for pod in pods}
        for uid, worker in list(self._workers.items()):
            if uid not in present:
                worker.forget()
        for pod in pods:
            self.see(pod)
        self._nursery.start_soon(self._remove_directories_except, present)

    def see(self, pod: Object) -> None:
        node, uid = pod["spec"].get("nodeName"), pod["metadata"]["uid"]
        leaving = bool(pod["metadata"].get("deletionTimestamp"))
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(pod)
        elif node == self._services.settings.name:
            if (pod.get("status") or {}).get("phase") not in FINISHED:
                self._nursery.start_soon(self._run, pod)
            elif leaving:
                self._nursery.start_soon(self._release, pod)
        elif self._may_bind(pod):
            self._binding.add(uid)
            self._nursery.start_soon(self._bind, pod)

    def _may_bind(self, pod: Object) -> bool:
        metadata, spec = pod["metadata"], pod["spec"]
        waits = metadata.get("deletionTimestamp") or spec.get("nodeName") or spec.get("schedulingGates")
        return self._services.settings.take_unscheduled and not waits and metadata["uid"] not in self._binding

    def drop(self, pod: Object) -> None:
        worker = self._workers.get(pod["metadata"]["uid"])
        if worker is not None:
            worker.forget()
        if pod["spec"].get("nodeName") == self._services.settings.name:
            self._nursery.start_soon(self._remove_directories_of, pod)

    async def _run(self, pod: Object) -> None:
        worker = PodWorker(pod, self._services)
        if worker.uid in self._workers:
            return
        self._workers[worker.uid] = worker
        try:
            last_seen = await worker.run()
        finally:
            del self._workers[worker.uid]
        if last_seen is not None and last_seen["metadata"].get("deletionTimestamp"):
            await self._release(last_seen)

    async def _bind(self, pod: Object) -> None:
        metadata = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": self._services.settings.name}
        identity = {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": identity, "target": target}
        try:
            await self._services.client.create(
                namespaced("pods", metadata["namespace"], metadata["name"], "binding"), binding
            )
        except (ApiError, UnreachableError) as error:
            # Somebody else was faster, or it is gone; if neither, the next listing brings it again.
            _log.info("pod_not_bound", pod=metadata["name"], namespace=metadata["namespace"], error=str(error))
        finally:
            self._binding.discard(metadata["uid"])

    async def _release(self, pod: Object) -> None:
        """Everything has ended: let the API server forget the Pod."""
        metadata = pod["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        try:
            await self._services.client.delete(namespaced("pods", metadata["namespace"], metadata["name"]), options)
        except (ApiError, UnreachableError) as error:
            if not (isinstance(error, ApiError) and error.code in (404, 409)):
                _log.warning("pod_not_released", pod=metadata["name"], error=str(error))

    async def _remove_directories_of(self, pod: Object) -> None:
        metadata = pod["metadata"]
        name = pod_directory(metadata["namespace"], metadata["name"], metadata["uid"])
        await self._remove(self._services.pods_directory / name)
        await self._remove(self._services.logbook.root / name)

    async def _remove_directories_except(self, present: set[str]) -> None:
        """Volumes and logs of Pods that were deleted while the node was down."""
        for root in (self._services.pods_directory, self._services.logbook.root):
            for directory in self._listed(root):
                if directory.name.rpartition("_")[2] not in present:
                    await self._remove(directory)

    @staticmethod
    def _listed(root: Path) -> list[Path]:
        return list(root.iterdir()) if root.exists() else []

    async def _remove(self, directory: Path) -> None:
        if _exists(directory):
            await trio.to_thread.run_sync(lambda: shutil.rmtree(directory, ignore_errors=True), limiter=self._disk)


def _exists(directory: Path) -> bool:
    return directory.exists()
