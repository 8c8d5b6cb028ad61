"""The executor of warm workers on the model cluster, for one process of the operator.

All its records are in the StepRun (``core.engine.step.assignment``), and what follows from a StepRun is decided by the
code of production (``core.engine.step.worker_observation``). Who is ready, and who is missing, it learns from
``warm_workers``. It needs no request to end an attempt.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

import trio

from core.api import keys
from core.api.objects import NamespacedName, Object, has_ended, step_path
from core.engine.errors import NoRoomError
from core.engine.executor_port import StopReason
from core.engine.ports import AttemptOrder, AttemptState, CreateStepRun, Observation
from core.engine.step.assignment import Assignment, assignment_of, assignment_patch
from core.engine.step.worker_observation import is_released, observe_worker
from core.kube.store import Change
from fuzz.engine.adapters import ModelStepRuns
from fuzz.engine.model_room import WorkerLoad, least_loaded
from fuzz.engine.process import Process
from fuzz.engine.warm_workers import HEARS_WITHIN_SECONDS, INPUTS, POOL, ROOM, WarmWorkers
from fuzz.engine.watches import controller_owner
from reconcilers.adapters.worker_executor import BEFORE_CREATION_SECONDS, WorkerExecutor
from reconcilers.adapters.worker_leftovers import Leftover, WorkerLeftovers
from reconcilers.adapters.worker_line import AwaitedRoom, WorkerLine

KEPT_SECONDS: Final = 30.0
"""How long room is kept for a step that was called."""


@dataclass
class ModelWorkerExecutor:
    """Assigns attempts to workers."""

    traits = WorkerExecutor.traits

    process: Process
    step_runs: ModelStepRuns
    workers: WarmWorkers
    wake: Callable[[NamespacedName, str | None], None] = lambda key, step: None
    _missing: set[str] = field(default_factory=set)
    """UIDs of the workers that this process knows to be missing."""
    _reserved: Counter[str] = field(default_factory=Counter)
    """By UID of the worker: attempts that this process is about to assign."""
    _line: WorkerLine = field(default_factory=WorkerLine)
    _leftovers: WorkerLeftovers = field(default_factory=lambda: WorkerLeftovers(HEARS_WITHIN_SECONDS))

    async def prepare_run(self, run: Object, story: Object) -> None:
        await trio.lowlevel.checkpoint()

    async def start(self, order: AttemptOrder) -> None:
        """One write with the version of the StepRun in the order as precondition, or its creation: it succeeds only
        once, and not after another leader has ended the step. So no other object has to be read.
        """
        if order.create is not None:
            await trio.lowlevel.checkpoint()
            await self._start_with_creation(order, order.create)
        else:
            await self._start(order)

    async def _start_with_creation(self, order: AttemptOrder, create: CreateStepRun) -> None:
        self.process.check()
        worker = self._choose(order) or await self._choose_soon(order)
        if worker is None:
            try:
                await create({"labels": {keys.LABEL_WORKER_POOL: POOL}})
            except BaseException:
                self._line.leave(_key_of(order.step_run))
                raise
            return
        self._reserved[worker.uid] += 1
        try:
            patch = assignment_patch(_assignment(order, worker))
            patch["labels"][keys.LABEL_WORKER_POOL] = POOL
            await create(patch)
        finally:
            self._reserved[worker.uid] -= 1

    async def _start(self, order: AttemptOrder) -> None:
        self.process.check()
        worker = self._choose(order)
        if worker is None:
            self._line.join(_key_of(order.step_run), _awaited(order))
            raise NoRoomError(f"all workers of pool {POOL} are at work")
        self._reserved[worker.uid] += 1
        try:
            await self.step_runs.patch_step_run_metadata(order.step_run, assignment_patch(_assignment(order, worker)))
        finally:
            self._reserved[worker.uid] -= 1
            self._call()  # the write may have failed

    async def observe(self, namespace: str, name: str, step_run: Object | None) -> Observation:
        self.process.check()
        seen = Observation(None)
        if step_run is not None:
            assignment = assignment_of(step_run)
            seen = observe_worker(step_run, assignment is not None and self._is_lost(assignment))
        if seen.state is AttemptState.ABSENT and NamespacedName(namespace, name) in self._leftovers:
            return Observation(step_run, AttemptState.LINGERING)
        return seen

    async def read_result(self, step_run: Object) -> Mapping[str, Any]:
        raise AssertionError("its workers report by themselves")

    async def stop(self, step_run: Object, why: StopReason) -> None:
        await trio.lowlevel.checkpoint()

    # What it is told.

    def tell(self, kind: str, change: Change) -> None:
        """Something has changed in the caches of the process."""
        if kind != "StepRun" or self.process.dead:
            return
        left = self._leftovers.note(change.object, trio.current_time()) if change.new is None else None
        if left is not None:
            self.workers.later(left.heard_by, lambda _: self._settle_leftovers(), {})
        if change.new is None or has_ended(change.new):
            self._line.leave(_key_of(change.object))
        self._call()

    def miss(self, uid: str) -> None:
        if self.process.dead:
            return
        self._missing.add(uid)
        self._settle_leftovers()
        for step_run in self.process.known.all("StepRun"):
            assignment = assignment_of(step_run)
            if assignment is not None and assignment.worker_uid == uid:
                self._wake(step_run)

    def find(self, uid: str) -> None:
        if self.process.dead:
            return
        self._missing.discard(uid)
        self._settle_leftovers()
        self._call()

    # What it decides.

    async def _choose_soon(self, order: AttemptOrder) -> WorkerLoad | None:
        """Wait in the line for a while, if there is a worker; the step has no StepRun yet that could be woken."""
        if not self._loads():
            return None
        key, called = _key_of(order.step_run), trio.Event()
        self._line.join(key, _awaited(order, called.set))
        try:
            with trio.move_on_after(BEFORE_CREATION_SECONDS):
                await called.wait()
            self.process.check()
            return self._choose(order)
        except BaseException:
            self._line.leave(key)
            raise

    def _choose(self, order: AttemptOrder) -> WorkerLoad | None:
        loads = self._loads()
        free = sum(worker.free for worker in loads)
        return least_loaded(loads) if self._line.may_take(_key_of(order.step_run), free) else None

    def _loads(self) -> list[WorkerLoad]:
        load = Counter(self._reserved)
        for step_run in self.process.known.all("StepRun"):
            assignment = assignment_of(step_run)
            if assignment is not None and not is_released(step_run):
                load[assignment.worker_uid] += 1
        ready = (one for one in self.workers.workers if one.uid not in self._missing)
        return [WorkerLoad(one.name, one.uid, ROOM, load[one.uid]) for one in ready]

    def _call(self) -> None:
        """Wake the next steps, as many as there is room for; it is kept for them for a while."""
        if not len(self._line) or self.process.dead:
            return
        self._line.expire(trio.current_time())
        until = trio.current_time() + KEPT_SECONDS
        called = self._line.call(sum(worker.free for worker in self._loads()), until)
        for waiting in called:
            if waiting.on_ready is not None:
                waiting.on_ready()
            else:
                self.wake(waiting.run, waiting.step)
        if called:
            self.workers.later(until, lambda _: self._call(), {})

    def _is_lost(self, assignment: Assignment) -> bool:
        return assignment.worker_uid in self._missing

    def _settle_leftovers(self) -> None:
        """Wake the steps whose StepRuns are gone, if nothing runs for them any more."""
        if self.process.dead:
            return
        now = trio.current_time()
        for left in self._leftovers.settle(self._has_lost, lambda left: self._renewed_at(left, now)):
            self._wake(left.step_run)

    def _has_lost(self, left: Leftover) -> bool:
        return self._is_lost(left.assignment)

    def _renewed_at(self, left: Leftover, now: float) -> float:
        """A worker renews its Lease all the time, but for those in which it has no contact."""
        return now if self.workers.in_contact(left.assignment.worker_uid) else float("-inf")

    def _wake(self, step_run: Object) -> None:
        owner = controller_owner(step_run)
        if owner is not None and owner["kind"] == "StoryRun":
            self.wake(NamespacedName(step_run["metadata"]["namespace"], owner["name"]), step_path(step_run) or None)


def _assignment(order: AttemptOrder, worker: WorkerLoad) -> Assignment:
    environment = {INPUTS: json.dumps(dict(order.inputs))}
    return Assignment(order.attempt, worker.name, worker.uid, order.deadline_at, order.execution_key, environment)


def _awaited(order: AttemptOrder, on_ready: Callable[[], None] | None = None) -> AwaitedRoom:
    run = NamespacedName(order.run["metadata"]["namespace"], order.run["metadata"]["name"])
    return AwaitedRoom(run, step_path(order.step_run), inf, on_ready=on_ready)


def _key_of(step_run: Object) -> NamespacedName:
    return NamespacedName(step_run["metadata"]["namespace"], step_run["metadata"]["name"])
