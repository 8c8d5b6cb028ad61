"""The executor that assigns attempts to warm workers. The StepRun is its only record and its only signal.

A first attempt starts with the creation of its StepRun, if a worker has room; otherwise, and for retries, a patch of
the metadata starts it. Both are conditional on the StepRun, so an assignment is made once, whoever makes it, and no
other object has to be read before. Source: StepRun contract 3.5, reliability of writes as in ``core.engine.ports``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, NamedTuple

import trio

from bubu_contract.canonical import NotJsonError
from bubu_contract.instants import format_instant
from core.api import keys
from core.api.objects import NamespacedName, Object, step_path
from core.api.phases import Reason
from core.caches.recently_used import RecentlyUsed
from core.engine.errors import NoRoomError, RejectedError, StaleError
from core.engine.executor_port import ExecutorTraits, StopReason
from core.engine.ports import (
    WORKER,
    AttemptOrder,
    AttemptState,
    Binding,
    Clock,
    CreateStepRun,
    EventSink,
    EventType,
    Observation,
)
from core.engine.step.assignment import Assignment, assignment_of, assignment_patch
from core.engine.step.worker_observation import exit_of, observe_worker
from core.policy.warm import WarmPolicy
from core.workloads.environment import EnvironmentTooLargeError
from core.workloads.runner import account_annotations
from core.workloads.step_workload import StepWorkload
from core.workloads.warm_steps import why_cannot_serve
from core.workloads.worker_pool import WorkersWanted, environment_of, workers_wanted
from reconcilers.adapters.binding import ResolvedBinding
from reconcilers.adapters.ordered_workload import ordered_workload
from reconcilers.adapters.step_runs import KubeStepRuns
from reconcilers.adapters.worker_line import AwaitedRoom
from reconcilers.adapters.worker_pools import WorkerPools
from reconcilers.adapters.worker_registry import PoolKey, WorkerPlace, WorkerRegistry

BEFORE_CREATION_SECONDS: Final = 2.0
"""How long a step waits for a worker before its StepRun exists. Then its creation and its assignment are one write."""
REMEMBERED: Final = 8
"""Pools of the last steps."""
RELEASE_TIME: Final = timedelta(seconds=10)
"""How much longer than the drain a warm worker may take to say that the attempt has ended.

