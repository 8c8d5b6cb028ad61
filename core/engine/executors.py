"""The executors that carry out the attempts of steps: one for each name that a StepRun may record.

A StepRun is created for one executor (``spec.executor``), which starts, observes and ends all of its attempts. The
engine reads the name from the StepRun, not from what the Engram is bound to now: another process, or the same one after
the Engram was changed, must find and end what was started.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from core.api.objects import Object
from core.api.phases import Reason
from core.engine.errors import RejectedError
from core.engine.ports import AttemptExecutor, AttemptOrder, AttemptState, Observation, StepError, StepRuns
from core.engine.step import record


class Executors:
    """All executors of this operator."""

    def __init__(self, executors: Iterable[AttemptExecutor]) -> None:
        self._by_name = {executor.name: executor for executor in executors}

    def of(self, step_run: Object) -> AttemptExecutor:
        """The executor that the StepRun was created for; an ``UnknownExecutor`` if this operator does not have it."""
        name = record.executor_of(step_run)
        return self._by_name.get(name) or UnknownExecutor(name, self._problem(name))

    def why_unknown(self, name: str) -> StepError | None:
        """Why the executor of that name can start nothing; None: this operator has it."""
        return None if name in self._by_name else self._problem(name)

    async def prepare_run(self, run: Object, story: Object) -> None:
        """Ensure what any of the executors needs for the attempts of a run."""
        for executor in self._by_name.values():
            await executor.prepare_run(run, story)

    async def observe(self, step_runs: StepRuns, run: Object, name: str) -> Observation:
        """One look at the step of ``run`` whose StepRun has that name; never waits.

        Nothing may start while something still runs for a StepRun of that name, whichever executor started it: an
        earlier StepRun that is gone may have belonged to another executor. An executor that lives by the record sees in
        a StepRun nothing of one that is gone.
        """
        step_run = await step_runs.read_step_run(run, name)
        executor = self.of(step_run) if step_run is not None else None
        seen = await executor.observe(step_run) if executor is not None and step_run is not None else Observation(None)
        if seen.state is not AttemptState.ABSENT:
            return seen
        namespace = run["metadata"]["namespace"]
        asked = (each for each in self._by_name.values() if each is not executor or each.lives_by_record)
        lingers = any(each.lingers(namespace, name) for each in asked)
        return Observation(step_run, AttemptState.LINGERING) if lingers else seen

    def _problem(self, name: str) -> StepError:
        known = ", ".join(sorted(self._by_name))
        return StepError(Reason.INVALID_CONFIGURATION, f"there is no executor {name!r}; this operator has: {known}")


class UnknownExecutor:
    """Stands for an executor that this operator does not have: it starts nothing, and knows of nothing that runs."""

    lives_by_record = False

    def __init__(self, name: str, problem: StepError) -> None:
        self.name = name
        self._problem = problem

    async def prepare_run(self, run: Object, story: Object) -> None:
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def assigned(self, order: AttemptOrder) -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint()
        yield None

    async def start_attempt(self, order: AttemptOrder) -> None:
        await trio.lowlevel.checkpoint()
        raise RejectedError(self._problem.message, reason=self._problem.reason)

    async def observe(self, step_run: Object) -> Observation:
        await trio.lowlevel.checkpoint()
        return Observation(step_run)

    async def tend_attempt(self, step_run: Object) -> None:
        await trio.lowlevel.checkpoint()

    async def read_result(self, step_run: Object) -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        raise RejectedError(self._problem.message, reason=self._problem.reason)

    def lingers(self, namespace: str, step_run_name: str) -> bool:
        return False

    async def drain_attempt(self, step_run: Object) -> None:
        await trio.lowlevel.checkpoint()

    async def end_attempt(self, step_run: Object) -> None:
        await trio.lowlevel.checkpoint()

    async def end_earlier_attempt(self, step_run: Object) -> None:
        await trio.lowlevel.checkpoint()

    async def end_leftover(self, step_run: Object) -> None:
        await trio.lowlevel.checkpoint()
