"""The process of the hub in a cluster. Start order is indentation; stop is the reverse.

signals
  health and metrics ports        answer from the first moment
    client, key, certificate
      lease                       only its holder serves, and writes statuses
        bindings                  all of them known
          listener, statuses

Losing the lease ends the sessions with ``UNAVAILABLE``, and the process tries again. What it holds is lost then, as
after a crash. SIGTERM stops the sources first, and gives the steps behind them time for what is on its way.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import trio
from trio.abc import ReceiveStream

from core.api.objects import NamespacedName, Object
from core.engine.clock import system_now
from core.kube.client import KubeClient, open_client
from core.kube.config import load_config
from core.kube.lease import LeaderLease, LeaseLostError, LeaseTiming
from core.telemetry.logs import get_logger
from core.workloads.hub_key import HUB_KEY_SECRET, keys_of_secret
from hub.attendance import AttendanceBook
from hub.bindings import binding_of
from hub.cluster_child_runs import ClusterChildRuns
from hub.cluster_topology import ClusterTopology
from hub.listener import HubListenerRules
from hub.metrics import HubMetrics
from hub.report import StatusReporter
from hub.run import LiveRun, RunServices
from hub.service import Hub
from hub.stream_view import StreamView
from kubewire import parent
from manager.bind import Address
from manager.followed_secret import FollowedSecret
from manager.hub_console import ConsoleOptions, HubConsole
from manager.hub_endpoint import is_loopback
from manager.hub_serving import HubFiles, listen_error, metrics_of, shown, span_exporter

LEASE: Final = "bobrapet-hub"
LEASE_TIMING: Final = LeaseTiming(lease_seconds=60.0, renew_deadline_seconds=45.0, retry_seconds=5.0)
"""Longer than the manager's: while an API server is replaced, packets must not stop."""
STOP_SECONDS: Final = 8.0
"""For everything but the drain."""
STUCK_SECONDS: Final = 300.0

_log = get_logger("hub")


@dataclass(frozen=True, slots=True)
class ClusterHubOptions:
    """What the hub of a cluster is started with."""

    address: Address
    namespace: str
    """That of the operator: of key, certificate and Lease."""
    kubeconfig: Path | None = None
    context: str | None = None
    files: HubFiles | None = None
    """Certificate and key that another component renews. None: the Secret of the operator; on loopback plaintext."""
    health: Address | None = None
    metrics: Address | None = None
    drain_seconds: float = 10.0
    identity: str = ""
    """In the Lease; empty: the name of the machine, and outside a Pod the number of the process."""
    attached: bool = False
    """The kubeconfig is the first line of standard input; the hub stops at the end of standard input."""
    console: ConsoleOptions | None = None
    """Where commands look at packets, and send some; None: nowhere."""
    rules: HubListenerRules = field(default_factory=HubListenerRules)

    @property
    def served(self) -> tuple[Address, ...]:
        """Where packets are served, in one way or another."""
        return (self.address,) if self.console is None else (self.address, self.console.address)


@dataclass(frozen=True, slots=True)
class HubTls:
    """The TLS contexts of the ports: streams speak HTTP/2, the console HTTP/1.1."""

    streams: Callable[[], ssl.SSLContext]
    console: Callable[[], ssl.SSLContext]


@dataclass(slots=True)
class _State:
    """What the checks of ``/readyz`` read."""

    serves: bool = False
    topology: ClusterTopology | None = None
    secrets: list[FollowedSecret] = field(default_factory=list)
    stopping: trio.Event = field(default_factory=trio.Event)

    def secret(self) -> str:
        return "; ".join(filter(None, (secret.trouble for secret in self.secrets)))

    def lease(self) -> str:
        return "" if self.serves else f"another hub may hold the Lease {LEASE}, or bindings are being read"

    def bindings(self) -> str:
        stuck = self.topology.informer.stuck_seconds if self.topology is not None else 0.0
        return f"cannot watch TransportBindings for {stuck:.0f} s" if stuck > STUCK_SECONDS else ""


