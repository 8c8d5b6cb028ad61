"""One manager process, from start to stop. Start order is indentation; stop is the reverse.

signals
  health port                     answers from the first moment, "not ready" with reasons
    client, events, configuration
      informers                   every store filled
        admission port            on every replica, whether or not it leads
        metrics port
          lease                   only its holder goes on; losing it ends what is below
            engine, controllers
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from trio.abc import ReceiveStream

from core.engine.clock import WallClock, system_now
from core.kube.client import KubeClient, open_client
from core.kube.config import SERVICE_ACCOUNT_PATH, load_config
from core.kube.errors import KubeError
from core.kube.events import EventRecorder
from core.kube.fence import fence_of
from core.kube.lease import LeaderLease
from core.ownership.ownership import WHOLE_CLUSTER
from core.telemetry import metrics
from core.telemetry.logs import get_logger
from core.telemetry.otlp.otlp_ignored import warn_of_ignored_variables
from core.telemetry.otlp.otlp_settings import OtlpSettings, OtlpSettingsError, names_a_collector, read_otlp_settings
from kubewire import parent
from kubewire.reclaim import reclaim_when_quiet, spare_what_there_is
from manager.assembly import Operator
from manager.bind import Address
from manager.config_source import ConfigSource
from manager.hub_access import HubAccessSource
from manager.hub_endpoint import host_of, needs_certificate
from manager.hub_presence import HubPresence
from manager.live import ReadinessGauges
from manager.memory import give_back_free_pages, give_back_large_blocks
from manager.metrics_access import MetricsAccess
from manager.metrics_tls import metrics_context
from manager.options import ManagerOptions
from manager.probes import Check, MetricsPage, Probes
from manager.serving import ListenError, serve_on
from manager.task_tree import lines_of
from manager.tracing import Tracing
from reconcilers.adapters.world import World
from reconcilers.controllers import watched_kinds

if TYPE_CHECKING:
    from certs.hub_authority import HubAuthority
    from manager.admission.service import AdmissionService

CONFIG_DEADLINE_SECONDS: Final = 15.0
STOP_DEADLINE_SECONDS: Final = 8.0
"""Less than the ten seconds that the Deployment gives a Pod."""
_LINES_A_RECORD: Final = 80
"""Lines of the task tree in one record: container runtimes cut lines of a log into pieces of 16 KiB."""

_log = get_logger("setup")


class StartError(Exception):
    """The manager cannot start; the message says why and what to do."""


def run_forever(options: ManagerOptions) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code: 0 for a clean stop, 1 for a failure (logged)."""
    give_back_large_blocks()
    gc.freeze()  # loaded modules stay, so the collector need not visit them
    try:
        trio.run(run_until_signal, options, strict_exception_groups=True)
    except Exception as broken:  # noqa: BLE001 - the process edge: the log has the error that ended the manager
        for error in _leaves(broken):
            if isinstance(error, (KubeError, ListenError, StartError)):
                _log.error("the manager stops", cause=str(error))
            else:
                _log.error("the manager failed", error=error)
        return 1
    return 0


