"""What scopes and steps work with: the world (made once, in the composition root) and one step's place in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.api.phases import Phase
from core.engine.calls import Pace
from core.engine.concurrency.limiter import ConcurrencyLimiter
from core.engine.errors import ObstacleError
from core.engine.plan import StepPlan, StoryPlan
from core.engine.plan_cache import PlanCache
from core.engine.ports import Clock, EventSink, EventType, Object, Payloads, RunKey, RunStore, StepExecutor
from core.engine.settings import EngineSettings
from core.engine.slots.slots import Slots
from core.engine.wakeup import WakeUp
from core.evaluation.asker import Asker
from core.evaluation.evaluator import Evaluator

if TYPE_CHECKING:
    from core.engine.run.access import RunAccess
    from core.engine.run.progress import Progress
    from core.engine.run.state import RunState
    from core.engine.run.status import StatusWriter
    from core.engine.run.work import RunWork
    from core.engine.values.stored_data import StoredData
    from core.engine.values.variables import Variables


@dataclass(frozen=True, slots=True)
class EngineContext:
    """The world of every scope."""

    runs: RunStore
    executor: StepExecutor
    evaluator: Evaluator
    payloads: Payloads
    events: EventSink
    clock: Clock
    settings: EngineSettings
    slots: Slots
    concurrency: ConcurrencyLimiter
    plans: PlanCache = field(default_factory=PlanCache)


@dataclass(frozen=True, slots=True)
class StepContext:
    """One step of one run."""

    engine: EngineContext
    work: RunWork
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
