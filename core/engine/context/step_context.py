"""One step's part in its run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.api.objects import NamespacedName, Object
from core.api.phases import Phase
from core.engine.calls import Pace
from core.engine.context import step_start
from core.engine.context.run_context import RunContext
from core.engine.engine_context import EngineContext
from core.engine.plan import StepPlan
from core.engine.ports import EventType
from core.engine.status.state import RunState
from core.engine.status.writer import StatusWriter
from core.engine.values.stored_data import StoredData
from core.engine.values.variables import Variables
from core.engine.wakeup import WakeUp
from core.evaluation.asker import Asker
from core.expressions.roots import INPUTS


@dataclass(frozen=True, slots=True)
class StepContext:
    """One step of one run: what the run shares, the step's plan and its wake-up."""

    run_context: RunContext
    step: StepPlan
    wakeup: WakeUp
    """Called when this step's StepRun, Job, Pods or StoryRun changes, or the run as a whole."""

    @classmethod
    def of(cls, run_context: RunContext, step: StepPlan) -> StepContext:
        """The context of ``step``; from now on a wake-up for its name reaches it."""
        wakeup = run_context.wakeups[step.name] = WakeUp()
        return cls(run_context, step, wakeup)

    @property
    def engine(self) -> EngineContext:
        return self.run_context.engine

    @property
    def story(self) -> Object:
        return self.run_context.story

    @property
    def status(self) -> StatusWriter:
        return self.run_context.status

    @property
    def variables(self) -> Variables:
        return self.run_context.variables

    @property
    def stored(self) -> StoredData:
        return self.run_context.stored

    @property
    def state(self) -> RunState:
        return self.status.state

    @property
    def run(self) -> Object:
        """The StoryRun, in the newest version that is known to be stored."""
        return self.run_context.run

    @property
    def key(self) -> NamespacedName:
        return NamespacedName(self.namespace, self.run_name)

    @property
    def namespace(self) -> str:
        return str(self.run["metadata"]["namespace"])

    @property
    def run_name(self) -> str:
        return str(self.run["metadata"]["name"])

    def now(self) -> datetime:
        return self.engine.clock.now()

    def seen(self) -> dict[str, Any]:
        """The variables that this step's expressions can read now.

        Not every step may read others (``StepPlan.reads_steps``).
        """
        if not self.step.reads_steps:
            return {INPUTS: self.variables.snapshot()[INPUTS]}
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
        step_start.record_message(self.run_context, self.step, message, phase, child_run, reason, reason_since)

    def pace(self) -> Pace:
        """Pauses between the retries of this step's calls; the run's status shows what a person must fix."""
        return self.status.pace(self.step.name)

    def asker(self) -> Asker:
        """For the evaluation of this step's expressions; while it waits for its turn, the step's state says so."""
        return self.status.asker(self.step.name)

    def emit(self, type_: EventType, reason: str, message: str, regarding: Object | None = None) -> None:
        self.engine.events.emit(regarding if regarding is not None else self.run, type_, reason, message)
