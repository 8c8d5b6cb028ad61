"""The executor of warm workers on the model cluster, for one process of the operator.

All its data is in the StepRun. An attempt starts when the StepRun names a worker for it, is over when the StepRun says
so, and has ended when the worker has released it. So it needs no request to end an attempt.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import trio

from core.api.objects import Object
from core.engine.errors import StaleError
from core.engine.ports import AttemptOrder, AttemptState, Clock, Observation
from core.engine.redrive.request import pending_redrive
from core.engine.step.record import attempt_of, attempt_ordered, is_asked_to_end, retries_of, running_patch
from fuzz.engine.adapters import ModelStepRuns, confirm
from fuzz.engine.cluster import Cluster
from fuzz.engine.process import Process
from fuzz.engine.warm_workers import WORKER, WarmWorkers, is_over, worker_for


@dataclass
class ModelWorkerExecutor:
    """Assigns attempts to workers."""

    name = WORKER
    lives_by_record = True

    cluster: Cluster
    process: Process
    step_runs: ModelStepRuns
    workers: WarmWorkers
    clock: Clock

    async def prepare_run(self, run: Object, story: Object) -> None:
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def assigned(self, order: AttemptOrder) -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint()
        yield None

    async def start_attempt(self, order: AttemptOrder) -> None:
        """One write with the version of the StepRun in the order as precondition, so that it can succeed only once."""
        if not self.step_runs.take_new(order.step_run):
            await confirm(self.cluster, self.process, order.step_run)
            run = await confirm(self.cluster, self.process, order.run)
            if is_asked_to_end(order.run, run) and not order.outlives_cancel:
                raise StaleError("the run has been canceled")
            if pending_redrive(run) is not None:
                raise StaleError("the run is to run again")
        metadata = order.step_run["metadata"]
        self.workers.inputs[metadata["uid"], order.attempt] = dict(order.inputs)
        worker = worker_for(metadata["name"], order.attempt)
        attempt = replace(attempt_ordered(order), worker=worker)
        patch = running_patch(order.step_run, self.clock.now(), attempt)
        patch["attempt"]["exitCode"] = None
        await self.step_runs.patch_step_run_status(order.step_run, patch)

    async def observe(self, step_run: Object) -> Observation:
        self.process.check()
        attempt, status = attempt_of(step_run), step_run.get("status") or {}
        if attempt is None:
            return Observation(step_run)
        if attempt.worker and is_over(step_run, attempt.number):
            return Observation(step_run, AttemptState.LINGERING)
        seen: dict[str, Any] = {"attempt": attempt.number, "deadline_at": attempt.deadline_at, "worker": attempt.worker}
        seen["execution_key"] = attempt.execution_key
        if attempt.worker:
            return Observation(step_run, AttemptState.RUNNING, **seen)
        if attempt.number != retries_of(status):
            return Observation(step_run)
        code = status["attempt"].get("exitCode")
        state = AttemptState.SUCCEEDED if code == 0 else AttemptState.FAILED
        return Observation(step_run, state, exit_code=code, reason="" if code is not None else "WorkerLost", **seen)

    async def read_result(self, step_run: Object) -> Mapping[str, Any]:
        raise AssertionError("its workers report by themselves")

    def lingers(self, namespace: str, step_run_name: str) -> bool:
        """A worker stops at once when its StepRun is gone."""
        return False

    async def tend_attempt(self, step_run: Object) -> None:
        await trio.lowlevel.checkpoint()

    async def drain_attempt(self, step_run: Object) -> None:
        await self.end_attempt(step_run)

    async def end_attempt(self, step_run: Object) -> None:
        await trio.lowlevel.checkpoint()

    async def end_earlier_attempt(self, step_run: Object) -> None:
        await trio.lowlevel.checkpoint()

    async def end_leftover(self, step_run: Object) -> None:
        await trio.lowlevel.checkpoint()
