"""What the steps of one run share while they are at work, and one step's place in it.

``RunContext`` is made once per scope: the run's state, its variables, who waits for what. Steps reach it through their
``StepContext``; branches of a ``parallel`` step are carried out with it just as top-level steps are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.api.objects import Object, step_path
from core.api.phases import Phase
from core.engine.calls import Pace
from core.engine.context.access import RunAccess
from core.engine.context.progress import Progress
from core.engine.engine_context import EngineContext
from core.engine.errors import ObstacleError
from core.engine.plan import StepKind, StepPlan, StoryPlan
from core.engine.ports import EventType, RunKey
from core.engine.run.restore import has_step, restore_outputs, steps_begun
from core.engine.slots.queueing import Demand
from core.engine.slots.scheduling import Scheduling, scheduling_of, story_key
from core.engine.status.state import RunState
from core.engine.status.writer import StatusWriter
from core.engine.step import record
from core.engine.step.verdict import Verdict
from core.engine.values.stored_data import StoredData
from core.engine.values.variables import Variables
from core.engine.wakeup import WakeUp
from core.evaluation.asker import Asker


class RunContext:
    """Shared by the steps of one run."""

    def __init__(
        self,
        engine: EngineContext,
        status: StatusWriter,
        wakeups: dict[str, WakeUp],
        story: Object,
        plan: StoryPlan,
        variables: Variables,
        access: RunAccess,
    ) -> None:
        self.engine = engine
        self.status = status
        self.wakeups = wakeups
        self.story = story
        self.plan = plan
        self.variables = variables
        self.access = access
        self.progress = Progress()
        self.stored = StoredData(engine, story, status.state.stored)
        self._watching: dict[str, WakeUp] = {}
        self._places = {name: place for place, name in enumerate(plan.order)}
        variables.changed = self.wake_watchers

    def restore(self, step_runs: list[Object], child_runs: list[Object]) -> datetime | None:
        """Take over what is recorded outside the run's status; the earliest start of a step, if any.

        ``step_runs`` need no data: outputs are read one at a time.
        """
        state = self.status.state.planned(self.plan.order, self.plan.allowed)
        state, earliest = steps_begun(state, self.plan, step_runs, child_runs, self.engine.clock.now())
        self.status.apply(state)
        self._claim_slots(step_runs)
        whole = self.engine.executor.whole_step_runs(self.status.state.stored)
        restore_outputs(self.variables, state, self.plan, whole, child_runs)
        return earliest

    @property
    def run_uid(self) -> str:
        return str(self.status.state.stored["metadata"]["uid"])

    @property
    def scheduling(self) -> Scheduling:
        """Queue and base priority of the run."""
        settings = self.engine.settings
        return scheduling_of(self.status.state.stored, self.story, settings.queues(), settings.max_priorities())

    @property
    def story_key(self) -> str:
        return story_key(self.plan.namespace, self.plan.name)

    async def slot_for(self, step: StepPlan, wakeup: WakeUp, is_begun: Callable[[], Awaitable[bool]]) -> bool:
        """Return once the engram step may have a StepRun; it has its slot until its end is recorded.

        False when it has one, which another leader has made while it waited here: its slot is then in use, whatever
        the limits. ``is_begun`` is asked after each wake-up.
        """
        state, now, scheduling = self.status.state, self.engine.clock.now(), self.scheduling
        recorded = state.step(step.name)
        was_queued = recorded is not None and recorded.phase is Phase.PENDING
        queued_at = recorded.started_at if recorded is not None and was_queued else None
        demand = Demand(
            run=RunKey(str(state.stored["metadata"]["namespace"]), str(state.stored["metadata"]["name"])),
            run_uid=self.run_uid,
            step=step.name,
            story=self.story_key,
            story_limit=self.plan.step_concurrency,
            queue=scheduling.queue,
            priority=scheduling.priority,
            queued_at=queued_at or now.replace(microsecond=0),  # as it is stored; the Story's order decides within it
            order=self._places.get(step.parts[0], 0),
        )

        def tell(message: str) -> None:
            self.status.apply(self.status.state.step_queued(step.name, self.engine.clock.now(), message))

        with self.progress.held_up(step.name):
            acquired = await self.engine.slots.acquire(demand, tell, wakeup, is_begun)
        if not acquired:
            self.engine.slots.hold(self.run_uid, step.name, self.story_key, scheduling.queue)
        self.status.apply(self.status.state.step_launched(step.name, self.engine.clock.now()))
        return acquired

    def has_slot(self, step: StepPlan) -> bool:
        return self.engine.slots.holds(self.run_uid, step.name)

    def _claim_slots(self, step_runs: list[Object]) -> None:
        """For the steps at work, and for no others: another process may have ended what had a slot here.

        Nor for what has begun by another edition of the Story: nobody would give its slot back before the run's end.
        """
        slots, at_work = self.engine.slots, set()
        for step_run in step_runs:
            name = step_path(step_run)
            if name and not record.is_final(step_run.get("status") or {}):  # it may be tried again
                at_work.add(name)
        for name in sorted(at_work | slots.steps_holding(self.run_uid)):
            state = self.status.state.step(name)
            if (state is not None and state.phase.terminal) or not has_step(self.plan, name, StepKind.ENGRAM):
                slots.release(self.run_uid, name)
            elif name in at_work:
                slots.hold(self.run_uid, name, self.story_key, self.scheduling.queue)

    def pace(self) -> Pace:
        """Pauses for what is repeated for the run as a whole; what somebody must mend is told on it."""
        return Pace(self.engine.settings.jitter, lambda obstacle: self.status.tell_obstacle("", obstacle))

    def asker(self) -> Asker:
        """For what is evaluated for the run as a whole; while it waits for its turn, the run says so."""
        namespace = str(self.status.state.stored["metadata"]["namespace"])
        return Asker(namespace, lambda seconds: self.status.tell_waiting("", seconds))

    def context(self, step: StepPlan) -> StepContext:
        """A place for ``step`` to work at; it is woken by its name from now on."""
        wakeup = self.wakeups[step.name] = WakeUp()
        return StepContext(engine=self.engine, work=self, step=step, wakeup=wakeup)

    def begin(self, step: StepPlan) -> StepContext:
        """The step starts now."""
        context = self.context(step)
        self.progress.started(step.name)
        if step.kind is StepKind.ENGRAM and not step.condition.strip():
            self.status.apply(self.status.state.step_started(step.name, self.engine.clock.now()))
        return context

    def record(self, step: StepPlan, verdict: Verdict) -> None:
        """The step is over; told in an Event when the engine itself decided that it failed."""
        state = self.status.state
        self.status.apply(state.step_ended(step.name, verdict, self.engine.clock.now()))
        self.engine.slots.release(self.run_uid, step.name)
        if verdict.reason is not None and verdict.phase.failing:
            text = f"step {step.name!r}: {verdict.message}"
            self.engine.events.emit(state.stored, EventType.WARNING, verdict.reason, text)
        self.wake_watchers()

    def finish(self, step: StepPlan) -> None:
        """Whatever follows from the end of the step has begun."""
        self.wakeups.pop(step.name, None)
        self.progress.ended(step.name)

    def watch(self, name: str, wakeup: WakeUp) -> None:
        """Wake ``wakeup`` whenever what expressions can read has changed, until ``unwatch``."""
        self._watching[name] = wakeup

    def unwatch(self, name: str) -> None:
        self._watching.pop(name, None)

    def wake_watchers(self) -> None:
        for wakeup in self._watching.values():
            wakeup.wake()


@dataclass(frozen=True, slots=True)
class StepContext:
    """One step of one run."""

    engine: EngineContext
    work: RunContext
    step: StepPlan
    wakeup: WakeUp
    """Called when something about this step's StepRun, Job, Pods or StoryRun, or about the run as a whole, changed."""

    @property
    def story(self) -> Object:
        return self.work.story

    @property
    def plan(self) -> StoryPlan:
        return self.work.plan

    @property
    def access(self) -> RunAccess:
        return self.work.access

    @property
    def status(self) -> StatusWriter:
        return self.work.status

    @property
    def variables(self) -> Variables:
        return self.work.variables

    @property
    def stored(self) -> StoredData:
        return self.work.stored

    @property
    def progress(self) -> Progress:
        return self.work.progress

    @property
    def state(self) -> RunState:
        return self.status.state

    @property
    def run(self) -> Object:
        """The StoryRun, as last known to be stored."""
        return self.status.state.stored

    @property
    def key(self) -> RunKey:
        return RunKey(self.namespace, self.run_name)

    @property
    def namespace(self) -> str:
        return str(self.run["metadata"]["namespace"])

    @property
    def run_name(self) -> str:
        return str(self.run["metadata"]["name"])

    def now(self) -> datetime:
        return self.engine.clock.now()

    def seen(self) -> dict[str, Any]:
        """What this step's expressions can read now."""
        return {**self.variables.snapshot(), **(self.step.item or {})}

    def set_message(
        self,
        message: str,
        phase: Phase = Phase.RUNNING,
        child_run: str = "",
        reason: str = "",
        reason_since: datetime | None = None,
    ) -> None:
        """Record what the step is doing: ``message`` for people, ``reason`` for programs. Nothing new, no write."""
        self.status.apply(
            self.state.step_started(self.step.name, self.now(), phase, message, child_run, reason, reason_since)
        )

    def pace(self) -> Pace:
        """Pauses for what this step repeats; what somebody must mend is told on the run."""
        return Pace(self.engine.settings.jitter, self._tell_obstacle)

    def asker(self) -> Asker:
        """For what is evaluated for this step; while it waits for its turn, the step says so."""
        return Asker(self.namespace, lambda seconds: self.status.tell_waiting(self.step.name, seconds))

    def _tell_obstacle(self, obstacle: ObstacleError | None) -> None:
        self.status.tell_obstacle(self.step.name, obstacle)

    def emit(self, type_: EventType, reason: str, message: str, regarding: Object | None = None) -> None:
        self.engine.events.emit(regarding if regarding is not None else self.run, type_, reason, message)
