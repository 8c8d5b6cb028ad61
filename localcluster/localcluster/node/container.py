"""The life of one container: from its image to its exit, and again if the Pod's restart policy says so.

If it cannot start (unknown image, missing Secret, full disk), its status shows a waiting reason, and the node tries
again. Its life ends when it is not restarted any more, or when its Pod stops. Cancelling it ends its program: SIGTERM,
a pause, SIGKILL.
"""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path
from typing import Any

import trio

from localcluster.node import disk, probes
from localcluster.node.client import ApiError, UnreachableError
from localcluster.node.environment import container_variables
from localcluster.node.images import ImageMapError, UnknownImageError, inherited
from localcluster.node.launcher.order import LaunchOrder, Mount
from localcluster.node.launcher.zygote import CONTAINER_ID
from localcluster.node.logs import LogWriter, last_output
from localcluster.node.mounts import container_mounts, link_mounts
from localcluster.node.podfields import PodFieldError
from localcluster.node.podstatus import RestartPolicy
from localcluster.node.ports import group_of
from localcluster.node.processes import Exit, LaunchError, RunningProcess
from localcluster.node.records import ContainerRecord, Terminated
from localcluster.node.services import NodeServices
from localcluster.node.sources import MissingSourceError, names_in_containers
from localcluster.node.stopping import Backoff, Stop
from localcluster.node.volumes import VolumeError

Object = dict[str, Any]

DEFAULT_TERMINATION_LOG = "/dev/termination-log"
START_ERROR_CODE = 128
_DRAIN_SECONDS = 1.0
_LOG_SECONDS, _LOG_PAUSE_SECONDS = 600.0, 0.2
_PIPE_BYTES = 64 << 10
_MESSAGE_BYTES = 4096
_FALLBACK_BYTES, _FALLBACK_LINES = 2048, 80
_STEADY_SECONDS = 600.0  # a container that ran this long has recovered: after its next crash the pause is the shortest


@dataclass(frozen=True, slots=True)
class PodScope:
    """The data of the Pod that a container needs while it runs."""

    pod: Object
    directory_name: str
    directory: Path
    places: Mapping[str, Path]
    """The directory of each volume on this machine, by the volume's name."""
    stop: Stop
    changed: Callable[[], None]
    """Called whenever a record has changed."""


