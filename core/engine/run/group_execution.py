"""Executes one group of steps: one task for each step whose needs are met, until every step of the group has ended.

``_advance`` decides for all steps at once and is synchronous: it applies the pure decision of core.graph.readiness and
returns; tasks start, and the status is written, after it. The task of a next step does not wait for the write that
records the end of the step before it: the next step's own StepRun makes it recoverable.
The streams of a realtime Story run side by side until all have ended. If one fails for good, and the Story does not
continue on failure, the group ends early: the others would never end by themselves.
Source: StoryRun contract 7, 10 and 14; streaming contract 3.
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
from core.engine.step.endings import Ending
from core.engine.step.verdict import Verdict
from core.engine.streams.endings import partner_failed
from core.graph.readiness import Skip, SkipCause, advance, failed_steps, failure_skips


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
        continues only after that end, because it may read the output. A stream reads none."""
        self._nursery: trio.Nursery
        self._scope = trio.CancelScope()
        self._ending: Ending | None = None

    def end(self, ending: Ending) -> None:
        """End the group early, and not the run; the first reason counts."""
        if self._ending is None:
            self._ending = ending
        self._scope.cancel()

    async def run(self) -> Ending | None:
        """Return when every step has ended; cancel it to end the group and the run. Else why the group ends early: the
        caller has to end the steps that have not.
        """
        with self._scope, self._run_context.streams.notifying(self._follow):
            async with trio.open_nursery() as self._nursery:
                self._advance(self._group.order)
        await trio.lowlevel.checkpoint_if_cancelled()  # the last step may have ended the run
        if self._ending is not None:
            return self._ending
        remaining = [name for name in self._group.order if name not in self._phases]
        assert not remaining, f"steps that neither ended nor can start: {remaining}"
        return None

    @property
    def _phases(self) -> dict[str, Phase]:
        return self._run_context.status.state.phases

    async def _live(self, context: StepContext) -> None:
        step = context.step
        if await self._runner.run(context):
            self._follow(step.name)
        self._runner.finish(step)

    def _follow(self, step: str) -> None:
        """Start and skip what depends on ``step``, which has ended, or serves a stream from now on."""
        self._advance(self._group.graph.dependents.get(step, ()))

    def _advance(self, candidates: Iterable[str]) -> None:
        """Start and skip everything that the recorded phases allow, together and without a pause."""
        if self._ending is not None:
            return
        group, streams = self._group, self._run_context.streams
        phases = dict.fromkeys(self._run_context.wakeups, Phase.RUNNING) | self._phases
        following = advance(group.graph, phases, group.rules, self._skipped_for_failure, candidates, streams.begun)
        for skip in following.skip:
            step = self._run_context.plan.steps[skip.step]
            record_end(self._run_context, step, Verdict(Phase.SKIPPED, _why_skipped(skip)))
            if skip.cause is SkipCause.FAILED_NEED:
                self._skipped_for_failure |= {skip.step}
        if group.rules.started_suffices and not group.rules.continue_on_failure:
            self._end_with_failed(failed_steps(group.graph, phases, group.rules))
        for name in following.start:
            self._start(name)
        for name in sorted(self._started_before, key=group.graph.position.__getitem__):
            if group.rules.started_suffices or all(self._has_ended(need) for need in group.graph.needs[name]):
                self._started_before.discard(name)
                self._start(name)

    def _end_with_failed(self, failed: tuple[str, ...]) -> None:
        ending = partner_failed(failed, self._run_context.status.state, self._run_context.engine.clock.now())
        if ending is not None:
            self.end(ending)

    def _has_ended(self, name: str) -> bool:
        phase = self._phases.get(name)
        return phase is not None and phase.terminal

    def _start(self, name: str) -> None:
        context = self._runner.begin(self._run_context.plan.steps[name])
        self._nursery.start_soon(self._live, context, name=f"step {name}")


def _why_skipped(skip: Skip) -> str:
    match skip.cause:
        case SkipCause.FAIL_FAST:
            return f"Skipped: step {skip.because_of!r} failed and the Story does not continue on failure"
        case SkipCause.FAILED_NEED:
            return f"Skipped: it needs step {skip.because_of!r}, which failed or was skipped for a failure"
