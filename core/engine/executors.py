"""The executors that carry out the attempts of steps: one for each name that a StepRun may record.

A StepRun is created for one executor (``spec.executor``), which starts, observes and ends all of its attempts. The
engine reads the name from the StepRun, not from what the Engram is bound to now: another process, or the same one after
the Engram was changed, must find and end what was started. Only this module finds an executor by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import trio

from core.api.objects import Object
from core.api.phases import Reason
from core.engine.errors import RejectedError
from core.engine.executor_port import AttemptExecutor, ExecutorTraits, StopReason
from core.engine.ports import AttemptOrder, AttemptState, Observation, StepError, StepRuns
from core.engine.step import record


class Executors:
    """All executors of this operator. Of one that it does not have, nothing starts and nothing is known."""

    def __init__(self, executors: Iterable[AttemptExecutor]) -> None:
        self._by_name = {executor.traits.name: executor for executor in executors}

    def traits_of(self, step_run: Object | None) -> ExecutorTraits:
        """The traits of the executor that the StepRun was created for; the usual ones if there is none."""
        if step_run is None:
            return ExecutorTraits("")
        executor = self._of(step_run)
        return executor.traits if executor is not None else ExecutorTraits(record.executor_of(step_run))

    def why_unknown(self, name: str) -> StepError | None:
        """Why the executor of that name can start nothing; None: this operator has it."""
        return None if name in self._by_name else self._problem(name)

    async def prepare_run(self, run: Object, story: Object) -> None:
        """Ensure what any of the executors needs for the attempts of a run."""
        for executor in self._by_name.values():
            await executor.prepare_run(run, story)

    async def start(self, order: AttemptOrder) -> None:
        """As ``AttemptExecutor.start``.

        Raises:
            RejectedError: also if this operator does not have the executor.
        """
        await self._known(order.step_run).start(order)

    async def observe(self, step_runs: StepRuns, run: Object, name: str) -> Observation:
        """One look at the step of ``run`` whose StepRun has that name; never waits.

        Nothing may start while something still runs for a StepRun of that name, whichever executor started it: an
        earlier StepRun that is gone may have belonged to another executor.
        """
        namespace = run["metadata"]["namespace"]
        step_run = await step_runs.read_step_run(run, name)
        seen = await self.look(step_run) if step_run is not None else Observation(None)
        if seen.state is not AttemptState.ABSENT:
            return seen
        has_looked = self._of(step_run) if step_run is not None else None
        for executor in self._by_name.values():
            if executor is not has_looked:
                left = await executor.observe(namespace, name, None)
                if left.state is AttemptState.LINGERING:
                    return Observation(step_run, AttemptState.LINGERING)
        return seen

    async def look(self, step_run: Object) -> Observation:
        """What the executor of the StepRun sees; nothing of what other executors have left. Never waits."""
        executor, metadata = self._of(step_run), step_run["metadata"]
        if executor is None:
            return Observation(step_run)
        return await executor.observe(metadata["namespace"], metadata["name"], step_run)

    async def read_result(self, step_run: Object) -> Mapping[str, Any]:
        """As ``AttemptExecutor.read_result``.

        Raises:
            RejectedError: also if this operator does not have the executor.
        """
        return await self._known(step_run).read_result(step_run)

    async def stop(self, step_run: Object, why: StopReason) -> None:
        """As ``AttemptExecutor.stop``."""
        executor = self._of(step_run)
        if executor is None:
            await trio.lowlevel.checkpoint()
        else:
            await executor.stop(step_run, why)

    def _of(self, step_run: Object) -> AttemptExecutor | None:
        return self._by_name.get(record.executor_of(step_run))

    def _known(self, step_run: Object) -> AttemptExecutor:
        executor = self._of(step_run)
        if executor is None:
            problem = self._problem(record.executor_of(step_run))
            raise RejectedError(problem.message, reason=problem.reason)
        return executor

    def _problem(self, name: str) -> StepError:
        known = ", ".join(sorted(self._by_name))
        return StepError(Reason.INVALID_CONFIGURATION, f"there is no executor {name!r}; this operator has: {known}")