class Container:
    """One container of one Pod. ``record`` is always its current state."""

    def __init__(self, spec: Object, record: ContainerRecord, services: NodeServices) -> None:
        self.spec = spec
        self.record = record
        self._services = services
        settings = services.settings
        self._crashes = Backoff(settings.restart_delay_seconds, settings.restart_delay_limit_seconds)
        self._is_first_crash = record.restarts == 0

    async def run(self, scope: PodScope, policy: RestartPolicy) -> None:
        """Run the container until its policy ends it, or the Pod is stopped. A record that has ended stays as it is."""
        while not scope.stop.is_requested:
            if isinstance(self.record.state, Terminated):
                if not policy.restarts_after(self.record.state) or await self._pause(scope, self.record.state):
                    return
                self._set(scope, self.record.restarted())
            outcome = await self._run_once(scope)
            if outcome is None:
                return
            self._set(scope, self.record.terminated(outcome))

    async def _pause(self, scope: PodScope, outcome: Terminated) -> bool:
        """Wait before a restart; the first crash has no pause. Returns True if the Pod is stopped meanwhile."""
        if outcome.ran_seconds >= _STEADY_SECONDS:
            self._crashes.reset()
        if self._is_first_crash:
            self._is_first_crash = False
            return scope.stop.is_requested
        delay, ended = self._crashes.next_delay(), self.record
        pod = scope.pod["metadata"]
        message = (
            f"back-off {delay:g}s restarting failed container={self.record.name} pod={pod['name']}_{pod['namespace']}"
        )
        self._set(scope, self.record.waiting("CrashLoopBackOff", message))
        if await scope.stop.sleep(delay):
            self._set(scope, ended)
            return True
        return False

    async def _run_once(self, scope: PodScope) -> Terminated | None:
        """Run it once; None if the Pod was stopped before the start."""
        container_id = uuid.uuid4().hex
        try:
            prepared = await self._prepared(scope, container_id)
            if prepared is None:
                return None
            order, log = prepared
            try:
                return await self._launched(order, log, scope, container_id)
            finally:
                self._services.logbook.close(log, scope.directory_name, self.record.name, self.record.restarts)
        finally:
            self._services.ports.give_back(container_id)

    async def _launched(self, order: LaunchOrder, log: LogWriter, scope: PodScope, container_id: str) -> Terminated:
        began_at = self._services.now()
        try:
            process = await self._services.launcher.start(order)
        except LaunchError as error:
            message = f"failed to start container: {error}"
            return Terminated(START_ERROR_CODE, "StartError", message, started_at=began_at, finished_at=began_at)
        began_at = self._services.now()
        shown_id = f"localprocess://{container_id}"
        ready = not probes.decide_readiness(self.spec)
        ports = self._services.ports.of(container_id)
        self._set(scope, self.record.running(began_at, shown_id, ready=ready, ports=ports))
        outcome = await self._attend(process, log, scope, order)
        finished_at = self._services.now()
        await _finish(log, scope.stop)
        return Terminated(
            exit_code=outcome.code,
            reason="Completed" if outcome.code == 0 else "Error",
            message=self._termination_message(scope, outcome),
            signal=outcome.signal,
            started_at=began_at,
            finished_at=finished_at,
            container_id=shown_id,
            cpu_seconds=outcome.cpu_seconds,
        )

    # before the start

    async def _prepared(self, scope: PodScope, container_id: str) -> tuple[LaunchOrder, LogWriter] | None:
        """The order for the launcher and the log for the output; None if the Pod is stopped first."""
        settings = self._services.settings
        delays = Backoff(settings.retry_delay_seconds, settings.retry_delay_limit_seconds)
        image_failures = 0
        while True:
            try:
                order = await self._order(scope, container_id)
                return order, self._services.logbook.open(scope.directory_name, self.record.name, self.record.restarts)
            except (UnknownImageError, ImageMapError) as error:
                reason = "ImagePullBackOff" if image_failures else "ErrImagePull"
                image_failures += 1
                message = str(error)
            except (MissingSourceError, PodFieldError, VolumeError, ApiError, UnreachableError) as error:
                reason, message = "CreateContainerConfigError", str(error)
            except OSError as error:
                reason, message = "CreateContainerError", disk.explain(error)
            self._set(scope, self.record.waiting(reason, message))
            if await scope.stop.sleep(delays.next_delay()):
                return None

    async def _order(self, scope: PodScope, container_id: str) -> LaunchOrder:
        services, spec, pod = self._services, self.spec, scope.pod
        program = services.images.find(spec.get("image") or "")
        sources = await services.sources.read(pod["metadata"]["namespace"], names_in_containers([spec]))
        name = pod["spec"].get("hostname") or pod["metadata"]["name"]
        base = {**services.base_variables, "HOSTNAME": name, CONTAINER_ID: container_id}
        isolated = services.launcher.isolated
        root = scope.directory / "roots" / self.record.name
        if not isolated:
            base["BUBU_VOLUME_ROOT"] = str(root)
        # Probes of other ports: the author has chosen others, and the program knows them.
        asked = probes.asked_ports(spec)
        wanted = program.ports if not asked or asked & set(program.ports) else ()
        ports = services.ports.lend(container_id, group_of(pod), wanted, services.host.address_of(pod))
        moved = {program.ports[port]: str(lent) for port, lent in ports.items()}
        variables = container_variables(
            pod, spec, sources, services.host, {**base, **inherited(program), **program.env, **moved}
        )
        argv = program.argv(spec, variables)
        if not argv:
            raise UnknownImageError(f'image "{spec.get("image")}": no command; set one in the Pod or the image map')
        mounts = container_mounts(spec, scope.places, variables)
        mounts += (Mount(str(self._fresh_termination_log(scope)), self._termination_path),)
        if not isolated:
            link_mounts(root, mounts)
        security = spec.get("securityContext") or {}
        return LaunchOrder(
            order_id=0,
            argv=argv,
            env=variables,
            workdir=spec.get("workingDir") or program.workdir,
            mounts=mounts if isolated else (),
            hostname=name,
            no_new_privileges=security.get("allowPrivilegeEscalation") is False,
        )

    # while it runs

    async def _attend(self, process: RunningProcess, log: LogWriter, scope: PodScope, order: LaunchOrder) -> Exit:
        try:
            async with trio.open_nursery() as attendants:
                attendants.start_soon(_end_on_stop, process, scope.stop)
                attendants.start_soon(self._probe, process, scope, order)
                async with trio.open_nursery() as pumps:
                    pumps.start_soon(_pump, process.stdout, "stdout", log)
                    pumps.start_soon(_pump, process.stderr, "stderr", log)
                    outcome = await process.wait()
                    pumps.cancel_scope.deadline = trio.current_time() + _DRAIN_SECONDS
                attendants.cancel_scope.cancel()
            return outcome
        except BaseException:
            with trio.CancelScope(shield=True):
                await _end(process, self._services.settings.shutdown_grace_seconds)
            raise

    async def _probe(self, process: RunningProcess, scope: PodScope, order: LaunchOrder) -> None:
        def set_ready(ready: bool) -> None:
            if ready != self.record.ready and not scope.stop.is_requested:
                self._set(scope, self.record.running_ready(ready))

        address = self._services.host.address_of(scope.pod)
        probed = probes.Probed(self.spec, address, order, self._services.launcher, self.record.ports)
        if await probes.watch_health(probed, set_ready):
            grace = scope.pod["spec"].get("terminationGracePeriodSeconds", 30)
            await _end(process, grace)

    # after the end

    @property
    def _termination_path(self) -> str:
        return str(self.spec.get("terminationMessagePath") or DEFAULT_TERMINATION_LOG)

    def _termination_log(self, scope: PodScope) -> Path:
        return scope.directory / f"termination-{self.record.name}-{self.record.restarts}"

    def _fresh_termination_log(self, scope: PodScope) -> Path:
        path = self._termination_log(scope)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        path.chmod(0o666)
        return path

    def _termination_message(self, scope: PodScope, outcome: Exit) -> str:
        """The end of the file, as a kubelet reads it: of a longer text the beginning is missing."""
        message = ""
        # Without namespaces a program can delete this file.
        with suppress(OSError), self._termination_log(scope).open("rb") as file:
            file.seek(-min(_MESSAGE_BYTES, file.seek(0, SEEK_END)), SEEK_END)
            message = file.read(_MESSAGE_BYTES).decode(errors="replace")
        fallback = self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if message or outcome.code == 0 or not fallback:
            return message
        path = self._services.logbook.path(scope.directory_name, self.record.name, self.record.restarts)
        return last_output(path, _FALLBACK_BYTES, _FALLBACK_LINES)

    def _set(self, scope: PodScope, record: ContainerRecord) -> None:
        self.record = record
        scope.changed()


async def _pump(stream: trio.lowlevel.FdStream, name: str, log: LogWriter) -> None:
    async with stream:
        while chunk := await stream.receive_some(_PIPE_BYTES):
            log.write(name, chunk)


async def _finish(log: LogWriter, stop: Stop) -> None:
    """Wait until the disk has room for the whole log: who is told of the end may look for the result in it."""
    with trio.move_on_after(_LOG_SECONDS):
        while not log.finish():
            if await stop.sleep(_LOG_PAUSE_SECONDS):
                return


async def _end_on_stop(process: RunningProcess, stop: Stop) -> None:
    """On stop, send SIGTERM to the program, as a container runtime does; after the grace, SIGKILL to its group."""
    await stop.wait()
    await process.send_signal(signal.SIGTERM)
    await stop.wait_until_patience_ends()
    await process.send_signal(signal.SIGKILL, group=True)


async def _end(process: RunningProcess, grace_seconds: float) -> None:
    await process.send_signal(signal.SIGTERM)
    with trio.move_on_after(grace_seconds):
        await process.wait()
    await process.send_signal(signal.SIGKILL, group=True)
    await process.wait()
