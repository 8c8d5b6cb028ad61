"""The life of one Pod on this node: one nursery, from its volumes to its final status.

    volumes ──► init containers, one after the other ──► containers, all at once ──► final status

A deadline, a deletion or the end of the node stops it; its status always has the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import trio

from localcluster.node import disk
from localcluster.node.client import ApiError, UnreachableError
from localcluster.node.container import Container, PodScope
from localcluster.node.logbook import pod_directory
from localcluster.node.podfields import PodFieldError
from localcluster.node.podstatus import FINISHED, PodView, RestartPolicy, Verdict, pod_phase, pod_status
from localcluster.node.podvolumes import PreparedVolumes, prepare_volumes
from localcluster.node.records import (
    CONTAINER_CREATING,
    POD_INITIALIZING,
    ContainerRecord,
    Running,
    Terminated,
    Waiting,
    from_status,
    lost,
)
from localcluster.node.reporter import PodGoneError, StatusReporter
from localcluster.node.services import NodeServices
from localcluster.node.settings import HOST_IP
from localcluster.node.sources import MissingSourceError
from localcluster.node.stopping import Backoff, Stop
from localcluster.node.volumes import VolumeError, unsupported_volumes

Object = dict[str, Any]

DEFAULT_GRACE_SECONDS = 30
_CLOCK_CHECK_SECONDS = 30.0  # so that a suspended machine or a changed clock does not miss a deadline


class PodWorker:
    """Runs one Pod. ``update`` passes it the newest version of the Pod; ``forget`` says that the Pod is gone."""

    def __init__(self, pod: Object, services: NodeServices) -> None:
        self.uid: str = pod["metadata"]["uid"]
        self._pod = pod
        self._services = services
        self._stop = Stop()
        self._scope = trio.CancelScope()
        self._verdict: Verdict | None = None
        self._at_work = False
        metadata, spec, status = pod["metadata"], self._pod["spec"], pod.get("status") or {}
        self._directory_name = pod_directory(metadata["namespace"], metadata["name"], self.uid)
        self._policy = RestartPolicy(spec.get("restartPolicy") or RestartPolicy.ALWAYS)
        self._started_at = _instant(status.get("startTime")) or services.now()
        waiting = POD_INITIALIZING if spec.get("initContainers") else CONTAINER_CREATING
        self._init = self._containers(spec.get("initContainers"), status.get("initContainerStatuses"), waiting)
        self._main = self._containers(spec["containers"], status.get("containerStatuses"), waiting)
        self._reporter = StatusReporter(services.client, pod, self._status)
        self.update(pod)

    def update(self, pod: Object) -> None:
        """Pass the API server's newest version of this Pod."""
        self._last_seen = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._stop.request(pod["metadata"].get("deletionGracePeriodSeconds") or 0)

    def forget(self) -> None:
        """End the Pod without a report, because it no longer exists."""
        self._scope.cancel()

    async def run(self) -> Object | None:
        """Run the Pod until its final status is written; returns the Pod as last seen, None when it is gone."""
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._reporter.run)
                    self._reporter.changed(self._services.settings.starting_report_delay_seconds)
                    await self._live()
                    self._reporter.finish()
            except* PodGoneError:
                self._scope.cancel()
        return None if self._scope.cancel_called else self._last_seen

    def use(self) -> Iterator[str]:
        """How much of the processor each container has used that was ended with its Pod, for people."""
        for container in self._main if self._stop.is_requested else ():
            state = container.record.state
            if isinstance(state, Terminated) and state.ran_seconds > 0:
                used = f"{state.cpu_seconds:.1f} s of processor in {state.ran_seconds:.0f} s"
                yield f"container {container.record.name} was ended; it had used {used}"

    async def _live(self) -> None:
        refusals = _unsupported(self._pod)
        if refusals:
            self._verdict = Verdict("UnsupportedPod", "; ".join(refusals))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._enforce_deadline)
            self._at_work = True
            try:
                await self._run_containers()
            finally:
                self._at_work = False
            nursery.cancel_scope.cancel()

    async def _run_containers(self) -> None:
        if pod_phase(self._view()) in FINISHED:
            return  # it ended under an earlier process of this node, or with that process
        held = await self._acquire_slots()
        try:
            await self._run_in_order()
        finally:
            self._services.slots.release(held)

    async def _acquire_slots(self) -> int:
        """Take places for all containers; none if the Pod is stopped first."""
        held = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_on_stop, nursery.cancel_scope)
            held = await self._services.slots.acquire(len(self._main))
            nursery.cancel_scope.cancel()
        return held

    async def _cancel_on_stop(self, scope: trio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()

    async def _run_in_order(self) -> None:
        volumes = await self._volumes()
        if volumes is None:
            return
        directory = self._services.pods_directory / self._directory_name
        scope = PodScope(self._pod, self._directory_name, directory, volumes.places, self._stop, self._changed)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._refresh_volumes, volumes.refresh_after_seconds)
            for container in self._init:
                await container.run(scope, self._policy.for_init())
                if not (isinstance(container.record.state, Terminated) and container.record.state.succeeded):
                    nursery.cancel_scope.cancel()
                    return
            async with trio.open_nursery() as running:
                for container in self._main:
                    running.start_soon(container.run, scope, self._policy)
            nursery.cancel_scope.cancel()

    async def _volumes(self) -> PreparedVolumes | None:
        """Create the Pod's volumes, and retry until it works; None if the Pod is stopped first."""
        settings = self._services.settings
        delays = Backoff(settings.retry_delay_seconds, settings.retry_delay_limit_seconds)
        while True:
            try:
                return await self._prepare_volumes()
            except (MissingSourceError, PodFieldError, VolumeError, ApiError, UnreachableError) as error:
                message = f"the volumes cannot be created: {error}"
            except OSError as error:
                message = f"the volumes cannot be created: {disk.explain(error)}"
            for container in (*self._init, *self._main):
                if isinstance(container.record.state, Waiting):
                    container.record = container.record.waiting(container.record.state.reason, message)
            self._changed()
            if await self._stop.sleep(delays.next_delay()):
                return None

    async def _prepare_volumes(self) -> PreparedVolumes:
        directory = self._services.pods_directory / self._directory_name
        return await prepare_volumes(self._pod, directory, self._services)

    async def _refresh_volumes(self, after_seconds: float | None) -> None:
        """Write the files again before their tokens expire; after an error, retry soon."""
        while after_seconds is not None:
            await trio.sleep(after_seconds)
            try:
                after_seconds = (await self._prepare_volumes()).refresh_after_seconds
            except (MissingSourceError, PodFieldError, VolumeError, ApiError, UnreachableError, OSError):
                after_seconds = self._services.settings.retry_delay_limit_seconds

    async def _enforce_deadline(self) -> None:
        seconds = self._pod["spec"].get("activeDeadlineSeconds")
        if seconds is None:
            return
        ends_at = self._started_at + timedelta(seconds=seconds)
        while (left := (ends_at - self._services.now()).total_seconds()) > 0:  # noqa: ASYNC110 - awaits the wall clock
            await trio.sleep(min(left, _CLOCK_CHECK_SECONDS))
        if not self._stop.is_requested and pod_phase(self._view()) not in FINISHED:
            self._verdict = Verdict("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            grace = self._pod["spec"].get("terminationGracePeriodSeconds")
            self._stop.request(DEFAULT_GRACE_SECONDS if grace is None else grace)

    def _changed(self) -> None:
        self._reporter.changed(self._services.settings.running_report_delay_seconds)

    def _status(self, stored: Object) -> Object:
        return pod_status(self._view(), stored, self._services.now())

    def _view(self) -> PodView:
        return PodView(
            restart_policy=self._policy,
            init=[container.record for container in self._init],
            main=[container.record for container in self._main],
            started_at=self._started_at,
            host_ip=HOST_IP,
            pod_ip=self._services.host.address_of(self._pod),
            verdict=self._verdict,
            stopped=self._stop.is_requested,
            at_work=self._at_work,
        )

    def _containers(self, specs: list[Object] | None, statuses: list[Object] | None, waiting: str) -> list[Container]:
        known = {status["name"]: from_status(status) for status in statuses or []}
        containers = []
        for spec in specs or []:
            record = known.get(spec["name"]) or ContainerRecord(spec["name"], spec.get("image") or "", Waiting(waiting))
            if isinstance(record.state, Running):
                record = lost(record, self._services.now())
            containers.append(Container(spec, record, self._services))
        return containers


def _unsupported(pod: Object) -> list[str]:
    """The requests of the Pod that this node cannot fulfil; one sentence each."""
    spec = pod["spec"]
    complaints = unsupported_volumes(pod)
    for field, containers in (("initContainers", spec.get("initContainers") or []), ("containers", spec["containers"])):
        for container in containers:
            where = f"spec.{field}[{container['name']}]"
            if container.get("lifecycle"):
                complaints.append(f"{where}.lifecycle: hooks are not supported by a local node")
            if field == "initContainers" and container.get("restartPolicy"):
                complaints.append(f"{where}.restartPolicy: sidecar containers are not supported by a local node")
    return complaints


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
