"""What the steps of one run share while they are at work.

Made once per scope, by ``core.engine.run.preparation``. Steps reach it through their ``StepContext``; branches of a
``parallel`` step are carried out with it just as top-level steps are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from core.api.objects import Object
from core.engine.context.access import RunAccess
from core.engine.context.progress import Progress
from core.engine.context.watchers import Watchers
from core.engine.engine_context import EngineContext
from core.engine.plan import StoryPlan
from core.engine.slots.scheduling import Scheduling, scheduling_of
from core.engine.status.writer import StatusWriter
from core.engine.values.stored_data import StoredData
from core.engine.values.variables import Variables
from core.engine.wakeup import WakeUp


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """One run at work in this process."""

    engine: EngineContext
    status: StatusWriter
    wakeups: dict[str, WakeUp]
    """Full name of a step at work → what it waits at."""
    story: Object
    plan: StoryPlan
    variables: Variables
    stored: StoredData
    access: RunAccess
    watchers: Watchers
    """Steps that wait for a change of ``variables`` or for the end of a step."""
    progress: Progress = field(default_factory=Progress)

    @property
    def run(self) -> Object:
        """The StoryRun, as last known to be stored."""
        return self.status.state.stored

    @property
    def run_uid(self) -> str:
        return str(self.run["metadata"]["uid"])

    @property
    def scheduling(self) -> Scheduling:
        """Queue and base priority of the run; settings count as they are now."""
        settings = self.engine.settings
        return scheduling_of(self.run, self.story, settings.queues(), settings.max_priorities())
