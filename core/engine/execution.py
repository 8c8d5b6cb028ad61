"""The steps of one run at work: one task per step whose needs are met, until every step has ended.

Whatever moves all state (``_go_on``) is synchronous: it applies the pure decision of core.graph.readiness and returns;
tasks start, and the status is written, after it. A successor's task does not wait for the write that records its
predecessor's end: its own StepRun makes it recoverable. Source: StoryRun contract 7, 10 and 14.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import trio

from core.api.instant import parse_instant_or_none
from core.api.phases import Phase
from core.engine import cancel, step
from core.engine.access import RunAccess
from core.engine.bell import Bell
from core.engine.cancel import Ending
from core.engine.context import EngineContext, StepContext
from core.engine.news import News
from core.engine.plan import StepKind, StoryPlan
from core.engine.ports import EventType, Object
from core.engine.status import StatusWriter
from core.engine.variables import Variables
from core.engine.verdict import Verdict
from core.graph.readiness import Skip, SkipCause, advance, failure_skips


class Execution:
    """The steps of one run. ``end_run`` is called, at most once, when a ``stop`` step has ended the run."""

    def __init__(
        self,
        engine: EngineContext,
        status: StatusWriter,
        bells: dict[str, Bell],
        story: Object,
        plan: StoryPlan,
        inputs: Mapping[str, Any],
        access: RunAccess,
        end_run: Callable[[Ending], None],
    ) -> None:
        self._engine = engine
        self._status = status
        self._bells = bells
        self._story = story
        self._access = access
        self._end_run = end_run
        self._news = News()
        self._skipped_for_failure: frozenset[str] = frozenset()
        self.plan = plan
        self.variables = Variables(inputs)

    def recall(self, step_runs: Iterable[Object]) -> datetime | None:
        """Take over what is recorded outside the run's status; the earliest start of a step, if any.

        A step with a StepRun or a timer has started, even when the process died before the status said so.
        """
        state = self._status.state.planned(self.plan.order, self.plan.rules.allowed)
        now = self._engine.clock.now()
        earliest: datetime | None = None
        for step_run in step_runs:
            name = step_run["spec"].get("stepId")
            if name not in self.plan.steps:
                continue
            self.variables.remember(step_run)
            recorded = (step_run.get("status") or {}).get("startedAt")
            started_at = parse_instant_or_none(recorded or step_run["metadata"].get("creationTimestamp")) or now
            earliest = min(earliest or started_at, started_at)
            if state.step(name) is None:
                state = state.step_started(name, started_at)
        for name in state.timers or ():
            if name in self.plan.steps and state.step(name) is None:
                state = state.step_started(name, now, Phase.PAUSED)
        self._status.apply(state)
        self._skipped_for_failure = failure_skips(self.plan.graph, state.phases, self.plan.rules)
        return earliest

    async def run(self) -> None:
        """Return when every step has ended; cancel it to end the run early."""
        async with trio.open_nursery() as nursery:
            unfinished = [name for name, phase in self._status.state.phases.items() if not phase.terminal]
            for name in unfinished:
                self._start(name, nursery)
            self._go_on(self.plan.order, nursery)
        await trio.lowlevel.checkpoint_if_cancelled()  # the last step may have been the one that ends the run
        left = [name for name in self.plan.order if name not in self._status.state.phases]
        assert not left, f"steps that neither ended nor can start: {left}"

    async def wind_down(self, ending: Ending, step_runs: Iterable[Object], drain_at: datetime) -> None:
        """After ``run`` was cancelled: bring what has started to an end, skip what has not."""
        started = {step_run["spec"].get("stepId") for step_run in step_runs}
        self._bells.clear()
        async with trio.open_nursery() as nursery:
            for name in self.plan.order:
                phase = self._status.state.phases.get(name)
                if phase is None and name not in started:
                    self._record(name, Verdict(Phase.SKIPPED, f"Skipped: {ending.because}"))
                elif phase is None or not phase.terminal:
                    nursery.start_soon(self._end_early, name, ending, drain_at)

    async def _end_early(self, name: str, ending: Ending, drain_at: datetime) -> None:
        context = self._context(name)
        if context.step.kind is StepKind.ENGRAM:
            verdict = await cancel.end_engram(context, ending, drain_at)
        else:
            await trio.lowlevel.checkpoint()
            verdict = Verdict(ending.running_becomes, f"Ended: {ending.because}")
        self._record(name, verdict)
        self._bells.pop(name, None)

    async def _live(self, context: StepContext, nursery: trio.Nursery) -> None:
        name = context.step.name
        verdict = await step.live(context)
        self._record(name, verdict)
        if verdict.stops_run is not None:
            ended_at = verdict.finished_at or self._engine.clock.now()
            self._end_run(cancel.stopped(verdict.stops_run, ended_at))
        else:
            self._go_on(self.plan.graph.dependents[name], nursery)
        self._bells.pop(name, None)
        self._news.ended(name)

    def _go_on(self, candidates: Iterable[str], nursery: trio.Nursery) -> None:
        """Start and skip whatever the recorded phases allow, at once and together."""
        phases = dict.fromkeys(self._bells, Phase.RUNNING) | self._status.state.phases
        following = advance(self.plan.graph, phases, self.plan.rules, self._skipped_for_failure, candidates)
        for skip in following.skip:
            self._record(skip.step, Verdict(Phase.SKIPPED, _why_skipped(skip)))
            if skip.cause is SkipCause.FAILED_NEED:
                self._skipped_for_failure |= {skip.step}
        for name in following.start:
            self._start(name, nursery)

    def _start(self, name: str, nursery: trio.Nursery) -> None:
        context = self._context(name)
        self._news.started(name)
        if context.step.kind is StepKind.ENGRAM and not context.step.condition.strip():
            now = self._engine.clock.now()
            self._status.apply(self._status.state.step_started(name, now))
        nursery.start_soon(self._live, context, nursery, name=f"step {name}")

    def _record(self, name: str, verdict: Verdict) -> None:
        state = self._status.state
        self._status.apply(state.step_ended(name, verdict, self._engine.clock.now()))
        if verdict.reason is not None and verdict.phase.failing:
            self._engine.events.emit(
                state.stored, EventType.WARNING, verdict.reason, f"step {name!r}: {verdict.message}"
            )

    def _context(self, name: str) -> StepContext:
        bell = self._bells[name] = Bell()
        return StepContext(
            engine=self._engine,
            story=self._story,
            access=self._access,
            plan=self.plan,
            step=self.plan.steps[name],
            inputs=self.variables.inputs,
            status=self._status,
            variables=self.variables,
            news=self._news,
            bell=bell,
        )


def _why_skipped(skip: Skip) -> str:
    match skip.cause:
        case SkipCause.FAIL_FAST:
            return f"Skipped: step {skip.because_of!r} failed and the Story does not continue on failure"
        case SkipCause.FAILED_NEED:
            return f"Skipped: it needs step {skip.because_of!r}, which failed or was skipped for a failure"