It kills a function that does not end at the end of the same time, and a process that cannot report five seconds later
(SDK contract 24.2). So nothing works on after the end is recorded.
"""
_NO_TIMEOUT: Final = timedelta(days=1)


class _Work(NamedTuple):
    """An attempt, as a worker gets it."""

    pool: WorkersWanted
    environment: Mapping[str, str]
    notes: Sequence[str]
    """What was changed in the policy of the step."""


class _KnownPool(NamedTuple):
    """What a pool follows from is kept, so that no other object gets one of these identities."""

    binding: Binding
    story: Object
    pool: WorkersWanted


class WorkerExecutor:
    """Engram steps in workers that are kept ready."""

    traits: Final = ExecutorTraits(WORKER, lives_by_record=True, release_time=RELEASE_TIME)

    def __init__(
        self,
        step_runs: KubeStepRuns,
        pools: WorkerPools,
        registry: WorkerRegistry,
        events: EventSink,
        clock: Clock,
        *,
        before_creation_seconds: float = BEFORE_CREATION_SECONDS,
    ) -> None:
        self._before_creation_seconds = before_creation_seconds
        self._last = RecentlyUsed[tuple[str, int, int], _KnownPool](REMEMBERED)
        """By namespace, and the identities of binding and Story."""
        self._step_runs = step_runs
        self._pools = pools
        self._registry = registry
        self._events = events
        self._clock = clock
        registry.when_misconfigured(pools.doubt)

    async def prepare_run(self, run: Object, story: Object) -> None:
        """Workers have accounts of their own."""
        await trio.lowlevel.checkpoint()

    async def start(self, order: AttemptOrder) -> None:
        if order.create is not None:
            await self._start_with_creation(order, order.create)
        elif not await self._is_started(order):
            await self._start(order)

    async def _start_with_creation(self, order: AttemptOrder, create: CreateStepRun) -> None:
        await trio.lowlevel.checkpoint()
        step_run = order.step_run
        stamp = {"creationTimestamp": format_instant(self._clock.now()), "uid": ""}
        order = replace(order, step_run={**step_run, "metadata": {**step_run["metadata"], **stamp}})
        work = self._work(order)
        async with self._place_soon(order, _pool(work.pool)) as place:
            if place is None:
                await create(_labelled(work.pool))
            else:
                patch = self._assignment(order, work, place)
                self._tell_notes(order, work)
                await create(patch)

    @asynccontextmanager
    async def _place_soon(self, order: AttemptOrder, pool: PoolKey) -> AsyncIterator[WorkerPlace | None]:
        """A place; if all workers that are ready are at work, the first that is free within a short time. None: there
        is none, and the step keeps its place in the line.
        """
        key, called = _key(order), trio.Event()
        waits = self._before_creation_seconds > 0 and self._registry.is_served(pool)
        with self._registry.place_for(pool, key, _awaited(order, called.set) if waits else None) as place:
            if place is not None or not waits:
                yield place
                return
        try:
            with trio.move_on_after(self._before_creation_seconds):
                await called.wait()
            with self._registry.place_for(pool, key) as place:
                yield place
        except BaseException:
            self._registry.leave(pool, key)
            raise

    async def _start(self, order: AttemptOrder) -> None:
        work = self._work(order)
        resolved = ResolvedBinding.of(order)
        await self._pools.ensure(work.pool, resolved.settings.storage)
        pool = _pool(work.pool)
        with self._registry.place_for(pool, _key(order), _awaited(order)) as place:
            if place is None:
                self._refuse_to_wait(pool, order)
            else:
                patch = self._assignment(order, work, place)
                self._tell_notes(order, work)
                await self._step_runs.patch_step_run_metadata(order.step_run, patch)

    async def _is_started(self, order: AttemptOrder) -> bool:
        """
        Raises:
            StaleError: an earlier attempt may still run.
        """
        assignment = assignment_of(order.step_run)
        if assignment is None:
            await trio.lowlevel.checkpoint()
            return False
        if assignment.attempt == order.attempt:
            await trio.lowlevel.checkpoint()
            return True
        if not await self._is_released(order.step_run, assignment):
            name = order.step_run["metadata"]["name"]
            raise StaleError(f"attempt {assignment.attempt} of {name} still runs in worker {assignment.worker}")
        return False

    def _refuse_to_wait(self, pool: PoolKey, order: AttemptOrder) -> None:
        """
        Raises:
            NoRoomError: the step waits for its turn.
            RejectedError: no worker has become ready in the time of the step.
        """
        why = self._registry.why_no_place(pool)
        if self._registry.has_waited_too_long(pool, _key(order), trio.current_time()):
            raise RejectedError(
                f"{why}, and none was within {order.binding.limit}; look at the Pods of Deployment {pool}",
                reason=Reason.EXECUTION_FAILED,
            )
        raise NoRoomError(why)

    def _work(self, order: AttemptOrder) -> _Work:
        """
        Raises:
            RejectedError: the Engram cannot be served by a worker any more, or the inputs are too large or no JSON.
        """
        key = (order.step_run["metadata"]["namespace"], id(order.binding), id(order.story))
        known = self._last.get(key)
        if known is None:
            _check(order)
        try:
            # To write the outputs of all steps again for each one would cost more than all the rest of a long loop.
            workload = ordered_workload(order, "", with_context=not order.is_resolved)
            if known is None:
                known = _KnownPool(order.binding, order.story, _pool_of(order, workload))
                self._last.put(key, known, 1)
            return _Work(known.pool, environment_of(workload), workload.policy.notes)
        except EnvironmentTooLargeError as error:
            raise RejectedError(str(error), reason=Reason.INPUT_TOO_LARGE) from error
        except NotJsonError as error:
            raise RejectedError(str(error), reason=Reason.EXPRESSION_FAILED) from error

    def _assignment(self, order: AttemptOrder, work: _Work, place: WorkerPlace) -> Object:
        """Labels and annotations that give the attempt to a worker. Its time begins now.

        Raises:
            RejectedError: ``InputTooLarge``.
        """
        assignment = Assignment(
            attempt=order.attempt,
            worker=place.worker,
            worker_uid=place.uid,
            deadline_at=order.binding.deadline_from(self._clock.now()),
            execution_key=order.execution_key,
            environment=work.environment,
        )
        patch = assignment_patch(assignment)
        return {**patch, "labels": {**patch["labels"], **_labelled(work.pool)["labels"]}}

    def _tell_notes(self, order: AttemptOrder, work: _Work) -> None:
        for note in work.notes:
            text = f"step {order.step_run['spec']['stepId']}: {note}"
            self._events.emit(order.run, EventType.WARNING, "PolicyEnforced", text)

    async def observe(self, namespace: str, name: str, step_run: Object | None) -> Observation:
        seen = Observation(None) if step_run is None else await self._look(step_run)
        if seen.state is AttemptState.ABSENT and self._registry.lingers(NamespacedName(namespace, name)):
            return Observation(step_run, AttemptState.LINGERING)
        return seen

    async def _look(self, step_run: Object) -> Observation:
        """What the StepRun says, and whether its worker is there; nothing of an earlier StepRun of that name."""
        assignment = assignment_of(step_run)
        if assignment is None or exit_of(step_run, assignment) is not None:
            await trio.lowlevel.checkpoint()
            return observe_worker(step_run, is_lost=False)
        is_lost = await self._registry.is_lost(step_run["metadata"]["namespace"], assignment)
        await trio.lowlevel.checkpoint()
        return observe_worker(step_run, is_lost)

    async def _is_released(self, step_run: Object, assignment: Assignment) -> bool:
        if exit_of(step_run, assignment) is not None:
            return True
        return await self._registry.is_lost(step_run["metadata"]["namespace"], assignment)

    async def read_result(self, step_run: Object) -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        raise StaleError(f"StepRun {step_run['metadata']['name']} has its result itself")

    async def stop(self, step_run: Object, why: StopReason) -> None:
        """Nothing: the mark that the engine has made on the StepRun is the signal."""
        await trio.lowlevel.checkpoint()


def _check(order: AttemptOrder) -> None:
    """
    Raises:
        RejectedError: the Engram cannot be served by a worker any more.
    """
    resolved = ResolvedBinding.of(order)
    namespace = order.step_run["metadata"]["namespace"]
    if why := why_cannot_serve(resolved.policy, resolved.engram, resolved.template, namespace):
        text = f"the step was created for a warm worker, but {why}; start another run"
        raise RejectedError(text, reason=Reason.INVALID_CONFIGURATION)


def _pool_of(order: AttemptOrder, workload: StepWorkload) -> WorkersWanted:
    """
    Raises:
        EnvironmentTooLargeError.
    """
    annotations, warm = account_annotations(workload.namespace, order.story), workload.policy.warm or WarmPolicy()
    return workers_wanted(workload, warm, order.binding.engram_namespace, annotations)


def _labelled(wanted: WorkersWanted) -> Object:
    """Without an assignment: the pool is asked for a worker."""
    return {"labels": {keys.LABEL_WORKER_POOL: wanted.name}}


def _pool(wanted: WorkersWanted) -> PoolKey:
    return PoolKey(wanted.namespace, wanted.name)


def _key(order: AttemptOrder) -> NamespacedName:
    metadata = order.step_run["metadata"]
    return NamespacedName(metadata["namespace"], metadata["name"])


def _timeout_seconds(order: AttemptOrder) -> float:
    return (order.binding.timeout or _NO_TIMEOUT).total_seconds()


def _awaited(order: AttemptOrder, on_ready: Callable[[], None] | None = None) -> AwaitedRoom:
    """The step in a line; it gives up when its time is over and no worker has become ready."""
    gives_up_at = trio.current_time() + _timeout_seconds(order)
    return AwaitedRoom(_run(order), step_path(order.step_run) or None, gives_up_at, on_ready=on_ready)


def _run(order: AttemptOrder) -> NamespacedName:
    metadata = order.run["metadata"]
    return NamespacedName(metadata["namespace"], metadata["name"])
