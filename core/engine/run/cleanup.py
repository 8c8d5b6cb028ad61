"""Compensations and ``finally`` steps: they run after the main steps, each list with its own deadline.

Source: StoryRun contract 14. The deadlines are our addition: a run must end even if its clean-up hangs.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import trio

from core.api.phases import Phase, Reason
from core.engine.context.run_context import RunContext
from core.engine.context.step_end import record_end
from core.engine.plan import GroupName, GroupPlan, StoryPlan
from core.engine.run.group_execution import GroupExecution
from core.engine.run.step_runner import StepRunner
from core.engine.run.termination import end_group
from core.engine.step import endings
from core.engine.step.endings import Ending
from core.engine.step.timers import GROUP_MARK, Timer, TimerKind
from core.engine.step.verdict import Conclusion, Verdict
from core.graph.readiness import failed_steps


class Cleanup:
    """The two lists of clean-up steps of one run, whose main steps have ended."""

    def __init__(self, run_context: RunContext, runner: StepRunner) -> None:
        self._run_context = run_context
        self._runner = runner

    @property
    def plan(self) -> StoryPlan:
        return self._run_context.plan

    async def compensate(self, ending: Ending | None) -> None:
        """Run the compensations if the run failed, else end those that have started. Cancel it to end it early."""
        group, state = self.plan.compensations, self._run_context.status.state
        failed = failed_steps(self.plan.graph, state.phases, self.plan.rules)
        if ending.compensates if ending is not None else bool(failed):
            await self._run(GroupName.COMPENSATIONS, group)
        elif ending is not None:  # an earlier process may have started some
            await self.end_compensations(ending, ending.decided_at + self._drain)
        else:
            now = self._run_context.engine.clock.now()
            await self.end_compensations(endings.uncalled_for(now), now + self._drain)

    async def end_compensations(self, ending: Ending, drain_at: datetime) -> None:
        await end_group(self._run_context, self.plan.compensations, ending, drain_at)

    async def finish(self) -> None:
        """Run the ``finally`` steps, unless no main step has started: then there is nothing to clean up."""
        group, phases = self.plan.finally_, self._run_context.status.state.phases
        has_started = any(name in phases and phases[name] is not Phase.SKIPPED for name in self.plan.main.order)
        if has_started or any(name in phases for name in group.order):
            await self._run(GroupName.FINALLY, group)
        else:
            for name in group.order:
                skipped = Verdict(Phase.SKIPPED, "Skipped: no step of the run had started")
                record_end(self._run_context, self.plan.steps[name], skipped)

    async def _run(self, name: GroupName, group: GroupPlan) -> None:
        phases = self._run_context.status.state.phases
        if all(step in phases and phases[step].terminal for step in group.order):
            return
        deadline_at = await self._deadline_at(name)
        if self._run_context.engine.clock.now() < deadline_at:
            over = False
            async with trio.open_nursery() as nursery:

                async def watch() -> None:
                    nonlocal over
                    await self._run_context.engine.clock.sleep_until(deadline_at)
                    over = True
                    nursery.cancel_scope.cancel()

                nursery.start_soon(watch, name=f"deadline of {name}")
                await GroupExecution(self._run_context, group, self._runner).run()
                nursery.cancel_scope.cancel()
            if not over:
                return
        conclusion = Conclusion(Phase.FAILED, Reason.TIMED_OUT, f"the time limit of {name} has passed")
        ending = endings.out_of_time(str(name), conclusion, deadline_at)
        await end_group(self._run_context, group, ending, deadline_at + self._drain)

    @property
    def _drain(self) -> timedelta:
        return self.plan.graceful_shutdown or self._run_context.engine.settings.run_defaults().graceful_shutdown

    async def _deadline_at(self, name: GroupName) -> datetime:
        """When the time of the list is over. Stored, with all ends before it, before the first step of the list starts.

        It never changes.
        """
        key, status = f"{GROUP_MARK}{name}", self._run_context.status
        if key not in (status.state.timers or {}):
            budget = self.plan.cleanup_timeout or self._run_context.engine.settings.run_defaults().cleanup_timeout
            timer = Timer(TimerKind.DEADLINE, self._run_context.engine.clock.now() + budget)
            status.apply(status.state.timer_set(key, timer))
        return (await status.stored_timer(key)).at
