"""The work of the leader: the engine, the controllers of ``reconcilers.controllers``, and the routes that wake them.

It starts when the informers are filled: it enqueues their objects once, and then every change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import trio

from core.api.objects import NamespacedName
from core.api.resource import IMPULSE, STORY, STORY_RUN, TRANSPORT, TRANSPORT_BINDING, Resource
from core.engine.awaited import AwaitedDefinitions
from core.engine.concurrency.limiter import ConcurrencyLimiter
from core.engine.engine_context import EngineContext
from core.engine.executors import Executors
from core.engine.ports import Clock
from core.engine.run.supervisor import Supervisor
from core.engine.settings import EngineSettings, RunDefaults
from core.engine.slots.queueing import limits_of
from core.engine.slots.slots import Slots
from core.kube.client import KubeClient
from core.kube.events import EventRecorder
from core.ownership.ownership import WHOLE_CLUSTER, OwnedKey, Ownership
from core.policy.references import ForeignReference, why_denied
from core.policy.settings import OperatorSettings
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger, log_traces
from core.workloads.hub_lease import HubSilenceProvider, no_silence
from manager.evaluation import evaluator_of
from manager.live import ImpulseGauges, LiveGauges, QueueGauges
from manager.tracing import Tracing
from reconcilers.adapters.binding import Binder
from reconcilers.adapters.binding_budget import BindingBudget
from reconcilers.adapters.event_sink import KubeEventSink
from reconcilers.adapters.job_executor import JobExecutor
from reconcilers.adapters.run_store import KubeRunStore
from reconcilers.adapters.runner import RunnerAccess
from reconcilers.adapters.secret_check import SecretCheck
from reconcilers.adapters.step_runs import KubeStepRuns
from reconcilers.adapters.stored_payloads import StoredPayloads
from reconcilers.adapters.stream_ends import StreamEnds
from reconcilers.adapters.stream_executor import HubAccessProvider, StreamExecutor
from reconcilers.adapters.stream_objects import StreamObjects
from reconcilers.adapters.worker_executor import WorkerExecutor
from reconcilers.adapters.worker_pools import WorkerPools
from reconcilers.adapters.worker_registry import WorkerRegistry
from reconcilers.adapters.world import World
from reconcilers.controller_set import ControllerSet
from reconcilers.controllers import CONTROLLERS
from reconcilers.output_log import OutputLog
from reconcilers.registration import ControllerDependencies, ControllerRegistration, no_hub
from reconcilers.router import connect_engine, connect_streams, runs_with_streams
from reconcilers.run_counts import RunCounts
from reconcilers.run_log import RunLog
from reconcilers.runtime.controller import Key
from reconcilers.traces.trace_projection import TraceProjection

_log = get_logger("controller.storyrun")


class Operator:
    """``run()`` works until it is cancelled; nothing continues after the call.

    ``world`` watches all kinds that ``controllers`` declare.
    """

    def __init__(
        self,
        client: KubeClient,
        world: World,
        settings: Callable[[], OperatorSettings],
        recorder: EventRecorder,
        clock: Clock,
        operator_namespace: str,
        *,
        volume_claims: Path | None = None,
        controllers: Sequence[ControllerRegistration] = CONTROLLERS,
        ownership: Ownership = WHOLE_CLUSTER,
        hub: HubAccessProvider = no_hub,
        hub_silence: HubSilenceProvider = no_silence,
        tracing: Tracing | None = None,
    ) -> None:
        self._world = world
        self._tracing = tracing or Tracing(settings)
        rules = self._tracing.rules
        self._settings = settings
        self._ownership = ownership
        self._evaluator = evaluator_of(settings, clock.now)
        events = KubeEventSink(recorder)
        binder = Binder(client, world, settings, rules)
        step_runs = KubeStepRuns(client, world, rules)
        secrets = SecretCheck(client, operator_namespace, settings)
        runner = RunnerAccess(client, world, binder, events, settings)
        budget = BindingBudget(settings)
        store = KubeRunStore(client, world, settings, rules)
        stream_ends = StreamEnds(StreamObjects(client, world))
        shared = (client, world, step_runs, binder, secrets, events, runner)
        payloads = StoredPayloads(client, settings, operator_namespace, volume_claims)
        self._workers = WorkerRegistry(client, world)
        pools = WorkerPools(client, world, secrets)
        warm = WorkerExecutor(step_runs, pools, self._workers, events, clock)
        self._slots = Slots(lambda: limits_of(settings()), clock)
        self._limiter = ConcurrencyLimiter(store)
        self._awaited = AwaitedDefinitions()
        self.supervisor = Supervisor(
            EngineContext(
                runs=store,
                step_runs=step_runs,
                bindings=binder,
                executors=Executors(
                    [JobExecutor(*shared), StreamExecutor(*shared, hub, stream_ends, budget, hub_silence), warm]
                ),
                evaluator=self._evaluator,
                payloads=payloads,
                events=events,
                clock=clock,
                settings=self._engine_settings(),
                slots=self._slots,
                concurrency=self._limiter,
                ownership=ownership,
                awaited=self._awaited,
            ),
            self._scope_crashed,
        )
        self._traces = TraceProjection(world, self.supervisor, rules, clock.now, ownership)
        self._run_log = RunLog(world, rules, ownership)
        self._controllers = ControllerSet(
            controllers,
            ControllerDependencies(
                client,
                world,
                self.supervisor,
                events,
                clock,
                settings,
                payloads=payloads,
                stores=payloads,
                operator_namespace=operator_namespace,
                hub=hub,
                hub_silence=hub_silence,
                stream_ends=stream_ends,
                workers=self._workers,
                ownership=ownership,
            ),
            _observed,
        )

    async def run(self) -> None:
        with self._world.connecting():
            self._connect()
        with ExitStack() as stack:
            stack.enter_context(log_traces(self._run_log.trace_of))
            for gauges in self._gauges():
                stack.enter_context(metrics.collected_by(gauges.collect))
            await self._work()

    def _gauges(self) -> Iterator[LiveGauges | QueueGauges | ImpulseGauges | ControllerSet]:
        yield self._controllers
        yield LiveGauges(self.supervisor, self._world.story_runs)
        yield QueueGauges(self._slots)
        if self._world.watches(IMPULSE):
            yield ImpulseGauges(self._world.informer(IMPULSE))

    async def release(self, key: OwnedKey) -> None:
        """End all work for a key, without another write; ``ownership`` must no longer own it.

        Returns when the next owner may begin: each request that this process has sent is answered, or given up after
        ``WRITE_DEADLINE_SECONDS`` of core.engine.calls. Bounded by that and ``reconcile_timeout``.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.supervisor.release, NamespacedName(*key))
            nursery.start_soon(self._controllers.release, Key(*key))

    def adopt(self, key: OwnedKey) -> None:
        """Begin work for a key that ``ownership`` now owns: every controller looks at the object.

        The controller of runs starts a live run in the engine. The informers must have seen the writes of the previous
        owner: list once more after that owner has released the key.
        """
        self._controllers.enqueue(Key(*key))

    async def _work(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._evaluator.keep_warm)
            nursery.start_soon(self._workers.run, name="heartbeats of warm workers")
            nursery.start_soon(self.supervisor.run)
            nursery.start_soon(self._tracing.run, self._traces, name="export of traces")
            self._controllers.start_in(nursery)
            self._controllers.enqueue_everything()

    def _connect(self) -> None:
        """Decides which controller or run looks again after which change."""
        connect_engine(
            self._world,
            self.supervisor,
            run_ended=self._limiter.ended,
            step_run_ended=self._slots.step_run_ended,
            definition_changed=self._awaited.changed,
            ownership=self._ownership,
        )
        connect_streams(
            self._world, self.supervisor, definition_changed=self._awaited.changed, ownership=self._ownership
        )
        self._workers.connect(self.supervisor.wake)
        self._controllers.connect()
        RunCounts(self._ownership).connect(self._world)
        self._traces.connect()
        self._run_log.connect()
        OutputLog(lambda: self._settings().step_output_logging, self._ownership, self._run_log.trace_of).connect(
            self._world
        )

    def hub_changed(self) -> None:
        """The hub is lost, or is back: whether their streams are connected is news for live runs and Transports."""
        for run in runs_with_streams(self._world.informer(TRANSPORT_BINDING).each()):
            self.supervisor.wake(run)
        self._controllers.enqueue_all_of(TRANSPORT)

    def settings_changed(self) -> None:
        """Apply the new limits, the new policy for references, and what is new for listeners."""
        self._slots.limits_changed()
        self._awaited.rules_changed()
        self._controllers.settings_changed()
        self._tracing.settings_changed()

    def _engine_settings(self) -> EngineSettings:
        return EngineSettings(
            run_defaults=lambda: run_defaults_of(self._settings()),
            queues=lambda: self._settings().runs.queues,
            max_priorities=lambda: self._settings().runs.max_priorities,
            offloaded_data=lambda: self._settings().templating.offloaded_data_policy,
            max_inline_bytes=lambda: self._settings().engram.max_inline_size_bytes,
            max_recursion_depth=lambda: self._settings().engram.max_recursion_depth,
            why_story_refused=partial(self._why_refused, STORY_RUN),
            why_call_refused=partial(self._why_refused, STORY),
        )

    def _scope_crashed(self, key: NamespacedName, error: BaseException) -> None:
        metrics.count(catalogue.CONTROLLER_RECONCILE_ERRORS, controller="storyrun", error_type=type(error).__name__)
        if isinstance(error, Exception):
            _log.error("a run crashed; it starts again from its recorded state", run=str(key), error=error)

    def _why_refused(self, source: Resource, namespace: str, story_namespace: str, story_name: str) -> str | None:
        """Why an object of the kind ``source`` in ``namespace`` may not refer to a Story, or None."""
        reference = ForeignReference(
            from_group=source.group,
            from_kind=source.kind,
            from_namespace=namespace,
            to_group=STORY.group,
            to_kind=STORY.kind,
            to_namespace=story_namespace,
            to_name=story_name,
        )
        grants = self._world.reference_grants.list(story_namespace)
        return why_denied(reference, self._settings().cross_namespace_policy, grants)


def run_defaults_of(settings: OperatorSettings) -> RunDefaults:
    """What the engine uses for runs whose Story sets nothing else."""
    return RunDefaults(
        max_inline_inputs_bytes=settings.runs.max_inline_inputs_size_bytes,
        graceful_shutdown=timedelta(seconds=settings.engram.graceful_shutdown_timeout_seconds),
        cleanup_timeout=settings.runs.cleanup_timeout,
        gate_timeout=settings.timeouts.approval_default,
        wait_timeout=settings.timeouts.external_data_default,
        max_story_depth=settings.runs.max_story_depth,
    )


def _observed(controller: str, outcome: str, seconds: float) -> None:
    metrics.count(catalogue.CONTROLLER_RECONCILE, controller=controller, result=outcome)
    metrics.observe(catalogue.CONTROLLER_RECONCILE_DURATION, seconds, controller=controller)