async def run_until_signal(options: ManagerOptions) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
        nursery.start_soon(log_tasks_on_signal)
        if options.attached:
            pipe = parent.standard_input()
            kubeconfig = await parent.word_of(pipe)
            if kubeconfig is None:
                nursery.cancel_scope.cancel()
                return
            nursery.start_soon(_stop_with_parent, pipe, nursery.cancel_scope)
            options = replace(options, kubeconfig=Path(kubeconfig))

        async def run_to_the_end(*, task_status: trio.TaskStatus[str]) -> None:
            await run_manager(options, task_status=task_status)
            nursery.cancel_scope.cancel()

        metrics_url = await nursery.start(run_to_the_end)
        if options.attached:
            parent.answer(metrics_url)


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    """The first signal stops the process cleanly; a second one ends it at once."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        count = 0
        async for number in signals:
            count += 1
            if count > 1:
                os._exit(1)
            _stop(scope, signal.Signals(number).name)


async def log_tasks_on_signal() -> None:
    """SIGUSR1 logs the task tree; the process continues."""
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        async for _ in signals:
            root = trio.lowlevel.current_root_task()
            assert root is not None, "this is a task"
            lines = lines_of(root)
            parts = [lines[start : start + _LINES_A_RECORD] for start in range(0, len(lines), _LINES_A_RECORD)]
            for number, part in enumerate(parts, start=1):
                _log.info("task tree", part=number, parts=len(parts), tasks="\n".join(part))


async def _stop_with_parent(pipe: ReceiveStream, scope: trio.CancelScope) -> None:
    await parent.wait_until_gone(pipe)
    _stop(scope, "the parent process has ended")


def _stop(scope: trio.CancelScope, why: str) -> None:
    """Cancel all work; at the deadline, end the process before the kubelet or a person has to."""
    _log.info("stopping", reason=why)
    trio.lowlevel.spawn_system_task(_end_at_deadline)
    scope.cancel()


async def _end_at_deadline() -> None:
    await trio.sleep(STOP_DEADLINE_SECONDS)
    _log.error("did not stop in time", seconds=STOP_DEADLINE_SECONDS)
    os._exit(1)


async def run_manager(options: ManagerOptions, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
    """Everything below the signal handler; started once the controllers work, with the URL of the metrics, if any.

    Raises:
        KubeError: the cluster cannot be reached or does not serve our kinds.
        ListenError: a port is in use.
        LeaseLostError: another manager has the lease.
    """
    state = _Readiness()
    otlp = _otlp_settings()
    async with trio.open_nursery() as serving:
        await serving.start(partial(reclaim_when_quiet, state.changes, heeds_timers=True))
        state.checks |= {"informers": state.informers, "configuration": state.configuration}
        if options.admission.address is not None:
            state.checks["webhook"] = state.webhook
        if options.health is not None:
            await serving.start(serve_on, Probes(state.checks), options.health)
        if options.metrics.address is not None:
            metrics.start_recording()  # before anything lists or serves: some gauges are set only when they change
        config = await load_config(options.kubeconfig, options.context)
        async with (
            open_client(config, managed_fields=False) as client,
            _open_world(client, options, state) as (world, source, events),
        ):
            if options.admission.address is not None:
                state.admission = await _open_admission(client, world, source, events, options)
                await serving.start(state.admission.run)
            metrics_url = ""
            if options.metrics.address is not None:
                url: str = await serving.start(_serve_metrics, client, options, options.metrics.address)
                metrics_url = f"{url}/metrics"
            hub = HubAccessSource(client, options.config_namespace, source.current, endpoint=options.hub_endpoint)
            serving.start_soon(hub.run, name="access to the hub")
            presence = HubPresence(client, options.config_namespace, source.current, system_now)
            serving.start_soon(presence.run, name="presence of the hub")
            if needs_certificate(options.hub_endpoint):
                serving.start_soon(_hub_authority(client, events, options).run)
            lease = _lease(client, options) if options.leader.enabled else None
            ownership = WHOLE_CLUSTER
            operator = Operator(
                client.fenced(fence_of(ownership, lease.check if lease is not None else None)),
                world,
                source.current,
                events,
                WallClock(),
                options.config_namespace,
                volume_claims=options.volume_claims,
                ownership=ownership,
                hub=hub.current,
                hub_silence=presence.silence,
                tracing=Tracing(source.current, otlp, options.tracing_shutdown_seconds),
            )
            if source.current().tracing_enabled and isinstance(otlp, OtlpSettingsError):
                raise StartError(f"telemetry.enabled is true, and its variables cannot be used: {otlp}")
            if not source.current().tracing_enabled and names_a_collector(os.environ):
                _log.info("traces are not exported, although a variable names a collector: telemetry.enabled is false")
            source.listeners.append(operator.settings_changed)
            hub.listeners.append(operator.settings_changed)
            source.listeners.append(presence.settings_changed)
            presence.listeners.append(operator.hub_changed)

            async def work() -> None:
                _log.info("controllers start")
                task_status.started(metrics_url)
                await operator.run()

            if lease is None:
                await work()
            else:
                await lease.run(work)
        serving.cancel_scope.cancel()


def _otlp_settings() -> OtlpSettings | OtlpSettingsError:
    """What the variables say, or what is wrong with them: that counts only while traces are exported."""
    warn_of_ignored_variables(os.environ)
    try:
        return read_otlp_settings(os.environ)
    except OtlpSettingsError as error:
        return error


def _lease(client: KubeClient, options: ManagerOptions) -> LeaderLease:
    return LeaderLease(
        client,
        name=options.leader.name,
        namespace=options.leader.namespace or _pod_namespace() or options.config_namespace,
        identity=f"{socket.gethostname()}_{os.getpid()}",
        now=system_now,
    )


class _Readiness:
    """The checks of ``/readyz``, and what they read."""

    def __init__(self) -> None:
        self.world: World | None = None
        self.synced = False
        self.source: ConfigSource | None = None
        self.admission: AdmissionService | None = None
        self.checks: dict[str, Check] = {}

    def changes(self) -> int:
        """The number of changes that the informers have seen."""
        return self.world.changes if self.world is not None else 0

    def informers(self) -> str:
        """Kinds that cannot be listed; once all are, those that cannot be watched. Contains no object names."""
        if self.synced and self.world is not None:
            stuck = ", ".join(
                filter(None, (self.world.stuck, self.admission.stuck() if self.admission is not None else ""))
            )
            return f"cannot watch {stuck}" if stuck else ""
        trouble = self.world.trouble if self.world is not None else ""
        return f"cannot list {trouble}" if trouble else "waiting for the first lists of the API server"

    def configuration(self) -> str:
        return self.source.why_not_in_force() if self.source is not None else "has not been read yet"

    def webhook(self) -> str:
        return self.admission.trouble() if self.admission is not None else "has not been started yet"


@asynccontextmanager
async def _open_world(
    client: KubeClient, options: ManagerOptions, state: _Readiness
) -> AsyncIterator[tuple[World, ConfigSource, EventRecorder]]:
    """Filled informers, and the configuration in force; all watches end with the block."""
    events = EventRecorder(client, now=system_now)
    source = ConfigSource(client, options.config_namespace, options.config_name, events)
    world = state.world = World.watching(client, watched_kinds())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(events.run)
        state.source = source
        with trio.move_on_after(CONFIG_DEADLINE_SECONDS) as reading:
            await nursery.start(source.run)
        if reading.cancelled_caught:
            raise StartError(
                f"the operator ConfigMap {options.config_namespace}/{options.config_name} could not be read within "
                f"{CONFIG_DEADLINE_SECONDS:.0f} s: {source.trouble or 'the API server does not answer'}"
            )
        await nursery.start(world.run)
        spare_what_there_is()
        give_back_free_pages()
        state.synced = True
        with metrics.collected_by(ReadinessGauges(state.checks, world).collect):
            yield world, source, events
        nursery.cancel_scope.cancel()


async def _open_admission(
    client: KubeClient, world: World, source: ConfigSource, events: EventRecorder, options: ManagerOptions
) -> AdmissionService:
    from manager.admission.identity import own_user_name  # a manager without admission need not load its server
    from manager.admission.service import AdmissionService

    namespace = _pod_namespace() or options.config_namespace
    assert options.admission.address is not None
    return AdmissionService(
        options.admission,
        options.admission.address,
        client,
        world,
        source.current,
        events,
        WallClock(),
        namespace,
        await own_user_name(client),
    )


def _hub_authority(client: KubeClient, events: EventRecorder, options: ManagerOptions) -> HubAuthority:
    from certs.hub_authority import HubAuthority, hub_names  # needed only where containers reach the hub by TLS

    namespace = _pod_namespace() or options.config_namespace
    return HubAuthority(client, namespace, hub_names(host_of(options.hub_endpoint)), WallClock(), events)


async def _serve_metrics(
    client: KubeClient,
    options: ManagerOptions,
    address: Address,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    secure = options.metrics.secure
    page = MetricsPage(MetricsAccess(client) if secure else None)
    try:
        context = metrics_context(options.metrics) if secure else None
    except OSError as error:
        where = options.metrics.certificate
        raise StartError(
            f"the metrics certificate {where} cannot be used: {error}; check --metrics-cert-path"
        ) from None
    await serve_on(page, address, context=context, http2=options.metrics.http2, task_status=task_status)


def _pod_namespace() -> str:
    try:
        return Path(SERVICE_ACCOUNT_PATH / "namespace").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
