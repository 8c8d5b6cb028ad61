"""Executes one group of steps: one task for each step whose needs are met, until every step of the group has ended.

``_advance`` decides for all steps at once and is synchronous: it applies the pure decision of core.graph.readiness and
returns; tasks start, and the status is written, after it. The task of a next step does not wait for the write that
records the end of the step before it: the next step's own StepRun makes it recoverable.
Source: StoryRun contract 7, 10 and 14.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from core.api.phases import Phase
from core.engine.context.run_context import RunContext
from core.engine.context.step_context import StepContext
from core.engine.context.step_end import record_end
from core.engine.plan import GroupPlan
from core.engine.run.step_runner import StepRunner
from core.engine.step.verdict import Verdict
from core.graph.readiness import Skip, SkipCause, advance, failure_skips


class GroupExecution:
    """The steps of one group of one run."""

    def __init__(self, run_context: RunContext, group: GroupPlan, runner: StepRunner) -> None:
        self._run_context = run_context
        self._group = group
        self._runner = runner
        phases = run_context.status.state.phases
        self._skipped_for_failure = failure_skips(group.graph, phases, group.rules)
        self._started_before = {name for name in group.order if name in phases and not phases[name].terminal}
        """Steps that another process has started. The end of a step that they need may not be recorded yet. Such a step
        continues only after that end, because it may read the output."""

    async def run(self) -> None:
        """Return when every step has ended; cancel it to end the group early."""
        async with trio.open_nursery() as nursery:
            self._advance(self._group.order, nursery)
        await trio.lowlevel.checkpoint_if_cancelled()  # the last step may have ended the run
        remaining = [name for name in self._group.order if name not in self._phases]
        assert not remaining, f"steps that neither ended nor can start: {remaining}"

    @property
    def _phases(self) -> dict[str, Phase]:
        return self._run_context.status.state.phases

    async def _live(self, context: StepContext, nursery: trio.Nursery) -> None:
        step = context.step
        if await self._runner.run(context):
            self._advance(self._group.graph.dependents[step.name], nursery)
        self._runner.finish(step)

    def _advance(self, candidates: Iterable[str], nursery: trio.Nursery) -> None:
        """Start and skip everything that the recorded phases allow, together and without a pause."""
        phases = dict.fromkeys(self._run_context.wakeups, Phase.RUNNING) | self._phases
        following = advance(self._group.graph, phases, self._group.rules, self._skipped_for_failure, candidates)
        for skip in following.skip:
            step = self._run_context.plan.steps[skip.step]
            record_end(self._run_context, step, Verdict(Phase.SKIPPED, _why_skipped(skip)))
            if skip.cause is SkipCause.FAILED_NEED:
                self._skipped_for_failure |= {skip.step}
        for name in following.start:
            self._start(name, nursery)
        for name in sorted(self._started_before, key=self._group.graph.position.__getitem__):
            if all(self._has_ended(need) for need in self._group.graph.needs[name]):
                self._started_before.discard(name)
                self._start(name, nursery)

    def _has_ended(self, name: str) -> bool:
        phase = self._phases.get(name)
        return phase is not None and phase.terminal

    def _start(self, name: str, nursery: trio.Nursery) -> None:
        context = self._runner.begin(self._run_context.plan.steps[name])
        nursery.start_soon(self._live, context, nursery, name=f"step {name}")


def _why_skipped(skip: Skip) -> str:
    match skip.cause:
        case SkipCause.FAIL_FAST:
            return f"Skipped: step {skip.because_of!r} failed and the Story does not continue on failure"
        case SkipCause.FAILED_NEED:
            return f"Skipped: it needs step {skip.because_of!r}, which failed or was skipped for a failure"
