"""Runs single steps of a run and handles their outcome: records it, and ends the run if a step asks for that.

``group_execution`` decides which step is next; for the branches of a ``parallel`` step, that step decides.
"""

from __future__ import annotations

from core.engine.context.run_context import RunContext
from core.engine.context.step_context import StepContext
from core.engine.context.step_end import finish, record_end
from core.engine.context.step_start import needs_met
from core.engine.plan import StepPlan
from core.engine.primitives.life import live
from core.engine.run.early_end import EarlyEnd


class StepRunner:
    """Runs the steps and branches of one run, each on its own."""

    def __init__(self, run_context: RunContext, early_end: EarlyEnd) -> None:
        self._run_context = run_context
        self._early_end = early_end

    def begin(self, step: StepPlan) -> StepContext:
        """The step starts now."""
        context = StepContext.of(self._run_context, step)
        needs_met(self._run_context, step)
        return context

    async def run(self, context: StepContext) -> bool:
        """From the current state of the step to the record of its end; False if the run ends with it."""
        end = await live(context, branches=self)
        record_end(self._run_context, context.step, end.verdict)
        return end.ends_run is None or not self._early_end.end(end.ends_run)

    def finish(self, step: StepPlan) -> None:
        """Everything that follows from the end of the step has been started."""
        finish(self._run_context, step)
