"""What the steps of one run share while they run.

``core.engine.run.preparation`` creates one for each scope. A step reaches it through its ``StepContext``; the branches
of a ``parallel`` step use it exactly as top-level steps do.
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
from core.engine.streams.connections import Streams
from core.engine.values.stored_data import StoredData
from core.engine.values.variables import Variables
from core.engine.wakeup import WakeUp


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """One run in this process."""

    engine: EngineContext
    status: StatusWriter
    wakeups: dict[str, WakeUp]
    """Full name of a running step → the wake-up that it waits for."""
    story: Object
    plan: StoryPlan
    variables: Variables
    stored: StoredData
    access: RunAccess
    watchers: Watchers
    """Steps that wait for a change of ``variables`` or for the end of a step."""
    was_under_way: bool = False
    """Whether another process had started the run before."""
    progress: Progress = field(default_factory=Progress)
    streams: Streams = field(default_factory=Streams)

    @property
    def run(self) -> Object:
        """The StoryRun, in the newest version that is known to be stored."""
        return self.status.state.stored

    @property
    def is_shared(self) -> bool:
        """Whether another process has worked for the run. What this one knows of it may be older than what that one did
        last, so before a StepRun is created the API server is asked whether the run is still as it is known here.
        """
        return self.was_under_way or self.status.met_another

    @property
    def run_uid(self) -> str:
        return str(self.run["metadata"]["uid"])

    @property
    def scheduling(self) -> Scheduling:
        """Queue and base priority of the run, by the current settings."""
        settings = self.engine.settings
        return scheduling_of(self.run, self.story, settings.queues(), settings.max_priorities())
