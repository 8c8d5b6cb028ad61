"""What the steps of one run share while they are at work: the run's state, its variables, who waits for what.

Made once per scope. Steps reach it through their ``StepContext``; branches of a ``parallel`` step are carried out with
it just as top-level steps are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from core.engine.access import RunAccess
from core.engine.bell import Bell
from core.engine.cancel import Ending
from core.engine.context import EngineContext, StepContext
from core.engine.news import News
from core.engine.plan import StepKind, StepPlan, StoryPlan
from core.engine.ports import EventType, Object
from core.engine.recall import recall_outputs, steps_begun
from core.engine.status import StatusWriter
from core.engine.variables import Variables
from core.engine.verdict import Verdict


class RunWork:
    """``end_run`` is called, at most once, when a ``stop`` step has ended the run; ``live`` is the life of a step."""

    def __init__(
        self,
        engine: EngineContext,
        status: StatusWriter,
        bells: dict[str, Bell],
        story: Object,
        plan: StoryPlan,
        variables: Variables,
        access: RunAccess,
        end_run: Callable[[Ending], None],
        live: Callable[[StepContext], Awaitable[Verdict]],
    ) -> None:
        self.engine = engine
        self.status = status
        self.bells = bells
        self.story = story
        self.plan = plan
        self.variables = variables
        self.access = access
        self.end_run = end_run
        self.live = live
        self.news = News()
        self._watching: dict[str, Bell] = {}
        variables.changed = self.ring_watchers

    def recall(self, step_runs: list[Object], child_runs: list[Object]) -> datetime | None:
        """Take over what is recorded outside the run's status; the earliest start of a step, if any."""
        state = self.status.state.planned(self.plan.order, self.plan.allowed)
        state, earliest = steps_begun(state, self.plan, step_runs, child_runs, self.engine.clock.now())
        self.status.apply(state)
        recall_outputs(self.variables, state, self.plan, step_runs, child_runs)
        return earliest

    def context(self, step: StepPlan) -> StepContext:
        """A place for ``step`` to work at; it is woken by its name from now on."""
        bell = self.bells[step.name] = Bell()
        return StepContext(engine=self.engine, work=self, step=step, bell=bell)

    def begin(self, step: StepPlan) -> StepContext:
        """The step starts now."""
        context = self.context(step)
        self.news.started(step.name)
        if step.kind is StepKind.ENGRAM and not step.condition.strip():
            self.status.apply(self.status.state.step_started(step.name, self.engine.clock.now()))
        return context

    def record(self, step: StepPlan, verdict: Verdict) -> None:
        """The step is over; told in an Event when the engine itself decided that it failed."""
        state = self.status.state
        self.status.apply(state.step_ended(step.name, verdict, self.engine.clock.now()))
        if verdict.reason is not None and verdict.phase.failing:
            text = f"step {step.name!r}: {verdict.message}"
            self.engine.events.emit(state.stored, EventType.WARNING, verdict.reason, text)
        self.ring_watchers()

    def finish(self, step: StepPlan) -> None:
        """Whatever follows from the end of the step has begun."""
        self.bells.pop(step.name, None)
        self.news.ended(step.name)

    def watch(self, name: str, bell: Bell) -> None:
        """Ring ``bell`` whenever what expressions can read has changed, until ``unwatch``."""
        self._watching[name] = bell

    def unwatch(self, name: str) -> None:
        self._watching.pop(name, None)

    def ring_watchers(self) -> None:
        for bell in self._watching.values():
            bell.ring()
