"""What scopes and steps work with: the world (made once, in the composition root) and one step's place in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.engine.bell import Bell
from core.engine.calls import Pace
from core.engine.errors import DeniedError
from core.engine.plan import StepPlan, StoryPlan
from core.engine.ports import Clock, EventSink, EventType, Object, RunStore, StepExecutor
from core.engine.settings import EngineSettings
from core.evaluation.evaluator import Evaluator

if TYPE_CHECKING:
    from core.engine.access import RunAccess
    from core.engine.news import News
    from core.engine.state import RunState
    from core.engine.status import StatusWriter
    from core.engine.variables import Variables


@dataclass(frozen=True, slots=True)
class EngineContext:
    """The world of every scope."""

    runs: RunStore
    executor: StepExecutor
    evaluator: Evaluator
    events: EventSink
    clock: Clock
    settings: EngineSettings


@dataclass(frozen=True, slots=True)
class StepContext:
    """One step of one run."""

    engine: EngineContext
    story: Object
    access: RunAccess
    plan: StoryPlan
    step: StepPlan
    inputs: Mapping[str, Any]
    status: StatusWriter
    variables: Variables
    news: News
    bell: Bell
    """Rings when something about this step's StepRun, Job or Pods changed."""

    @property
    def state(self) -> RunState:
        return self.status.state

    @property
    def run(self) -> Object:
        """The StoryRun, as last known to be stored."""
        return self.status.state.stored

    @property
    def namespace(self) -> str:
        return str(self.run["metadata"]["namespace"])

    @property
    def run_name(self) -> str:
        return str(self.run["metadata"]["name"])

    def now(self) -> datetime:
        return self.engine.clock.now()

    def pace(self) -> Pace:
        """Pauses for what this step repeats; that a right is lacking is told on the run."""
        return Pace(self.engine.settings.jitter, self._tell_denied)

    def _tell_denied(self, denied: DeniedError | None) -> None:
        self.status.tell_denied(self.step.name, denied)

    def emit(self, type_: EventType, reason: str, message: str, regarding: Object | None = None) -> None:
        self.engine.events.emit(regarding if regarding is not None else self.run, type_, reason, message)