async def run_until_signal(options: ClusterHubOptions) -> None:
    """Serve until SIGTERM or SIGINT, or until the parent has gone.

    Raises:
        HubStartError, ListenError: an address or a file cannot be used.
        KubeError: there is no usable kubeconfig.
    """
    state = _State()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, state, nursery.cancel_scope, options.drain_seconds)
        if options.attached:
            pipe = parent.standard_input()
            kubeconfig = await parent.word_of(pipe)
            if kubeconfig is None:
                nursery.cancel_scope.cancel()
                return
            nursery.start_soon(_stop_with_parent, pipe, nursery.cancel_scope)
            options = replace(options, kubeconfig=Path(kubeconfig))
            parent.answer(str(options.address))
        await run_cluster_hub(options, state)
        nursery.cancel_scope.cancel()


async def run_cluster_hub(
    options: ClusterHubOptions,
    state: _State | None = None,
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until ``state.stopping`` or a cancellation; started with the port when it serves for the first time."""
    state = state or _State()
    metrics = metrics_of(options.metrics)
    async with trio.open_nursery() as nursery:
        await _open_ports(nursery, options, state)
        async with open_client(await load_config(options.kubeconfig, options.context), managed_fields=False) as client:
            keys: list[tuple[bytes, ...]] = []
            terms: list[Hub] = []

            def adopt(stored: Object) -> None:
                found = keys_of_secret(stored)
                keys[:] = [found]
                for hub in terms:
                    hub.accept_keys(found)

            secret = FollowedSecret(client, options.namespace, HUB_KEY_SECRET, adopt)
            state.secrets.append(secret)
            nursery.start_soon(secret.run)
            tls = await _tls(nursery, client, options, state)
            for each in state.secrets:
                await each.wait_until_adopted()
            term = _Term(client, options, state, metrics, tls, keys, terms, task_status)
            while not state.stopping.is_set():
                lease = _lease(client, options)
                try:
                    await lease.run(partial(term.serve, lease))
                except LeaseLostError as lost:
                    _log.error("the hub has stopped serving", cause=str(lost))
        nursery.cancel_scope.cancel()


@dataclass(slots=True)
class _Term:
    """Serves while this process holds the Lease."""

    client: KubeClient
    options: ClusterHubOptions
    state: _State
    metrics: HubMetrics | None
    tls: HubTls | None
    keys: list[tuple[bytes, ...]]
    terms: list[Hub]
    """The hub of this term, while there is one."""
    task_status: trio.TaskStatus[int]

    async def serve(self, lease: LeaderLease) -> None:
        options, metrics = self.options, self.metrics
        reporter: StatusReporter | None = None
        view: StreamView | None = None

        def look_at(name: NamespacedName) -> None:
            if reporter is not None:
                reporter.look_at(name)

        def ended(run: LiveRun) -> None:
            if metrics is not None:
                metrics.ended(run)
            for name in view.ended(run) if view is not None else ():
                look_at(name)

        topology = self.state.topology = ClusterTopology(self.client, on_change=look_at)
        attendance = AttendanceBook(system_now, lambda place: look_at(binding_of(place)))
        writer = self.client.fenced(lease.check)
        child_runs = ClusterChildRuns(writer)
        services = RunServices(child_runs=child_runs)
        exporter = span_exporter(os.environ)
        services.spans = exporter
        hub = Hub(self.keys[0], options.rules, on_end=ended, attendance=attendance, services=services)
        console = self._console(topology, hub, look_at)
        place_of = console.place_of if console is not None else lambda name: None
        view = StreamView(topology.book, hub, trio.current_time, place_of)
        with ExitStack() as held:
            held.enter_context(shown(metrics, hub))
            self.terms.append(hub)
            held.callback(self.terms.remove, hub)
            async with trio.open_nursery() as nursery:
                await nursery.start(topology.run)
                reporter = StatusReporter(writer, topology.informer, view, system_now)
                has_tls = options.files is not None or _is_reached_from_outside(options.address)
                context = self.tls.streams if has_tls and self.tls is not None else None
                serve = partial(hub.serve, topology, options.address.host, options.address.port, context=context)
                try:
                    port = await nursery.start(serve)
                except OSError as error:
                    raise listen_error(options.address, error) from None
                nursery.start_soon(reporter.run)
                if exporter is not None:
                    nursery.start_soon(exporter.run, name="export of spans")
                nursery.start_soon(child_runs.follow)
                if console is not None:
                    nursery.start_soon(console.run)
                self.state.serves = True
                held.callback(setattr, self.state, "serves", False)
                _log.info("serving", address=options.address.host, port=port, tls=context is not None)
                self.task_status.started(port)
                self.task_status = trio.TASK_STATUS_IGNORED
                await self.state.stopping.wait()
                done = await hub.drain(options.drain_seconds)
                _log.info("the streams have ended", everything_delivered=done)
                nursery.cancel_scope.cancel()

    def _console(
        self, topology: ClusterTopology, hub: Hub, look_at: Callable[[NamespacedName], None]
    ) -> HubConsole | None:
        options = self.options.console
        if options is None:
            return None
        context = self.tls.console if self.tls is not None and _is_reached_from_outside(options.address) else None
        return HubConsole(options, topology.informer, topology.book, hub, look_at, system_now, context)


async def _open_ports(nursery: trio.Nursery, options: ClusterHubOptions, state: _State) -> None:
    if options.health is None and options.metrics is None:
        return
    # The embedded hub serves neither ports nor TLS. With these modules and those of TLS it takes 59 MiB instead of 47.
    from manager.probes import MetricsPage, Probes
    from manager.serving import serve_on

    if options.health is not None:
        checks = {"secrets": state.secret, "lease": state.lease, "bindings": state.bindings}
        await nursery.start(partial(serve_on, Probes(checks), options.health))
    if options.metrics is not None:
        await nursery.start(partial(serve_on, MetricsPage(None), options.metrics))


async def _tls(nursery: trio.Nursery, client: KubeClient, options: ClusterHubOptions, state: _State) -> HubTls | None:
    """What gives the contexts of the next connections; None for plaintext."""
    if options.files is None and not any(_is_reached_from_outside(each) for each in options.served):
        return None
    from manager.hub_tls import HubCertificate  # as in _open_ports

    certificate = HubCertificate()
    if options.files is not None:
        nursery.start_soon(certificate.follow_files, options.files)
        await certificate.wait_until_installed()
    else:
        secret = certificate.followed(client, options.namespace)
        state.secrets.append(secret)
        nursery.start_soon(secret.run)
    return HubTls(lambda: certificate.context, lambda: certificate.console_context)


def _is_reached_from_outside(address: Address) -> bool:
    """Whether connections to it leave the machine: never in plaintext."""
    return not is_loopback(address.host)


def _lease(client: KubeClient, options: ClusterHubOptions) -> LeaderLease:
    """A container that starts again has the identity of its predecessor, so it need not wait: it is the only one."""
    is_the_only_one = options.attached or "KUBERNETES_SERVICE_HOST" in os.environ
    identity = socket.gethostname() if is_the_only_one else f"{socket.gethostname()}_{os.getpid()}"
    return LeaderLease(
        client,
        name=LEASE,
        namespace=options.namespace,
        identity=options.identity or identity,
        now=system_now,
        timing=LEASE_TIMING,
    )


async def _stop_on_signal(state: _State, scope: trio.CancelScope, drain_seconds: float) -> None:
    """The first signal stops in order; a second one ends the process at once."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            if state.stopping.is_set():
                os._exit(1)
            _log.info("stopping", reason=signal.Signals(number).name)
            trio.lowlevel.spawn_system_task(_end_at_deadline, drain_seconds + STOP_SECONDS)
            state.stopping.set()
            if not state.serves:
                scope.cancel()


async def _stop_with_parent(pipe: ReceiveStream, scope: trio.CancelScope) -> None:
    """The API server has gone with the parent, so there is nothing to wait for."""
    await parent.wait_until_gone(pipe)
    _log.info("stopping", reason="the parent process has ended")
    trio.lowlevel.spawn_system_task(_end_at_deadline, 1.0)
    scope.cancel()


async def _end_at_deadline(seconds: float) -> None:
    await trio.sleep(seconds)
    _log.error("did not stop in time", seconds=seconds)
    os._exit(1)
