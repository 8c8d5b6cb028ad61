"""The node: takes Pods from an API server and runs their containers as processes of this machine.

It is an ordinary API client: it works with the embedded server and with a real kube-apiserver. It does not support
resource limits, ``runAsUser`` and network isolation: containers share the machine's network and run as the user of the
node.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from localcluster.clock import Now, to_time
from localcluster.log import get_logger
from localcluster.node import disk
from localcluster.node.addresses import address_of
from localcluster.node.capacity import ContainerSlots
from localcluster.node.client import ApiClient, ApiError, Change, Changed, Gone, Synced, UnreachableError, namespaced
from localcluster.node.devicequeue import DeviceQueue
from localcluster.node.devices import wanted_devices
from localcluster.node.environment import machine_variables, service_variables
from localcluster.node.images import ImageMap
from localcluster.node.logbook import LogBook, pod_directory
from localcluster.node.pod import PodWorker
from localcluster.node.podfields import HostFacts
from localcluster.node.podstatus import FINISHED
from localcluster.node.ports import Ports
from localcluster.node.processes import open_launcher
from localcluster.node.services import NodeServices
from localcluster.node.settings import HOST_IP, PROCESSOR_USE, NodeSettings
from localcluster.node.sources import SourceReader
from localcluster.node.stopping import Backoff

Object = dict[str, Any]

_log = get_logger("localcluster.node")
_PODS = "/api/v1/pods"
_REPEAT_FIRST_SECONDS, _REPEAT_LIMIT_SECONDS = 0.1, 5.0


@asynccontextmanager
async def open_services(
    settings: NodeSettings, client: ApiClient, logbook: LogBook, now: Now
) -> AsyncIterator[NodeServices]:
    """The services that the Pods of one node share; when the block ends, all their processes have ended."""
    staging, niceness = settings.data_dir / "staging", settings.container_niceness
    async with open_launcher(staging, isolate=settings.isolate, niceness=niceness) as launcher:
        if settings.isolate and not launcher.isolated:
            _log.warning("node_without_namespaces", remedy="programs find volumes below $BUBU_VOLUME_ROOT")
        yield NodeServices(
            settings=settings,
            client=client,
            sources=SourceReader(client),
            launcher=launcher,
            images=ImageMap(settings.image_map),
            logbook=logbook,
            slots=ContainerSlots(settings.max_containers),
            ports=Ports(),
            host=HostFacts(settings.name, HOST_IP, settings.capacity, address_of=lambda pod: address_of(pod, settings)),
            base_variables={
                **machine_variables(os.environ, str(Path(sys.executable).parent)),
                **service_variables(settings.api_url),
            },
            now=now,
        )


async def run_pods(services: NodeServices) -> None:
    """Run the Pods of this node until cancelled; then end them and return."""
    selector = (
        {} if services.settings.take_unscheduled else {"fieldSelector": f"spec.nodeName={services.settings.name}"}
    )
    send, receive = trio.open_memory_channel[Change](math.inf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(services.client.follow, _PODS, selector, send.send_nowait)
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
    """The Pods that this node runs."""

    def __init__(self, services: NodeServices, nursery: trio.Nursery) -> None:
        self._services = services
        self._nursery = nursery
        self._workers: dict[str, PodWorker] = {}
        self._binding: set[str] = set()
        self._finished: set[str] = set()
        """Pods whose end was reported; older events about them may still arrive."""
        self._disk = trio.CapacityLimiter(1)
        self._devices = DeviceQueue(services, nursery, self._start_binding, self._start_report)

    def replace(self, pods: list[Object]) -> None:
        present = {pod["metadata"]["uid"] for pod in pods}
        self._finished &= present
        for uid, worker in list(self._workers.items()):
            if uid not in present:
                worker.forget()
        self._devices.keep(present)
        # The list is complete before a newer Pod can create a directory.
        stale = [directory for directory in self._directories() if directory.name.rpartition("_")[2] not in present]
        self._nursery.start_soon(self._remove, stale)
        for pod in pods:
            self.see(pod)

    def see(self, pod: Object) -> None:
        node, uid = pod["spec"].get("nodeName"), pod["metadata"]["uid"]
        leaving = bool(pod["metadata"].get("deletionTimestamp"))
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(pod)
        elif node == self._services.settings.name:
            if uid not in self._finished and (pod.get("status") or {}).get("phase") not in FINISHED:
                self._devices.hold(pod)
                self._nursery.start_soon(self._run, pod)
            elif leaving:
                self._nursery.start_soon(self._release, pod)
        elif self._may_bind(pod):
            if wanted_devices(pod["spec"]):
                self._devices.offer(pod)
            else:
                self._start_binding(pod)

    def _start_binding(self, pod: Object) -> None:
        self._binding.add(pod["metadata"]["uid"])
        self._nursery.start_soon(self._bind, pod)

    def _start_report(self, pod: Object, status: Object) -> None:
        path = namespaced("pods", pod["metadata"]["namespace"], pod["metadata"]["name"], "status")
        body = {"status": status}
        self._nursery.start_soon(self._insist, "pod_wait_not_reported", self._services.client.merge_patch, path, body)

    def _may_bind(self, pod: Object) -> bool:
        metadata, spec = pod["metadata"], pod["spec"]
        waits = metadata.get("deletionTimestamp") or spec.get("nodeName") or spec.get("schedulingGates")
        return self._services.settings.take_unscheduled and not waits and metadata["uid"] not in self._binding

    def drop(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        self._finished.discard(uid)
        self._devices.release(uid)
        if uid in self._workers:
            self._workers[uid].forget()
        elif pod["spec"].get("nodeName") == self._services.settings.name:
            self._nursery.start_soon(self._remove, self._directories_of(pod))

    async def _run(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._workers:
            return
        last_seen: Object | None = pod
        use: list[str] = []
        try:
            worker = self._workers[uid] = PodWorker(pod, self._services)
            last_seen = await worker.run()
            use = list(worker.use())
        except Exception as error:  # noqa: BLE001 - the edge of a Pod: reported, and the other Pods go on
            _log.exception("pod_failed_on_node", pod=pod["metadata"]["name"], namespace=pod["metadata"]["namespace"])
            await self._report_failure(pod, error)
        finally:
            self._workers.pop(uid, None)
            self._finished.add(uid)
            self._devices.release(uid)
        if last_seen is None:
            self._finished.discard(uid)
            await self._remove(self._directories_of(pod))
        elif last_seen["metadata"].get("deletionTimestamp"):
            await self._release(last_seen)
            for text in use:
                await self._tell(last_seen, text)

    async def _report_failure(self, pod: Object, error: Exception) -> None:
        metadata = pod["metadata"]
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]  # the others are its consequences
        message = disk.explain(cause) if isinstance(cause, OSError) else f"{type(cause).__name__}: {cause}"
        status = {"phase": "Failed", "reason": "NodeError", "message": message}
        path = namespaced("pods", metadata["namespace"], metadata["name"], "status")
        await self._insist("pod_failure_not_reported", self._services.client.merge_patch, path, {"status": status})

    async def _bind(self, pod: Object) -> None:
        metadata = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": self._services.settings.name}
        identity = {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": identity, "target": target}
        path = namespaced("pods", metadata["namespace"], metadata["name"], "binding")
        try:
            await self._insist("pod_not_bound", self._services.client.create, path, binding)
        finally:
            self._binding.discard(metadata["uid"])

    async def _tell(self, pod: Object, text: str) -> None:
        """An Event about a Pod that is gone: nothing else can say it any more.

        Its name follows from what it says, so that a repeated request writes no second one.
        """
        metadata, now = pod["metadata"], to_time(self._services.now())
        mark = hashlib.sha256(f"{metadata['uid']} {text}".encode()).hexdigest()[:16]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name'][:200].rstrip('-.')}.{mark}", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                **{key: metadata[key] for key in ("name", "namespace", "uid")},
            },
            "type": "Normal",
            "reason": PROCESSOR_USE,
            "message": text,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": "localcluster", "host": self._services.settings.name},
        }
        path = namespaced("events", metadata["namespace"])
        await self._insist("event_not_written", self._services.client.create, path, event)

    async def _release(self, pod: Object) -> None:
        """Delete the Pod from the API server, after all its containers have ended."""
        metadata = pod["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        path = namespaced("pods", metadata["namespace"], metadata["name"])
        await self._insist("pod_not_released", self._services.client.delete, path, options)

    async def _insist(
        self, event: str, request: Callable[[str, Object], Awaitable[Object]], path: str, body: Object
    ) -> None:
        """Repeat a request until it is answered. A refusal is an answer: the Pod is gone, or another client won."""
        delays = Backoff(_REPEAT_FIRST_SECONDS, _REPEAT_LIMIT_SECONDS)
        while True:
            try:
                await request(path, body)
                return
            except (ApiError, UnreachableError) as error:
                refused = isinstance(error, ApiError) and not error.is_transient
                if not (isinstance(error, ApiError) and error.code == 404):
                    _log.info(event, path=path, error=str(error))
                if refused:
                    return
            await trio.sleep(delays.next_delay())

    def _directories(self) -> list[Path]:
        roots = (self._services.pods_directory, self._services.logbook.root)
        return [directory for root in roots if root.is_dir() for directory in root.iterdir()]

    def _directories_of(self, pod: Object) -> list[Path]:
        """The directories of a Pod's volumes and logs that exist."""
        metadata = pod["metadata"]
        name = pod_directory(metadata["namespace"], metadata["name"], metadata["uid"])
        places = (self._services.pods_directory / name, self._services.logbook.root / name)
        return [place for place in places if place.exists()]

    async def _remove(self, directories: list[Path]) -> None:
        for directory in directories:
            await trio.to_thread.run_sync(_remove_tree, directory, limiter=self._disk)


def _remove_tree(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
