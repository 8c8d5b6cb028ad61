"""Carries out single steps of a run and acts on their outcome: records it, and ends the run where a step asks for it.

Which step is next is decided by ``group_execution``; the branches of a ``parallel`` step by that step.
"""

from __future__ import annotations

from core.engine.context.run_context import RunContext, StepContext
from core.engine.plan import StepPlan
from core.engine.primitives.life import live
from core.engine.run.early_end import EarlyEnd


class StepRunner:
    """The steps and branches of one run, one by one."""

    def __init__(self, run_context: RunContext, early_end: EarlyEnd) -> None:
        self._run_context = run_context
        self._early_end = early_end

    def begin(self, step: StepPlan) -> StepContext:
        """The step starts now."""
        return self._run_context.begin(step)

    async def run(self, context: StepContext) -> bool:
        """From wherever the step stands to the record of its end; False when the run ends with it."""
        end = await live(context, branches=self)
        self._run_context.record(context.step, end.verdict)
        return end.ends_run is None or not self._early_end.end(end.ends_run)

    def finish(self, step: StepPlan) -> None:
        """Whatever follows from the end of the step has begun."""
        self._run_context.finish(step)
