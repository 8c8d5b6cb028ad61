"""The executor of realtime steps: each attempt is the life of one Deployment or StatefulSet, which the hub serves.

A start ensures TransportBinding, Secret, Service and workload, in this order and each idempotently; the workload is the
last and starts the work. The ends that need no decision of the engine are in ``stream_ends``, which a controller calls
after every change as well. Source: streaming contract 6, StepRun contract 22, reliability of writes as in
``core.engine.ports``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import trio

from bubu_contract.canonical import NotJsonError
from core.api import keys
from core.api.objects import Object
from core.api.phases import Reason
from core.api.resource import SECRET, STEP_RUN
from core.engine.errors import HubUnknownError, RejectedError, StaleError
from core.engine.executor_port import ExecutorTraits, StopReason
from core.engine.ports import STREAM, AttemptOrder, AttemptState, EventSink, EventType, Observation
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError
from core.workloads.environment import EnvironmentTooLargeError
from core.workloads.hub_access import HubAccess
from core.workloads.hub_lease import HubSilenceProvider, no_silence
from core.workloads.step_workload import StepWorkload
from core.workloads.stream_binding import CANCELED, BindingTooLargeError, ending_of, runs_jobs
from core.workloads.stream_credentials import stream_secret
from core.workloads.stream_runtime import stream_runtime, stream_service
from reconcilers.adapters.binding import Binder, ResolvedBinding
from reconcilers.adapters.binding_budget import BindingBudget
from reconcilers.adapters.lent_rights import refuse_lent_rights
from reconcilers.adapters.observation import any_alive
from reconcilers.adapters.ordered_stream import (
    default_tls_secret,
    ordered_binding,
    ordered_stream,
    ordered_stream_step,
)
from reconcilers.adapters.runner import RunnerAccess
from reconcilers.adapters.secret_check import SecretCheck
from reconcilers.adapters.start_check import confirm_start
from reconcilers.adapters.step_runs import KubeStepRuns
from reconcilers.adapters.stream_authority import StreamAuthority
from reconcilers.adapters.stream_ends import StreamEnds
from reconcilers.adapters.stream_look import StreamLook, attempt_of
from reconcilers.adapters.stream_objects import StreamObjects
from reconcilers.adapters.stream_observation import observe_stream
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import World, is_object_name
from reconcilers.adapters.writes import confirm

HubAccessProvider = Callable[[], HubAccess | None]
"""The access to the hub as it is now; None: it is not known yet."""


class StreamExecutor:
    """Engram steps of realtime Stories as workloads that live as long as the stream."""

    traits: Final = ExecutorTraits(STREAM, word="workload", ends_by_itself=False)

    def __init__(
        self,
        client: KubeClient,
        world: World,
        step_runs: KubeStepRuns,
        binder: Binder,
        secrets: SecretCheck,
        events: EventSink,
        runner: RunnerAccess,
        hub: HubAccessProvider,
        ends: StreamEnds | None = None,
        budget: BindingBudget | None = None,
        hub_silence: HubSilenceProvider = no_silence,
    ) -> None:
        """
        Args:
            ends: shared with the controller of streams; None: there is none in this process.
            budget: limits how many bindings are written at once; None: there is no limit.
        """
        self._client = client
        self._world = world
        self._step_runs = step_runs
        self._binder = binder
        self._secrets = secrets
        self._events = events
        self._runner = runner
        self._hub = hub
        self._hub_silence = hub_silence
        self._objects = StreamObjects(client, world)
        self._authority = StreamAuthority(client)
        self._ends = ends or StreamEnds(self._objects)
        self._budget = budget

    async def prepare_run(self, run: Object, story: Object) -> None:
        """The account is that of Jobs, which their executor ensures for every run."""
        await trio.lowlevel.checkpoint()

    async def start(self, order: AttemptOrder) -> None:
        access = self._hub()
        if access is None:
            raise HubUnknownError(
                "the address of the hub is unknown: the operator needs the Secrets bobrapet-hub-key and (with TLS) "
                "bobrapet-hub-tls in its namespace; run the hub, or set controller.transport.hub-endpoint"
            )
        try:
            await self._start(order, access)
        except (EnvironmentTooLargeError, BindingTooLargeError) as error:
            raise RejectedError(str(error), reason=Reason.INPUT_TOO_LARGE) from error
        except NotJsonError as error:
            raise RejectedError(str(error), reason=Reason.EXPRESSION_FAILED) from error

    async def _start(self, order: AttemptOrder, access: HubAccess) -> None:
        step_run = order.step_run
        resolved = ResolvedBinding.of(order)
        await refuse_lent_rights(order, self._binder)
        step = await self._secrets.check(await self._with_tls(order), resolved.settings.storage)
        for note in step.policy.notes:
            self._events.emit(order.run, EventType.WARNING, "PolicyEnforced", f"step {step.step_id}: {note}")
        wanted = ordered_binding(order, step, access)
        binding = await self._objects.ensure_binding(step_run, wanted, order.attempt, partial(self._take_turn, order))
        if runs_jobs(binding):
            return  # with its binding, the step has begun
        workload = ordered_stream(order, step, binding, access)
        secret = stream_secret(workload, access.key)
        workload = replace(workload, secret_name=secret["metadata"]["name"])
        runtime = stream_runtime(workload)  # before the next write: a payload may be too large
        if access.ca_bundle is not None:
            await self._authority.ensure(step.namespace, access.ca_bundle)
        await self._objects.ensure_secret(step_run, secret)
        await self._objects.ensure_service(step_run, stream_service(workload))
        # Last: another leader may do all of this meanwhile, and end the workload that this one would create again.
        if not self._step_runs.take_new(step_run):
            await self._refuse_beside_earlier_pods(order)
            await confirm_start(self._client, self._world, order)
        await self._objects.ensure_runtime(step_run, runtime, order.attempt)

    def _take_turn(self, order: AttemptOrder) -> None:
        """
        Raises:
            ThrottledError: too many bindings have been written a moment ago.
        """
        if self._budget is not None:
            self._budget.take_turn(order.run, f"{order.step_run['metadata']['uid']}/{order.attempt}")

    async def _with_tls(self, order: AttemptOrder) -> StepWorkload:
        """The step, with the operator's default TLS Secret if it exists there: without one, the hub is reached too."""
        account = await self._runner.account_of(order.run, order.story)
        step, default = ordered_stream_step(order, account), default_tls_secret(order)
        if step.tls_secret or not is_object_name(default):
            return step
        with port_errors():
            try:
                await self._client.get(SECRET, default, step.namespace)
            except NotFoundError:
                return step
        return replace(step, tls_secret=default)

    async def _refuse_beside_earlier_pods(self, order: AttemptOrder) -> None:
        """The API server is asked, because the watch of Pods may be behind.

        Raises:
            StaleError: a Pod of an earlier attempt, or of an earlier StepRun of that name, is alive.
        """
        look = await self._objects.look_closely(order.step_run)
        workload = look.standing_workload
        if workload is not None and attempt_of(workload) == order.attempt:
            return  # they are its own
        if (await self._objects.with_stored_pods(look)).is_alive:
            raise StaleError(f"a Pod of an earlier attempt of {order.step_run['metadata']['name']} is still alive")

    async def observe(self, namespace: str, name: str, step_run: Object | None) -> Observation:
        if step_run is None:
            left = self._objects.known_runtimes(namespace, name) or any_alive(self._objects.known_pods(namespace, name))
            return Observation(None, AttemptState.LINGERING if left else AttemptState.ABSENT)
        look = await self._objects.look_with_binding(step_run)
        return observe_stream(replace(look, hub_silence=self._hub_silence()))

    async def read_result(self, step_run: Object) -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        raise StaleError(f"StepRun {step_run['metadata']['name']} serves a stream, which has no result")

    async def stop(self, step_run: Object, why: StopReason) -> None:
        if why is StopReason.IF_DONE:  # the controller of streams does so after each change, too
            await self._ends.advance(self._objects.look(step_run))
            return
        look = await self._objects.look_closely(step_run)
        is_earlier = look.workload is not None and attempt_of(look.workload) != look.attempt
        if why is StopReason.DRAIN:
            await self._ends.advance(look)
        elif is_earlier or why is not StopReason.SUPERSEDED:
            await self._end(step_run, look)

    async def _end(self, step_run: Object, look: StreamLook) -> None:
        workload = look.standing_workload
        if look.jobs_binding is not None:
            if not ending_of(look.jobs_binding):
                await self._objects.mark(look.jobs_binding, {keys.ANNOTATION_STREAM_ENDING: CANCELED})
            await self._ends.advance(self._objects.look(step_run))
            return
        if workload is None:
            return
        if attempt_of(workload) > look.attempt:  # another leader's, unless this one is wrong
            await confirm(self._client, self._world.step_runs, STEP_RUN, step_run)
        await self._objects.remove_runtime(workload)
